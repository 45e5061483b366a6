"""Git repositories as sources: what a reference means now, and its files in a directory. By the distribution's git.

``resolve`` asks the remote once and fetches nothing; ``checkout`` brings one commit, as shallow as the server allows.
No configuration of the host or its users is read and no hook, filter or template runs, so that the files depend on
the commit alone; submodules come from where ``.gitmodules`` says, but never from this host's own files. All files have
the time of the commit. Every wait ends: a transfer that stands still is given up, and so is one that is cancelled.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from bennu.build.remotes import GitReference, is_commit
from bennu.errors import Failed, Invalid, NotFound, Unavailable
from bennu.host import files, process

STILL_SECONDS: Final = 30
"""How long a transfer may stand still."""
LONGEST_SECONDS: Final = 3600.0
LOOK_SECONDS: Final = 0.1
CANCELLED: Final = 137
_PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY")
_PASSED_ON: Final = ("PATH", "SSH_AUTH_SOCK", "TMPDIR", *_PROXIES, *(name.lower() for name in _PROXIES))


class Resolved(msgspec.Struct, frozen=True):
    """What a reference means: the commit, the full name of the ref (or the commit), and the tag object if it is one."""

    commit: str
    ref: str
    tag: str = ""


def resolve(
    reference: GitReference, *, cancel: threading.Event | None = None, authorization: str | None = None
) -> Resolved:
    """The commit that a reference means now. ``NotFound`` without such a ref, ``Invalid`` where the checksum differs,
    ``Unavailable`` where the remote does not answer. ``authorization`` is the value of that header for the remote.
    """
    if is_commit(reference.ref):
        _check(reference, reference.ref)
        return Resolved(reference.ref, reference.ref)
    if reference.by_commit:
        ref = reference.ref or reference.checksum
        return Resolved(reference.checksum, ref if is_commit(ref) or ref.startswith("refs/") else f"refs/heads/{ref}")
    git = _Git(reference, cancel, authorization)
    listed = git.run("ls-remote", "--symref", "--", reference.remote, *_asked(reference.ref))
    advertised = [line.partition("\t")[::2] for line in listed.splitlines() if "\t" in line]
    links = {name: value.removeprefix("ref: ") for value, name in advertised if value.startswith("ref: ")}
    return _chosen(reference, {name: value for value, name in advertised if is_commit(value)}, links)


def checkout(
    reference: GitReference,
    resolved: Resolved,
    directory: Path,
    *,
    scratch: Path,
    keep_git_dir: bool = False,
    cancel: threading.Event | None = None,
    authorization: str | None = None,
) -> None:
    """Put the files of a commit (of the reference's subdirectory, if it has one) into an empty directory.

    ``scratch`` is where temporary directories may be made, on the same file system. With ``keep_git_dir`` the whole
    tree comes with its ``.git``, shallow, its remote without credentials. Errors as those of ``resolve``.
    """
    git = _Git(reference, cancel, authorization)
    keeps = keep_git_dir and not reference.subdirectory
    with files.temporary_directory(scratch, "git") as work:
        tree = directory if not reference.subdirectory else work / "tree"
        tree.mkdir(exist_ok=True)
        repository = tree / ".git" if keeps else work / "git"
        git.begin(repository, resolved, tree)
        git.fetch(resolved)
        git.run("checkout", "--quiet", "--force", "--detach", resolved.commit)
        when = int(git.run("log", "-1", "--format=%ct", resolved.commit))
        if reference.submodules and (tree / ".gitmodules").exists():
            git.run("submodule", "--quiet", "update", "--init", "--recursive", "--depth=1")
        if keeps:
            git.finish(repository, resolved)
        else:
            _forget_submodules(tree)
        if reference.subdirectory:
            _take_out(reference, tree, directory)
        _date(directory, when)


def _asked(ref: str) -> tuple[str, ...]:
    return ("HEAD",) if not ref else (ref, f"{ref}^{{}}")


def _chosen(reference: GitReference, found: Mapping[str, str], links: Mapping[str, str]) -> Resolved:
    """A full name first, then a branch, then a tag."""
    ref = reference.ref
    if not ref:
        ref = links.get("HEAD", "HEAD")
        if "HEAD" not in found:
            raise NotFound(f"Git repository {reference.shown!r} has no default branch", "name a ref behind '#'")
        _check(reference, found["HEAD"])
        return Resolved(found["HEAD"], ref)
    names = (
        "refs/" + ref.removeprefix("refs/"),
        "refs/heads/" + ref.removeprefix("refs/heads/"),
        "refs/tags/" + ref.removeprefix("refs/tags/"),
    )
    name = next((each for each in names if each in found), None)
    if name is None:
        raise NotFound(f"Git repository {reference.shown!r} has no ref {ref!r}", "see `git ls-remote` of it")
    peeled = found.get(f"{name}^{{}}", "")
    _check(reference, found[name], peeled)
    return Resolved(peeled or found[name], name, found[name] if peeled else "")


def _check(reference: GitReference, *found: str) -> None:
    wanted = reference.checksum
    if wanted and not any(commit.startswith(wanted) for commit in found if commit):
        raise Invalid(
            f"Git repository {reference.shown!r}: {reference.ref or 'HEAD'} is {' or '.join(filter(None, found))},"
            f" not the checksum {wanted}"
        )


class _Git:
    """git, run for one reference: isolated from the host's configuration, watched, and ended when it is cancelled."""

    def __init__(self, reference: GitReference, cancel: threading.Event | None, authorization: str | None) -> None:
        self._reference = reference
        self._cancel = cancel or threading.Event()
        self._where: tuple[str, ...] = ()
        self._cwd: Path | None = None
        self._env = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        self._env |= {
            "LC_ALL": "C",
            "HOME": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_TEMPLATE_DIR": "",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "true",
            "GIT_SSH_COMMAND": "ssh -F /dev/null -o BatchMode=yes -o StrictHostKeyChecking=accept-new"
            f" -o ConnectTimeout={STILL_SECONDS} -o ServerAliveInterval={STILL_SECONDS // 2}",
            "GIT_HTTP_LOW_SPEED_LIMIT": "1",
            "GIT_HTTP_LOW_SPEED_TIME": str(STILL_SECONDS),
        }
        settings = {"protocol.file.allow": "user", "core.hooksPath": os.devnull, "core.logAllRefUpdates": "false"}
        if authorization is not None:  # in the environment: what stands in an argument can be seen by all
            settings[f"http.{reference.remote}.extraHeader"] = f"Authorization: {authorization}"
        self._env["GIT_CONFIG_COUNT"] = str(len(settings))
        for number, (name, value) in enumerate(settings.items()):
            self._env[f"GIT_CONFIG_KEY_{number}"] = name
            self._env[f"GIT_CONFIG_VALUE_{number}"] = value

    def begin(self, repository: Path, resolved: Resolved, tree: Path) -> None:
        """A fresh repository without anything of the host's, with the reference's remote as its origin."""
        form = "sha256" if len(resolved.commit) == 64 else "sha1"
        options = ("--quiet", "--bare", f"--object-format={form}")
        self.run("-c", "init.defaultBranch=master", "init", *options, str(repository))
        self._where = (f"--git-dir={repository}", f"--work-tree={tree}")
        self._cwd = tree
        self.run("config", "core.bare", "false")
        self.run("remote", "add", "origin", self._reference.remote)

    def fetch(self, resolved: Resolved) -> None:
        """Bring the commit: by its ref where that still means it, else by itself, else with all that there is."""
        shallow = ("fetch", "--quiet", "--depth=1", "--no-tags", "--force", "--update-head-ok", "--", "origin")
        ways: list[tuple[str, ...]] = [(*shallow, resolved.commit)]
        if not is_commit(resolved.ref) and resolved.ref != "HEAD":
            ways.insert(0, (*shallow, f"{resolved.ref}:{resolved.ref}"))
        ways.append(("fetch", "--quiet", "--tags", "--force", "--", "origin", "+refs/heads/*:refs/remotes/origin/*"))
        failure: Unavailable | None = None
        for way in ways:
            try:
                self.run(*way)
            except Unavailable as error:
                failure = error
            if self._has(f"{resolved.commit}^{{commit}}"):
                return
        if failure is not None:
            raise failure
        raise NotFound(f"Git repository {self._reference.shown!r} does not give the commit {resolved.commit}")

    def _has(self, name: str) -> bool:
        with suppress(Unavailable):
            self.run("cat-file", "-e", name)
            return True
        return False

    def finish(self, repository: Path, resolved: Resolved) -> None:
        """Leave in a repository that is kept what is of the commit, and nothing of this fetch."""
        if resolved.ref.startswith("refs/"):
            meant = resolved.tag if resolved.tag and self._has(resolved.tag) else resolved.commit
            self.run("update-ref", resolved.ref, meant)
        self.run("remote", "set-url", "origin", self._reference.shown)
        self.run("reflog", "expire", "--all", "--expire=now")
        for name in ("FETCH_HEAD", "ORIG_HEAD"):
            (repository / name).unlink(missing_ok=True)

    def run(self, *arguments: str) -> str:
        """What a command writes. ``Unavailable`` with git's own words where it fails, ``Failed`` when cancelled."""
        argv = ("git", *self._where, *arguments)
        with process.start(argv, env=self._env, cwd=self._cwd, new_session=True) as child:
            try:
                stdout, stderr = self._output(child)
            except BaseException:
                with suppress(ProcessLookupError):  # what it started, git-remote-https or ssh, goes with it
                    os.killpg(child.pid, signal.SIGKILL)
                raise
            if child.returncode == 0:
                return stdout.decode("utf-8", "replace")
        raise self._failure(arguments, child.returncode, stderr.decode("utf-8", "replace"))

    def _output(self, child: object) -> tuple[bytes, bytes]:
        from subprocess import Popen, TimeoutExpired

        assert isinstance(child, Popen)
        deadline = time.monotonic() + LONGEST_SECONDS
        while True:
            try:
                stdout, stderr = child.communicate(timeout=LOOK_SECONDS)
            except TimeoutExpired:
                if self._cancel.is_set():
                    raise Failed("cancelled", status=CANCELLED) from None
                if time.monotonic() > deadline:
                    message = f"Git repository {self._reference.shown!r}: no end after {LONGEST_SECONDS:g} s"
                    raise Unavailable(message) from None
                continue
            return stdout, stderr

    def _failure(self, arguments: tuple[str, ...], status: int, said: str) -> Unavailable:
        lines = [line for line in said.replace(self._reference.remote, self._reference.shown).splitlines() if line]
        reasons = [line for line in lines if line.startswith(("fatal:", "error:", "ssh:"))] or lines
        reason = "; ".join(reasons[:2]) or f"git {arguments[0]} ended with status {process.exit_status(status)}"
        return Unavailable(f"Git repository {self._reference.shown!r}: {reason}")


def _forget_submodules(tree: Path) -> None:
    """Remove the ``.git`` files of submodules: they lead to a repository that is not kept."""
    for root, directories, names in os.walk(tree):
        if ".git" in names:
            os.unlink(os.path.join(root, ".git"))
        directories[:] = [name for name in directories if not os.path.islink(os.path.join(root, name))]


def _take_out(reference: GitReference, tree: Path, directory: Path) -> None:
    """Move what is in the subdirectory, which no link may lead to."""
    place = tree
    for name in reference.subdirectory.split("/"):
        place /= name
        if place.is_symlink() or not place.is_dir():
            raise NotFound(f"Git repository {reference.shown!r} has no directory {reference.subdirectory!r}")
    for entry in os.scandir(place):
        os.rename(entry.path, directory / entry.name)


def _date(directory: Path, when: int) -> None:
    for root, directories, names in os.walk(directory, topdown=False):
        for name in (*names, *directories):
            os.utime(os.path.join(root, name), (when, when), follow_symlinks=False)
    os.utime(directory, (when, when))
