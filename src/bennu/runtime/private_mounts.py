"""Mounts that exist for one call alone: parts of trees, and files that are nowhere but in memory.

They are attached in the private mount namespace of the call, under a directory of its own, and handed to the runtime
as bind mounts from there; with the last process of that namespace they are gone, whatever happened. Paths resolve
inside their tree. ``oneshot`` calls this; ``spec.MountPoint`` is what needs none of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from bennu.errors import NotFound
from bennu.host.files import directory, open_in_root
from bennu.host.mounts import Access, Mount, Tmpfs, attach
from bennu.runtime.spec import MountPoint

_CLOSED: Final = Access(nosuid=True, nodev=True)


class TreePoint(msgspec.Struct, frozen=True, kw_only=True):
    """What ``tree`` has at ``path``, seen at ``target``. ``what`` names the tree in errors."""

    target: str
    tree: Mount
    path: str = "/"
    what: str = "the tree"
    options: tuple[str, ...] = ("rbind", "rprivate")


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryFile:
    """A read-only file whose content is never on a disk and in no message."""

    target: str
    content: bytes = field(repr=False)
    mode: int
    uid: int = 0
    gid: int = 0


Point = MountPoint | TreePoint | MemoryFile


def attached(place: Path, points: Iterable[Point]) -> tuple[MountPoint, ...]:
    """Make the mounts of ``points`` below ``place``, an empty directory; what the runtime is to mount for them.

    Call it in a private mount namespace. ``NotFound`` where a tree has nothing at a path.
    """
    memory = place / "memory"
    found: list[MountPoint] = []
    for number, point in enumerate(points):
        match point:
            case MountPoint():
                found.append(point)
            case TreePoint():
                found.append(_tree(place / str(number), point))
            case MemoryFile():
                if not memory.exists():
                    memory.mkdir()
                    attach(Tmpfs(mode=0o700, access=_CLOSED), memory)
                found.append(_file(memory / str(number), point))
    return tuple(found)


def _tree(place: Path, point: TreePoint) -> MountPoint:
    place.mkdir()
    attach(point.tree, place)
    with directory(place) as root:
        try:
            fd = open_in_root(root, point.path, os.O_PATH)
        except OSError as error:
            raise NotFound(f"{point.path!r} is not in {point.what}: {error.strerror}") from error
        try:
            source = os.readlink(f"/proc/self/fd/{fd}")
        finally:
            os.close(fd)
    return MountPoint(target=point.target, source=source, options=point.options)


def _file(place: Path, point: MemoryFile) -> MountPoint:
    fd = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as file:
        file.write(point.content)
        file.flush()
        os.fchown(fd, point.uid, point.gid)
        os.fchmod(fd, point.mode)
    closed = () if point.mode & 0o111 else ("noexec",)
    return MountPoint(
        target=point.target, source=str(place), options=("rbind", "rprivate", "ro", "nosuid", "nodev", *closed)
    )
