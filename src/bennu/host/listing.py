"""What lies in a directory, as stat tells it: for finding out later what has changed, without reading content.

Nothing is followed, and no more than ``limit`` entries are looked at. A file whose content, mode, owner, links or
attributes were changed since has another change time (ctime), which nobody but the kernel sets.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from typing import Final, NamedTuple

LIMIT: Final = 200_000
_KINDS: Final = {
    stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link", stat.S_IFSOCK: "socket",
    stat.S_IFIFO: "fifo", stat.S_IFCHR: "character device", stat.S_IFBLK: "block device",
}  # fmt: skip
_OPEN: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class Entry(NamedTuple):
    """One thing in a tree: ``path`` begins with ``/``, which is the directory itself."""

    path: str
    status: os.stat_result

    @property
    def is_directory(self) -> bool:
        """Whether it is one."""
        return stat.S_ISDIR(self.status.st_mode)

    @property
    def is_device(self) -> bool:
        """A device node. A whiteout of overlayfs is one too."""
        return stat.S_ISCHR(self.status.st_mode) or stat.S_ISBLK(self.status.st_mode)

    @property
    def is_whiteout(self) -> bool:
        """What overlayfs leaves in a writable layer for what was removed."""
        return stat.S_ISCHR(self.status.st_mode) and self.status.st_rdev == 0

    @property
    def is_program(self) -> bool:
        """A file that somebody may execute."""
        return stat.S_ISREG(self.status.st_mode) and bool(self.status.st_mode & 0o111)


def walk(fd: int, *, limit: int = LIMIT) -> Iterator[Entry]:
    """Everything below an open directory that is on the same file system, parents first."""
    left = [limit]
    device = os.fstat(fd).st_dev
    yield from _walk(fd, "", device, left)


def _walk(fd: int, above: str, device: int, left: list[int]) -> Iterator[Entry]:
    try:
        with os.scandir(fd) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return
    for entry in found:
        if left[0] <= 0:
            return
        left[0] -= 1
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError:  # gone meanwhile
            continue
        path = f"{above}/{entry.name}"
        yield Entry(path, status)
        if stat.S_ISDIR(status.st_mode) and status.st_dev == device:
            try:
                below = os.open(entry.name, _OPEN, dir_fd=fd)
            except OSError:
                continue
            try:
                yield from _walk(below, path, device, left)
            finally:
                os.close(below)


def words(status: os.stat_result) -> str:
    """What stat says, for people and for comparing: ``file 0644 0:0, 12 bytes, written 2026-12-01 15:00:00.25``."""
    kind = _KINDS.get(stat.S_IFMT(status.st_mode), "thing")
    text = f"{kind} {stat.S_IMODE(status.st_mode):04o} {status.st_uid}:{status.st_gid}"
    if stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
        return f"{text} {os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    if not stat.S_ISREG(status.st_mode):
        return text
    seconds, rest = divmod(status.st_mtime_ns, 1_000_000_000)
    written = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))
    return f"{text}, {status.st_size} bytes, written {written}.{rest:09}"


class Item(NamedTuple):
    """What is remembered of one thing in a tree; times in nanoseconds."""

    path: str
    mode: int
    owner: str
    size_bytes: int
    inode: int
    mtime_ns: int
    ctime_ns: int

    def __str__(self) -> str:
        kind = _KINDS.get(stat.S_IFMT(self.mode), "thing")
        written = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(self.mtime_ns // 1_000_000_000))
        size = f", {self.size_bytes} bytes" if stat.S_ISREG(self.mode) else ""
        return f"{kind} {stat.S_IMODE(self.mode):04o} {self.owner}{size}, written {written}"


def inventory(top: str | os.PathLike[str]) -> list[Item]:
    """Everything in a tree of our own, itself included, in order of their paths. For large trees: no generator."""
    base = os.fspath(top)
    found = [_item("/", os.lstat(base))]
    pending = [""]
    while pending:
        above = pending.pop()
        with os.scandir(base + above) as entries:
            for entry in entries:
                path = f"{above}/{entry.name}"
                found.append(_item(path, entry.stat(follow_symlinks=False)))
                if entry.is_dir(follow_symlinks=False):
                    pending.append(path)
    found.sort()
    return found


def _item(path: str, status: os.stat_result) -> Item:
    return Item(
        path,
        status.st_mode,
        f"{status.st_uid}:{status.st_gid}",
        0 if stat.S_ISDIR(status.st_mode) else status.st_size,
        status.st_ino,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )
