"""Two layers on one tree, compared: what is different for whoever looks at the merged trees.

Only what one of the layers has is looked at, so that the cost is that of the layers. An entry's type, mode, owner,
content, link target, device and extended attributes count; its times only where that is asked for.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bennu.build.trees import in_trees
from bennu.build.verdicts import Difference
from bennu.config import Settings
from bennu.store.base import CommittedSnapshot
from bennu.store.snapshots import Snapshots
from bennu.store.tree import is_portable

BLOCK_BYTES: Final = 1 << 20
MOST: Final = 1000
"""So many differences are found, then no more are looked for."""


def differences(
    settings: Settings, snapshots: Snapshots, one: CommittedSnapshot, two: CommittedSnapshot, *, times: bool
) -> list[Difference]:
    """What is different in ``two``, whose parents are those of ``one``."""
    assert one.parents == two.parents
    layers = (snapshots.directory(one), snapshots.directory(two))

    def compare(roots: tuple[Path, ...]) -> list[Difference]:
        found: list[Difference] = []
        for difference in _Comparison(layers, (roots[0], roots[1]), times=times).below(""):
            found.append(difference)
            if len(found) == MOST:
                break
        return found

    return in_trees(settings, (snapshots.mounts(one), snapshots.mounts(two)), compare)


class _Comparison:
    """One walk of two mounted trees, along their own layers."""

    def __init__(self, layers: tuple[Path, Path], roots: tuple[Path, Path], *, times: bool) -> None:
        self._layers = layers
        self._roots = roots
        self._times = times

    def below(self, directory: str) -> Iterator[Difference]:
        """The differences in a directory that both trees have."""
        names = sorted({name for root in self._roots for name in os.listdir(root / directory)})
        for name in names:
            path = f"{directory}/{name}" if directory else name
            one, two = (_status(root / path) for root in self._roots)
            if one is None or two is None:
                yield Difference(f"/{path}", "missing" if two is None else "unexpected")
                continue
            if all(_status(layer / path) is None for layer in self._layers) and stat.S_IFMT(one.st_mode) == stat.S_IFMT(
                two.st_mode
            ):
                continue  # both show what lies below them
            yield from self._entry(path, one, two)

    def _entry(self, path: str, one: os.stat_result, two: os.stat_result) -> Iterator[Difference]:
        shown = f"/{path}"
        kinds = tuple(_KINDS.get(stat.S_IFMT(each.st_mode), "something else") for each in (one, two))
        if kinds[0] != kinds[1]:
            yield Difference(shown, "type", *kinds)
            return
        if stat.S_IMODE(one.st_mode) != stat.S_IMODE(two.st_mode):
            yield Difference(shown, "mode", f"{stat.S_IMODE(one.st_mode):o}", f"{stat.S_IMODE(two.st_mode):o}")
        if (one.st_uid, one.st_gid) != (two.st_uid, two.st_gid):
            yield Difference(shown, "owner", f"{one.st_uid}:{one.st_gid}", f"{two.st_uid}:{two.st_gid}")
        yield from self._inside(path, one, two)
        if _attributes(self._roots[0] / path) != _attributes(self._roots[1] / path):
            yield Difference(shown, "attributes")
        if self._times and int(one.st_mtime) != int(two.st_mtime):
            yield Difference(shown, "time", str(int(one.st_mtime)), str(int(two.st_mtime)))
        if kinds[0] == "directory":
            yield from self.below(path)

    def _inside(self, path: str, one: os.stat_result, two: os.stat_result) -> Iterator[Difference]:
        places = [root / path for root in self._roots]
        if stat.S_ISREG(one.st_mode) and not _same_bytes(places[0], places[1], one, two):
            yield Difference(f"/{path}", "content")
        elif stat.S_ISLNK(one.st_mode):
            targets = [os.readlink(place) for place in places]
            if targets[0] != targets[1]:
                yield Difference(f"/{path}", "target", *targets)
        elif one.st_rdev != two.st_rdev:
            yield Difference(f"/{path}", "device")


_KINDS: Final = {
    stat.S_IFDIR: "directory",
    stat.S_IFREG: "file",
    stat.S_IFLNK: "link",
    stat.S_IFIFO: "pipe",
    stat.S_IFBLK: "block device",
    stat.S_IFCHR: "character device",
}


def _status(path: Path) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _attributes(path: Path) -> dict[str, bytes]:
    names = [name for name in os.listxattr(path, follow_symlinks=False) if is_portable(os.fsencode(name))]
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in names}


def _same_bytes(one: Path, two: Path, first: os.stat_result, second: os.stat_result) -> bool:
    if first.st_size != second.st_size:
        return False
    with open(one, "rb", buffering=0) as left, open(two, "rb", buffering=0) as right:
        while block := left.read(BLOCK_BYTES):
            if block != right.read(BLOCK_BYTES):
                return False
    return True
