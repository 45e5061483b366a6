"""Linux system calls that Python 3.11 does not offer, by ctypes. Each raises ``OSError`` with the kernel's errno.

Owns numbers and structures, no policy: ``mounts``, ``files`` and ``namespaces`` say what to do with them. The numbers
of calls added since Linux 5.1 are the same on every architecture (include/uapi/asm-generic/unistd.h); ``pivot_root``
and older calls go through libc's wrappers.
"""

from __future__ import annotations

import os
import struct
from functools import cache
from typing import Any, Final

AT_FDCWD: Final = -100
AT_EMPTY_PATH: Final = 0x1000
AT_RECURSIVE: Final = 0x8000

OPEN_TREE_CLONE: Final = 1
OPEN_TREE_CLOEXEC: Final = os.O_CLOEXEC

FSOPEN_CLOEXEC: Final = 1
FSMOUNT_CLOEXEC: Final = 1
FSCONFIG_SET_FLAG: Final = 0
FSCONFIG_SET_STRING: Final = 1
FSCONFIG_CMD_CREATE: Final = 6

MOUNT_ATTR_RDONLY: Final = 0x1
MOUNT_ATTR_NOSUID: Final = 0x2
MOUNT_ATTR_NODEV: Final = 0x4
MOUNT_ATTR_NOEXEC: Final = 0x8

MOVE_MOUNT_F_EMPTY_PATH: Final = 0x4

MS_PRIVATE: Final = 1 << 18
MS_REC: Final = 1 << 14
MNT_DETACH: Final = 2

CLONE_NEWNS: Final = 0x00020000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWNET: Final = 0x40000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_FS: Final = 0x00000200

RESOLVE_NO_XDEV: Final = 0x01
RESOLVE_NO_MAGICLINKS: Final = 0x02
RESOLVE_NO_SYMLINKS: Final = 0x04
RESOLVE_BENEATH: Final = 0x08
RESOLVE_IN_ROOT: Final = 0x10

RENAME_EXCHANGE: Final = 2

_OPEN_TREE: Final = 428
_MOVE_MOUNT: Final = 429
_FSOPEN: Final = 430
_FSCONFIG: Final = 431
_FSMOUNT: Final = 432
_OPENAT2: Final = 437
_MOUNT_SETATTR: Final = 442


_OPEN_HOW: Final = struct.Struct("=QQQ")  # flags, mode, resolve
_MOUNT_ATTR: Final = struct.Struct("=QQQQ")  # attr_set, attr_clr, propagation, userns_fd
_Argument = int | bytes | None


@cache
def _libc() -> Any:
    import ctypes  # a millisecond, for verbs that make no such call

    return ctypes.CDLL(None, use_errno=True)


def _call(number: int, *arguments: _Argument) -> int:
    return _libc_call("syscall", number, *arguments)


def _libc_call(name: str, *arguments: _Argument, path: str | None = None) -> int:
    """Call a function of libc: integers fill a register, bytes are a pointer to them, None is the null pointer."""
    import ctypes

    function = getattr(_libc(), name)
    result: int = function(*(ctypes.c_long(each) if isinstance(each, int) else each for each in arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), path)
    return result


def fsopen(kind: str) -> int:
    """A file descriptor for configuring a new file system of a kind (``overlay``, ``tmpfs``)."""
    return _call(_FSOPEN, kind.encode(), FSOPEN_CLOEXEC)


def fsconfig_string(fd: int, key: str, value: str | os.PathLike[str]) -> None:
    """Set a string option of a file system that is being configured."""
    _call(
        _FSCONFIG,
        fd,
        FSCONFIG_SET_STRING,
        key.encode(),
        os.fsencode(value),
        0,
    )


def fsconfig_flag(fd: int, key: str) -> None:
    """Set a flag option of a file system that is being configured."""
    _call(_FSCONFIG, fd, FSCONFIG_SET_FLAG, key.encode(), None, 0)


def fsconfig_create(fd: int) -> None:
    """Make the superblock of a configured file system."""
    _call(_FSCONFIG, fd, FSCONFIG_CMD_CREATE, None, None, 0)


def fsmount(fd: int, attributes: int) -> int:
    """A detached mount of a created file system, as a file descriptor."""
    return _call(_FSMOUNT, fd, FSMOUNT_CLOEXEC, attributes)


def open_tree(path: str | os.PathLike[str], *, recursive: bool) -> int:
    """A detached copy of the mount at ``path`` (a bind mount that stands nowhere yet)."""
    flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (AT_RECURSIVE if recursive else 0)
    return _call(_OPEN_TREE, AT_FDCWD, os.fsencode(path), flags)


def move_mount(fd: int, target: str | os.PathLike[str]) -> None:
    """Attach a detached mount at a path."""
    _call(
        _MOVE_MOUNT,
        fd,
        b"",
        AT_FDCWD,
        os.fsencode(target),
        MOVE_MOUNT_F_EMPTY_PATH,
    )


def mount_setattr(fd: int, *, set_attributes: int = 0, clear_attributes: int = 0, recursive: bool = False) -> None:
    """Set and clear attributes (``MOUNT_ATTR_*``) of the mount that a descriptor stands for."""
    attributes = _MOUNT_ATTR.pack(set_attributes, clear_attributes, 0, 0)
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    _call(_MOUNT_SETATTR, fd, b"", flags, attributes, len(attributes))


def openat2(directory: int, path: str | bytes | os.PathLike[str], flags: int, mode: int, resolve: int) -> int:
    """openat2(2): open with rules on how the path may resolve (``RESOLVE_*``)."""
    how = _OPEN_HOW.pack(flags | os.O_CLOEXEC, mode, resolve)
    return _call(_OPENAT2, directory, os.fsencode(path), how, len(how))


def make_private(path: str) -> None:
    """Make a mount and all below it private, so that no mount event passes in or out."""
    _libc_call("mount", None, path.encode(), None, MS_PRIVATE | MS_REC, None, path=path)


def mount(source: str, target: str | os.PathLike[str], kind: str, flags: int, options: str) -> None:
    """mount(2): a new file system, its options in one page."""
    place = os.fspath(target)
    _libc_call("mount", source.encode(), os.fsencode(target), kind.encode(), flags, options.encode(), path=place)


def umount(path: str | os.PathLike[str], flags: int = 0) -> None:
    """umount2(2)."""
    _libc_call("umount2", os.fsencode(path), flags, path=os.fspath(path))


def unshare(flags: int) -> None:
    """unshare(2) for the calling thread."""
    _libc_call("unshare", flags)


def setns(fd: int, kind: int) -> None:
    """setns(2) for the calling thread."""
    _libc_call("setns", fd, kind)


def exchange(one: str | os.PathLike[str], other: str | os.PathLike[str]) -> None:
    """renameat2(2) with RENAME_EXCHANGE: two names swap what they name, at one stroke."""
    _libc_call(
        "renameat2", AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE, path=os.fspath(one)
    )


def syncfs(fd: int) -> None:
    """syncfs(2): write back everything of the file system that a descriptor lies on."""
    _libc_call("syncfs", fd)


def inotify_init() -> int:
    """inotify_init1(2): a descriptor that does not block."""
    return _libc_call("inotify_init1", os.O_CLOEXEC | os.O_NONBLOCK)


def inotify_add_watch(fd: int, path: str | os.PathLike[str], events: int) -> int:
    """inotify_add_watch(2)."""
    return _libc_call("inotify_add_watch", fd, os.fsencode(path), events, path=os.fspath(path))
