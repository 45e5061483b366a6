"""A bare repository that deploys what is pushed to it: made, asked, and its commits written out. By git itself.

Two kinds: one whose ``pre-receive`` hook deploys, so that a push that fails is refused and the branch stays where it
was; and one whose ``post-receive`` hook does, where the branch has moved already whatever becomes of the deploy.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from bennu.errors import AlreadyExists, BennuError, Invalid
from bennu.host import files, process

BRANCH: Final = "main"
HEADS: Final = "refs/heads/"
NOTHING: Final = "0"
VARIABLES: Final = "bennu.env"
"""Beside ``config``: variables for the fleet file, which do not belong in the repository."""
_KEYS: Final = ("branch", "project", "file", "when")


class Bare:
    """One bare repository. ``environ`` is the hook's: git tells it there where new objects are."""

    def __init__(self, directory: Path, environ: Mapping[str, str] | None = None) -> None:
        self.directory = directory
        self._environ = dict(os.environ if environ is None else environ)

    def git(
        self, *words: str, extra: Mapping[str, str] | None = None, cwd: Path | None = None, check: bool = True
    ) -> str:
        """What a command of git writes, without the last newline."""
        environ = {**self._environ, "GIT_DIR": str(self.directory), "LC_ALL": "C", **(extra or {})}
        done = process.run(["git", *words], env=environ, cwd=cwd, check=check)
        return done.stdout.decode(errors="replace").rstrip("\n") if done.status == 0 else ""

    def setting(self, key: str) -> str:
        """A setting of ``bennu.*``, empty if it is not there."""
        return self.git("config", "--get", f"bennu.{key}", check=False)

    @property
    def branch(self) -> str:
        """The branch that is deployed."""
        return self.setting("branch") or BRANCH

    @property
    def deploys_before(self) -> bool:
        """A push that cannot be deployed is refused."""
        return self.setting("when") != "after"

    @property
    def name(self) -> str:
        """What a project is called that says nothing else: the directory's name."""
        return self.directory.name.removesuffix(".git") or "project"

    @property
    def source(self) -> str:
        """The name of the deployed branch in the records."""
        return f"{self.directory}#{self.branch}"

    def tip(self) -> str | None:
        """The commit that the deployed branch is at."""
        return self.git("rev-parse", "--verify", "--quiet", f"{HEADS}{self.branch}", check=False) or None

    def commit_of(self, new: str) -> str:
        """The commit that a pushed object is."""
        return self.git("rev-parse", "--verify", "--quiet", f"{new}^{{commit}}")

    def about(self, commit: str) -> tuple[str, str]:
        """Who wrote a commit, and its subject."""
        name, _, subject = self.git("log", "-1", "--format=%an%x00%s", commit).partition("\0")
        return name, subject

    def write_out(self, commit: str, directory: Path) -> None:
        """Put the files of a commit into an empty directory. Submodules stay empty."""
        index = {"GIT_INDEX_FILE": f"{directory}.index", "GIT_WORK_TREE": str(directory)}
        try:
            self.git("read-tree", commit, extra=index)
            self.git("checkout-index", "--all", "--force", extra=index, cwd=directory)
        finally:
            Path(f"{directory}.index").unlink(missing_ok=True)


def init(
    directory: Path,
    hook: Sequence[str],
    *,
    branch: str = BRANCH,
    project: str = "",
    file: str = "",
    after: bool = False,
) -> Bare:
    """Make a bare repository whose hooks run ``hook`` with their own name; or set one up anew that is ours.

    ``AlreadyExists`` for a directory with something else in it; ``Invalid`` for what is no branch.
    """
    made = Bare(directory)
    ours = (directory / "HEAD").is_file() and made.setting("branch")
    if not ours and directory.exists() and any(directory.iterdir()):
        raise AlreadyExists(f"directory {str(directory)!r} is not empty", "name one that is not there yet")
    try:
        process.run(["git", "check-ref-format", "--branch", branch])
    except BennuError as error:
        raise Invalid(f"{branch!r} cannot be the name of a branch") from error
    process.run(["git", "init", "--quiet", "--bare", f"--initial-branch={branch}", str(directory)])
    made.git("symbolic-ref", "HEAD", f"{HEADS}{branch}")
    for key, value in zip(_KEYS, (branch, project, file, "after" if after else "before"), strict=True):
        if value:
            made.git("config", f"bennu.{key}", value)
        else:
            made.git("config", "--unset-all", f"bennu.{key}", check=False)
    for name in ("pre-receive", "post-receive"):
        words = " ".join(shlex.quote(word) for word in (*hook, name))
        script = f"#!/bin/sh\n# Deploys what is pushed; written by `bennu git init`.\nexec {words}\n"
        files.write_atomic(directory / "hooks" / name, script.encode(), mode=0o755)
    return made
