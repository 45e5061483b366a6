"""Subvolumes of btrfs: directories that can be snapshotted at one stroke. Everything by ioctl, no program is needed.

On other file systems ``make_subvolume`` and ``snapshot_subvolume`` say no, and nothing has happened. Source of the
numbers: Linux, include/uapi/linux/btrfs.h.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from pathlib import Path
from typing import Final

_SUBVOL_CREATE: Final = 0x5000940E
_SNAP_DESTROY: Final = 0x5000940F
_SNAP_CREATE_V2: Final = 0x50009417
_FS_INFO: Final = 0x8400941F
_ROOT_INODE: Final = 256
_NOT_HERE: Final = frozenset({errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM, errno.EACCES, errno.ENOSYS})
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def is_subvolume(path: Path) -> bool:
    """Whether a directory is a subvolume's root."""
    return os.lstat(path).st_ino == _ROOT_INODE and _is_btrfs(path)


def make_subvolume(path: Path) -> bool:
    """Make a subvolume; False where the file system has none. ``FileExistsError``."""
    arguments = struct.pack("=q4088s", 0, os.fsencode(path.name))
    return _told(path.parent, _SUBVOL_CREATE, arguments)


def snapshot_subvolume(source: Path, target: Path) -> bool:
    """Make ``target`` a writable snapshot of the subvolume ``source``; False where that cannot be. Atomic."""
    fd = os.open(source, _DIRECTORY)
    try:
        arguments = struct.pack("=qQQ4Q4040s", fd, 0, 0, 0, 0, 0, 0, os.fsencode(target.name))
        return _told(target.parent, _SNAP_CREATE_V2, arguments)
    finally:
        os.close(fd)


def remove_subvolume(path: Path) -> bool:
    """Remove a subvolume with all in it; False where the file system says no: then it goes like any directory."""
    try:
        return is_subvolume(path) and _told(
            path.parent, _SNAP_DESTROY, struct.pack("=q4088s", 0, os.fsencode(path.name))
        )
    except FileNotFoundError:
        return True


def _told(parent: Path, request: int, arguments: bytes) -> bool:
    fd = os.open(parent, _DIRECTORY)
    try:
        fcntl.ioctl(fd, request, bytearray(arguments))  # of immutable bytes it takes no more than 1024
    except OSError as error:
        if error.errno in _NOT_HERE:
            return False
        raise
    else:
        return True
    finally:
        os.close(fd)


def _is_btrfs(path: Path) -> bool:
    # statfs(2) is not in os; the kind of a mount is in mountinfo, and asking btrfs costs less: only it knows this ioctl
    fd = os.open(path, _DIRECTORY)
    try:
        fcntl.ioctl(fd, _FS_INFO, bytearray(4096))
    except OSError as error:
        if error.errno in _NOT_HERE:
            return False
        raise
    else:
        return True
    finally:
        os.close(fd)
