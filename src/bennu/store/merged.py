"""The tree that a stack of layers shows, read from their directories without mounting it.

overlayfs's rules: the topmost layer that has a name decides; directories of several layers show through each other down
to one that is opaque; a whiteout hides what is below. For looks at committed snapshots only, which never change. No
symbolic link is followed, so nothing outside the layers is ever read.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from bennu.store.tree import OPAQUE_XATTR

_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class Part(NamedTuple):
    """A layer's share of a directory: the directory's own path, and which layer of the stack it is (0 is topmost)."""

    path: str
    layer: int


class Entry(NamedTuple):
    """What a name means: its status, and the file that it is (one part) or the directories that it is made of."""

    status: os.stat_result
    parts: tuple[Part, ...]

    @property
    def is_directory(self) -> bool:
        """A directory, of one layer or of several."""
        return stat.S_ISDIR(self.status.st_mode)

    @property
    def path(self) -> str:
        """Where its own status and content are."""
        return self.parts[0].path


def root(directories: Sequence[str]) -> tuple[Part, ...]:
    """The root of a stack of layers, topmost first."""
    return tuple(Part(path, number) for number, path in enumerate(directories))


def find(parts: Sequence[Part], name: str) -> Entry | None:
    """What a name in a directory means, or None where there is nothing to see."""
    found: list[Part] = []
    top: os.stat_result | None = None
    for part in parts:
        path = f"{part.path}/{name}"
        try:
            status = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        if not stat.S_ISDIR(status.st_mode):
            is_whiteout = stat.S_ISCHR(status.st_mode) and status.st_rdev == 0
            if top is None and not is_whiteout:
                return Entry(status, (Part(path, part.layer),))
            break
        top = top or status
        found.append(Part(path, part.layer))
        if len(parts) > 1 and is_opaque(path):
            break
    return None if top is None else Entry(top, tuple(found))


def names(parts: Sequence[Part]) -> set[str]:
    """Every name in these directories, those that are hidden too."""
    return {name for part in parts for name in os.listdir(part.path)}


def lookup(parts: Sequence[Part], path: str) -> Entry | None:
    """What a path (relative, without ``..``) means. A symbolic link on the way is nothing."""
    entry: Entry | None = None
    for name in path.split("/"):
        if entry is not None and not entry.is_directory:
            return None
        entry = find(parts if entry is None else entry.parts, name)
        if entry is None:
            return None
    return entry


def read(parts: Sequence[Part], path: str) -> bytes | None:
    """A regular file whole, or None where there is none."""
    entry = lookup(parts, path)
    if entry is None or not stat.S_ISREG(entry.status.st_mode):
        return None
    with open(os.open(entry.path, _READ), "rb") as stream:
        return stream.read()


def files_below(parts: Sequence[Part], path: str) -> Iterator[str]:
    """Everything below a directory that is no directory, and directories that hold nothing, with ``/`` at the end."""
    is_empty = True
    for name in sorted(names(parts)):
        entry = find(parts, name)
        if entry is None:
            continue
        is_empty = False
        below = f"{path}{name}"
        if entry.is_directory:
            yield from files_below(entry.parts, f"{below}/")
        else:
            yield below
    if is_empty and path:
        yield path


def is_opaque(path: str) -> bool:
    """Whether a directory hides what the layers below it have in its place."""
    with suppress(OSError):
        return os.getxattr(path, OPAQUE_XATTR, follow_symlinks=False) == b"y"
    return False
