"""What is different inside two images: packages, files, and what a container starts with.

Layers that both stand on are not looked at, so that the cost is that of the layers that differ; an entry that comes
from equal layers on both sides is not read either. Files of packages that changed are counted apart from the others,
which are what a person wants to see. Files count as changed for their type, mode, owner, content, link target, device
and extended attributes, never for their times. Values of variables are never shown.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from typing import Final, Literal

import msgspec

from bennu.oci.image_config import ContainerConfig
from bennu.store import merged, packages
from bennu.store.base import CommittedSnapshot
from bennu.store.images import Image, Images
from bennu.store.merged import Entry, Part
from bennu.store.packages import Package, PackageChange
from bennu.store.tree import is_portable

BLOCK_BYTES: Final = 1 << 20
MERGED_USR: Final = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
"""Directories of the root that are links into ``usr`` nowadays; packages still list files by the old names."""

Verdict = Literal["added", "changed", "removed"]


class FileChanges(msgspec.Struct, frozen=True, omit_defaults=True):
    """Paths with their first slash, in order; directories only where they are empty or their mode or owner changed."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.added) + len(self.changed) + len(self.removed)


class ConfigChange(msgspec.Struct, frozen=True, omit_defaults=True):
    """A field of the image's configuration (``Cmd``, ``Env.PATH``). Both values are None for a variable."""

    field: str
    verdict: Verdict
    before: str | None = None
    after: str | None = None


class ImageChanges(msgspec.Struct, frozen=True, omit_defaults=True):
    """All of it. ``of_packages``: how many files changed that belong to packages, or are their managers' books."""

    packages: tuple[PackageChange, ...] = ()
    files: FileChanges = FileChanges()
    of_packages: int = 0
    config: tuple[ConfigChange, ...] = ()
    shared_layers: int = 0
    layers: tuple[int, int] = (0, 0)

    @property
    def is_empty(self) -> bool:
        """Nothing is different but times, or how the layers are cut."""
        return not (self.packages or self.files.count or self.of_packages or self.config)


def compare(images: Images, before: Image, after: Image) -> ImageChanges:
    """What is different in ``after``. ``Corrupt`` where an image has lost its layers."""
    config = config_changes(before.config.config, after.config.config)
    if before.config.diff_ids == after.config.diff_ids:
        count = len(before.layers)
        return ImageChanges(config=config, shared_layers=count, layers=(count, count))
    stacks = _Stack(images, before), _Stack(images, after)
    walk = _Walk(*stacks)
    found: dict[Verdict, list[str]] = {"added": [], "changed": [], "removed": []}
    for path, verdict in walk.run():
        found[verdict].append(path)
    installed = tuple(_installed(stack.root) for stack in stacks)
    differing = packages.changes(*installed) if found["changed"] or found["added"] or found["removed"] else ()
    owned = _owned(stacks, installed, {one.name.partition(":")[0] for one in differing})
    kept = {verdict: [path for path in paths if not _belongs(path, owned)] for verdict, paths in found.items()}
    return ImageChanges(
        packages=differing,
        files=FileChanges(*(tuple(_shown(path) for path in sorted(kept[v])) for v in ("added", "changed", "removed"))),
        of_packages=sum(map(len, found.values())) - sum(map(len, kept.values())),
        config=config,
        shared_layers=walk.shared_layers,
        layers=(len(before.layers), len(after.layers)),
    )


def config_changes(before: ContainerConfig, after: ContainerConfig) -> tuple[ConfigChange, ...]:
    """What a container of the one starts with and a container of the other does not."""
    old, new = (_flat(config) for config in (before, after))
    return tuple(
        ConfigChange(
            field=field,
            verdict="added" if field not in old else "removed" if field not in new else "changed",
            before=None if field.startswith("Env.") else old.get(field),
            after=None if field.startswith("Env.") else new.get(field),
        )
        for field in sorted(old.keys() | new.keys())
        if old.get(field) != new.get(field)
    )


def _flat(config: ContainerConfig) -> dict[str, str]:
    fields = {
        name: msgspec.json.encode(value, order="deterministic").decode()
        for name, value in msgspec.to_builtins(config).items()
        if name not in {"Env", "Labels", "ArgsEscaped"}
    }
    fields |= {f"Env.{name}": value for name, value in config.environment.items()}
    return fields | {f"Labels.{name}": value for name, value in config.labels.items()}


class _Stack:
    """An image's layers, topmost first: their snapshots, their directories and their diff_ids."""

    def __init__(self, images: Images, image: Image) -> None:
        top = images.snapshot(image)
        self.snapshots = top.chain if top else ()
        chain = [CommittedSnapshot(one, self.snapshots[at + 1 :]) for at, one in enumerate(self.snapshots)]
        self.root = merged.root([str(images.snapshots.directory(one)) for one in chain])
        ids = image.config.diff_ids[::-1]
        self.diff_ids: Sequence[str] = ids if len(ids) == len(chain) else self.snapshots


class _Walk:
    """One walk along two stacks, where they differ."""

    def __init__(self, one: _Stack, two: _Stack) -> None:
        self._stacks = (one, two)
        common = set(one.snapshots) & set(two.snapshots)
        self.shared_layers = len(common)
        self._own = tuple(
            {number for number, name in enumerate(stack.snapshots) if name not in common} for stack in self._stacks
        )

    def run(self) -> Iterator[tuple[str, Verdict]]:
        """Every difference, by its path without the first slash."""
        return self._below("", self._stacks[0].root, self._stacks[1].root)

    def _below(self, path: str, one: Sequence[Part], two: Sequence[Part]) -> Iterator[tuple[str, Verdict]]:
        own = [[part for part in parts if part.layer in self._own[side]] for side, parts in enumerate((one, two))]
        shared = [[part.path for part in parts if part.layer not in self._own[side]] for side, parts in
                  enumerate((one, two))]  # fmt: skip
        # an opaque directory on one side hides from it what the other side sees: then every name counts
        looked_at = (one, two) if shared[0] != shared[1] else own
        for name in merged.names(looked_at[0]) | merged.names(looked_at[1]):
            yield from self._entry(f"{path}{name}", merged.find(one, name), merged.find(two, name))

    def _entry(self, path: str, one: Entry | None, two: Entry | None) -> Iterator[tuple[str, Verdict]]:
        if one is None or two is None:
            for entry, verdict in ((one, "removed"), (two, "added")):
                if entry is not None:
                    yield from _whole(path, entry, "removed" if verdict == "removed" else "added")
        elif one.is_directory and two.is_directory:
            if one.path != two.path and _appearance(one) != _appearance(two):
                yield f"{path}/", "changed"
            yield from self._below(f"{path}/", one.parts, two.parts)
        elif one.is_directory or two.is_directory:
            yield from _whole(path, one, "removed")
            yield from _whole(path, two, "added")
        elif not self._is_same(one, two):
            yield path, "changed"

    def _is_same(self, one: Entry, two: Entry) -> bool:
        layers = (self._stacks[side].diff_ids[entry.parts[0].layer] for side, entry in enumerate((one, two)))
        if one.path == two.path or next(layers) == next(layers):
            return True
        return _appearance(one) == _appearance(two) and _same_content(one, two)


def _whole(path: str, entry: Entry, verdict: Verdict) -> Iterator[tuple[str, Verdict]]:
    """All that an entry is which the other side has not."""
    if not entry.is_directory:
        yield path, verdict
        return
    for below in merged.files_below(entry.parts, f"{path}/"):
        yield below, verdict


def _appearance(entry: Entry) -> tuple[int, int, int, dict[str, bytes]]:
    status = entry.status
    wanted = [name for name in os.listxattr(entry.path, follow_symlinks=False) if is_portable(os.fsencode(name))]
    attributes = {name: os.getxattr(entry.path, name, follow_symlinks=False) for name in wanted}
    return status.st_mode, status.st_uid, status.st_gid, attributes


def _same_content(one: Entry, two: Entry) -> bool:
    first, second = one.status, two.status
    if stat.S_ISLNK(first.st_mode):
        return os.readlink(one.path) == os.readlink(two.path)
    if not stat.S_ISREG(first.st_mode):
        return first.st_rdev == second.st_rdev
    if first.st_size != second.st_size:
        return False
    if (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino):
        return True
    with open(one.path, "rb", buffering=0) as left, open(two.path, "rb", buffering=0) as right:
        while block := left.read(BLOCK_BYTES):
            if block != right.read(BLOCK_BYTES):
                return False
    return True


def _installed(root: Sequence[Part]) -> tuple[Package, ...]:
    """The packages of a tree, of whichever manager it has."""
    found: list[Package] = []
    status = merged.read(root, "var/lib/dpkg/status")
    if status is not None:
        found += packages.dpkg(status)
    folder = merged.lookup(root, "var/lib/dpkg/status.d")
    for name in sorted(merged.names(folder.parts)) if folder is not None and folder.is_directory else ():
        found += packages.dpkg(merged.read(root, f"var/lib/dpkg/status.d/{name}") or b"")
    for path in ("lib/apk/db/installed", "usr/lib/apk/db/installed"):
        found += packages.apk(merged.read(root, path) or b"")
    for path in ("var/lib/rpm/rpmdb.sqlite", "usr/lib/sysimage/rpm/rpmdb.sqlite"):
        entry = merged.lookup(root, path)
        if entry is not None and stat.S_ISREG(entry.status.st_mode):
            found += packages.rpm(_headers(entry.path))
    return tuple(found)


def _headers(path: str) -> list[bytes]:
    """The package headers of an rpm database; none where it cannot be read."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as database:
        return [row[0] for row in database.execute("SELECT blob FROM Packages") if isinstance(row[0], bytes)]
    return []


def _owned(
    stacks: tuple[_Stack, _Stack], installed: tuple[tuple[Package, ...], ...], names: set[str]
) -> frozenset[str]:
    """The files of these packages, on either side."""
    found: set[str] = set()
    for stack, every in zip(stacks, installed, strict=True):
        info = merged.lookup(stack.root, "var/lib/dpkg/info")
        for package in every:
            if package.name in names:
                found.update(map(_plain, package.files))
                if info is not None and info.is_directory:
                    found.update(map(_plain, _dpkg_files(info.parts, package)))
    return frozenset(found)


def _dpkg_files(info: Sequence[Part], package: Package) -> Iterable[str]:
    for name in packages.dpkg_lists(package):
        content = merged.read(info, name)
        if content is not None:
            return packages.dpkg_list(content)
    return ()


def _plain(path: str) -> str:
    return path.removeprefix("usr/") if path.removeprefix("usr/").split("/", 1)[0] in MERGED_USR else path


def _belongs(path: str, owned: frozenset[str]) -> bool:
    return _plain(path.rstrip("/")) in owned or path.startswith(packages.RECORDS)


def _shown(path: str) -> str:
    return "/" + os.fsencode(path).decode(errors="backslashreplace")
