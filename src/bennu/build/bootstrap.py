"""Base images out of a distribution's own packages, with mmdebstrap underneath.

The packages are unpacked straight into a snapshot. What differs between two runs is taken out of it: time stamps later
than the newest package, device nodes, the host's name and resolver. So the same packages give the same digest, with
``SOURCE_DATE_EPOCH`` or without. mmdebstrap runs in a private mount namespace and a session of its own: when it is
ended, nothing of it is left, and the snapshot goes with it. Which mirrors are used: see ``apt_sources``.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from bennu.build import apt_sources
from bennu.config import Settings
from bennu.errors import Failed, Invalid, Unsupported
from bennu.host import process
from bennu.host.files import temporary_directory
from bennu.host.namespaces import in_private_mounts
from bennu.oci.image_config import ContainerConfig, History, empty_config, rfc3339
from bennu.oci.platform import platform_of_machine
from bennu.oci.reference import Reference, parse_name
from bennu.store.images import Image, Images
from bennu.store.operations import Operations

Progress = Callable[[str], None]

DISTRIBUTIONS: Final = ("debian", "ubuntu")
RECIPE_LABEL: Final = "bennu.bootstrap.recipe"
EPOCH_LABEL: Final = "bennu.bootstrap.epoch"
PACKAGES_ANNOTATION: Final = "bennu.bootstrap.packages"
_SUITE: Final = re.compile(r"^[a-z][a-z0-9.+-]*$")
_STEP: Final = re.compile(r"I: ((?:running|downloading|extracting|installing|cleaning) .*)\.\.\.$")
_PACKAGE: Final = re.compile(r"^[a-z0-9][a-z0-9.+:~=-]*$")
_PATH: Final = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Maintainer scripts read the epoch (shadow's day of the last change); before the run no package's date is known.
_SCRIPTS_EPOCH: Final = 1577836800
_SLIM: Final = "-slim"
_SLIM_EXCLUDES: Final = (
    "/usr/share/doc/*", "/usr/share/info/*", "/usr/share/linda/*", "/usr/share/lintian/*", "/usr/share/locale/*",
    "/usr/share/man/*",
)  # fmt: skip
# With it /bin is a link from the start; without it the usrmerge package does it, and brings all of Perl along.
_MERGED_USR_HOOKS: Final = Path("/usr/share/mmdebstrap/hooks/maybe-merged-usr")
_END_SECONDS: Final = 10.0
# An image keeps no downloaded packages and no caches of them, or every layer would carry them.
_APT_CONFIGURATION: Final = b"""\
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/*.deb /var/cache/apt/*.bin"; };
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Acquire::Languages "none";
"""
# No service is started while an image is built: the policy layer of invoke-rc.d forbids it.
_SERVICE_POLICY: Final = b"#!/bin/sh\nexit 101\n"
_ADDED: Final = (
    ("etc/apt/apt.conf.d/docker-clean", _APT_CONFIGURATION, 0o644),
    ("usr/sbin/policy-rc.d", _SERVICE_POLICY, 0o755),
)


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """What to make. ``suite`` may end in ``-slim``: without manuals, documents and translations."""

    distribution: str
    suite: str
    variant: str = "apt"
    packages: tuple[str, ...] = ()
    mirrors: tuple[str, ...] = ()
    keyring: Path | None = None
    epoch: int | None = None

    @property
    def text(self) -> str:
        """The recipe in one line, as the image's label records it."""
        parts = [f"{self.distribution}:{self.suite}", f"variant={self.variant}"]
        parts += [f"package={package}" for package in sorted(set(self.packages))]
        parts += [f"mirror={mirror}" for mirror in self.mirrors]
        return " ".join(parts + ([f"epoch={self.epoch}"] if self.epoch is not None else []))

    @property
    def name(self) -> Reference:
        """What the image is called unless it is given another name."""
        return parse_name(f"{self.distribution}:{self.suite}")


def parse_recipe(text: str, **options: object) -> Recipe:
    """The recipe for ``debian:bookworm`` or ``ubuntu:noble``. ``Invalid``; ``Unsupported`` for other distributions."""
    distribution, colon, suite = text.partition(":")
    if distribution not in DISTRIBUTIONS:
        raise Unsupported(f"distribution {distribution!r} cannot be bootstrapped", "debian:SUITE and ubuntu:SUITE can")
    if not colon or not _SUITE.match(suite):
        raise Invalid(
            f"{text!r} names no suite",
            f"write it as {distribution}:{'bookworm' if distribution == 'debian' else 'noble'}",
        )
    recipe = msgspec.structs.replace(Recipe(distribution=distribution, suite=suite), **options)
    for package in recipe.packages:
        if not _PACKAGE.match(package):
            raise Invalid(f"{package!r} is not the name of a package")
    return recipe


class Bootstrap:
    """Makes base images on one root. ``environ`` gives the proxies that the host uses."""

    def __init__(self, settings: Settings, images: Images, operations: Operations, environ: Mapping[str, str]) -> None:
        self._settings = settings
        self._images = images
        self._operations = operations
        self._environ = environ

    def existing(self, recipe: Recipe, name: Reference) -> Image | None:
        """The image of this name, if it was made by this recipe or was not bootstrapped at all."""
        image = self._images.find(name.name)
        if image is None or image.config.config.labels.get(RECIPE_LABEL, recipe.text) != recipe.text:
            return None
        return image

    def make(self, recipe: Recipe, name: Reference, progress: Progress) -> Image:
        """Install the packages and name the image. ``Unsupported`` without root, ``Unavailable``, ``Failed``."""
        if os.geteuid() != 0:
            raise Unsupported("a base image is made as root", "sudo bennu image bootstrap ...")
        snapshots = self._images.snapshots
        with self._operations.under_way(f"bootstrap {name.familiar}"):
            active = snapshots.prepare(None)
            try:
                root = snapshots.directory(active)
                self._install(recipe, root, progress)
                packages = _packages(root)
                epoch = recipe.epoch if recipe.epoch is not None else _newest_package(root)
                _settle(root, epoch)
                top = snapshots.commit(active)
            except BaseException:
                snapshots.discard(active)
                raise
            moment = rfc3339(epoch)
            config = msgspec.structs.replace(
                empty_config(platform_of_machine(os.uname().machine)),
                created=moment,
                config=ContainerConfig(
                    env=(_PATH,), cmd=("bash",), labels={RECIPE_LABEL: recipe.text, EPOCH_LABEL: str(epoch)}
                ),
                history=(History(created=moment, created_by=f"bennu image bootstrap {recipe.text}"),),
            )
            annotations = {PACKAGES_ANNOTATION: " ".join(packages)}
            return self._images.create(config, top, names=[name], annotations=annotations)

    def _install(self, recipe: Recipe, root: Path, progress: Progress) -> None:
        with temporary_directory(self._settings.temporary, "bootstrap") as temporary:
            argv = _command(recipe, root, _host_mirrors(recipe))
            environment = _environment(self._environ, temporary, recipe.epoch)
            with _running(argv, environment) as child:
                tail = _followed(child, progress)
                status = process.exit_status(child.wait())
        if status:
            reason = next((line[3:] for line in tail if line.startswith("E: ")), f"exit status {status}")
            is_unsigned = any("NO_PUBKEY" in line or "is not signed" in line for line in tail)
            raise Failed(
                f"{recipe.distribution}:{recipe.suite}: {reason}",
                f"give the archive's keys with --keyring FILE; package {recipe.distribution}-archive-keyring has them"
                if is_unsigned
                else "--mirror URL takes another archive",
                command=tuple(argv),
                status=status,
                tail=tuple(tail[-process.TAIL_LINES :]),
            )


def _command(recipe: Recipe, root: Path, sources: list[apt_sources.Source]) -> list[str]:
    argv = ["mmdebstrap", "--mode=root", f"--variant={recipe.variant}"]
    if recipe.packages:
        argv.append(f"--include={','.join(sorted(set(recipe.packages)))}")
    if recipe.keyring is not None:
        argv.append(f"--keyring={recipe.keyring}")
    if _MERGED_USR_HOOKS.is_dir():
        argv.append(f"--hook-dir={_MERGED_USR_HOOKS}")
    if recipe.suite.endswith(_SLIM):
        argv += [f"--dpkgopt=path-exclude={pattern}" for pattern in _SLIM_EXCLUDES]
        argv.append("--dpkgopt=path-include=/usr/share/doc/*/copyright")
    suite = recipe.suite.removesuffix(_SLIM)
    mirrors = list(recipe.mirrors) or [source.line for source in sources]
    return [*argv, suite, os.fspath(root), *mirrors]


def _host_mirrors(recipe: Recipe) -> list[apt_sources.Source]:
    """The host's mirrors if it is of the same distribution; mmdebstrap knows a default otherwise."""
    if recipe.mirrors:
        return []
    release = apt_sources.parse_os_release(_text(Path("/etc/os-release")))
    if release.get("ID") != recipe.distribution:
        return []
    files = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*.[ls]*"))]
    sources = apt_sources.parse_sources(_text(path) for path in files if path.suffix in {".list", ".sources"})
    suite = recipe.suite.removesuffix(_SLIM)
    return apt_sources.mirrors(sources, recipe.distribution, release.get("VERSION_CODENAME", suite), suite)


def _environment(environ: Mapping[str, str], temporary: Path, epoch: int | None) -> dict[str, str]:
    kept = {name: value for name, value in environ.items() if name.lower().endswith("_proxy") or name == "PATH"}
    fixed = {
        "TMPDIR": os.fspath(temporary),
        "LC_ALL": "C.UTF-8",
        "HOME": "/nonexistent",
        "DEBIAN_FRONTEND": "noninteractive",
    }
    return {**kept, **fixed, "SOURCE_DATE_EPOCH": str(_SCRIPTS_EPOCH if epoch is None else epoch)}


@contextmanager
def _running(argv: list[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """The program at work; it and all that it started are ended when the block is left."""
    child = in_private_mounts(lambda: process.spawn(argv, env=environment, stderr=subprocess.PIPE))
    try:
        yield child
    finally:
        if child.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGTERM)
                with suppress(subprocess.TimeoutExpired):
                    child.wait(_END_SECONDS)
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        assert child.stderr is not None
        child.stderr.close()


def _followed(child: subprocess.Popen[bytes], progress: Progress) -> list[str]:
    """Tell the steps as they come; what was written, without the noise."""
    assert child.stderr is not None
    lines: list[str] = []
    for raw in child.stderr:
        line = raw.decode(errors="replace").rstrip()
        if not line or line.startswith("W: Download is performed unsandboxed"):
            continue  # nobody but root may enter the store, apt's own user neither
        lines.append(line)
        step = _STEP.match(line)
        if step:
            progress(step[1])
        elif line.startswith("W: "):
            progress(f"warning: {line[3:]}")
    return lines


def _packages(root: Path) -> list[str]:
    """``name=version`` of what is installed, from dpkg's own list."""
    found: list[str] = []
    for stanza in _text(root / "var/lib/dpkg/status").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in stanza.splitlines() if ": " in line and line[0] not in " \t")
        if fields.get("Status", "").endswith(" installed"):
            found.append(f"{fields['Package']}={fields['Version']}")
    return sorted(found)


def _newest_package(root: Path) -> int:
    """When the newest of the packages was built: dpkg keeps the times of their control files."""
    with os.scandir(root / "var/lib/dpkg/info") as entries:
        times = [int(entry.stat().st_mtime) for entry in entries if entry.name.endswith(".md5sums")]
    return max(times, default=_SCRIPTS_EPOCH)


def _settle(root: Path, epoch: int) -> None:
    """Take out what is the host's or the moment's, and put in how apt behaves inside an image."""
    for name in ("hostname", "hosts", "resolv.conf"):
        path = root / "etc" / name
        with suppress(FileNotFoundError):
            path.unlink()
        path.touch(mode=0o644)  # places for the files that a container gets
        path.chmod(0o644)
    for path in (root / "dev").iterdir():
        path.unlink() if path.is_symlink() or not path.is_dir() else path.rmdir()
    for lock in (
        "var/lib/apt/lists/lock",
        "var/cache/apt/archives/lock",
        "var/lib/dpkg/lock",
        "var/lib/dpkg/lock-frontend",
    ):
        (root / lock).unlink(missing_ok=True)
    partial = root / "var/lib/apt/lists/partial"
    if partial.is_dir():
        partial.rmdir()
    for name, content, mode in _ADDED:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(mode)
    _clamp(root, epoch)


def _clamp(root: Path, epoch: int) -> None:
    limit = epoch * 1_000_000_000
    pending = [os.fspath(root)]
    os.utime(root, ns=(limit, limit))
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                if entry.stat(follow_symlinks=False).st_mtime_ns > limit:
                    os.utime(entry.path, ns=(limit, limit), follow_symlinks=False)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""


def recipe_of(labels: Mapping[str, str]) -> Recipe | None:
    """The recipe of the base that an image stands on: its labels come down to every image that is built on it.

    None for one that was not bootstrapped, or by a recipe that one line does not tell again (a line of sources.list, a
    keyring).
    """
    head, *words = labels.get(RECIPE_LABEL, "").split(" ")
    options: dict[str, list[str]] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or key not in ("variant", "package", "mirror", "epoch"):
            return None
        options.setdefault(key, []).append(value)
    if not head:
        return None
    epoch = options.get("epoch")
    return parse_recipe(
        head,
        variant=options.get("variant", ["apt"])[0],
        packages=tuple(options.get("package", ())),
        mirrors=tuple(options.get("mirror", ())),
        epoch=int(epoch[0]) if epoch else None,
    )
