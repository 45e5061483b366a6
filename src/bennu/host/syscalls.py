"""Linux system calls that Python 3.11 does not offer, by ctypes. Each raises ``OSError`` with the kernel's errno.

Owns numbers and structures, no policy: ``mounts``, ``files`` and ``namespaces`` say what to do with them. The numbers
of calls added since Linux 5.1 are the same on every architecture (include/uapi/asm-generic/unistd.h); ``pivot_root``
and older calls go through libc's wrappers.
"""

from __future__ import annotations

import ctypes
import os
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
CLONE_NEWNET: Final = 0x40000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_FS: Final = 0x00000200

RESOLVE_NO_XDEV: Final = 0x01
RESOLVE_NO_MAGICLINKS: Final = 0x02
RESOLVE_NO_SYMLINKS: Final = 0x04
RESOLVE_BENEATH: Final = 0x08
RESOLVE_IN_ROOT: Final = 0x10

_OPEN_TREE: Final = 428
_MOVE_MOUNT: Final = 429
_FSOPEN: Final = 430
_FSCONFIG: Final = 431
_FSMOUNT: Final = 432
_OPENAT2: Final = 437
_MOUNT_SETATTR: Final = 442


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


class _MountAttr(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


@cache
def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def _call(number: int, *arguments: Any) -> int:
    result = _libc().syscall(ctypes.c_long(number), *arguments)
    return _checked(result)


def _checked(result: int, path: str | None = None) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), path)
    return result


def fsopen(kind: str) -> int:
    """A file descriptor for configuring a new file system of a kind (``overlay``, ``tmpfs``)."""
    return _call(_FSOPEN, kind.encode(), ctypes.c_uint(FSOPEN_CLOEXEC))


def fsconfig_string(fd: int, key: str, value: str | os.PathLike[str]) -> None:
    """Set a string option of a file system that is being configured."""
    _call(
        _FSCONFIG,
        ctypes.c_int(fd),
        ctypes.c_uint(FSCONFIG_SET_STRING),
        key.encode(),
        os.fsencode(value),
        ctypes.c_int(0),
    )


def fsconfig_flag(fd: int, key: str) -> None:
    """Set a flag option of a file system that is being configured."""
    _call(_FSCONFIG, ctypes.c_int(fd), ctypes.c_uint(FSCONFIG_SET_FLAG), key.encode(), None, ctypes.c_int(0))


def fsconfig_create(fd: int) -> None:
    """Make the superblock of a configured file system."""
    _call(_FSCONFIG, ctypes.c_int(fd), ctypes.c_uint(FSCONFIG_CMD_CREATE), None, None, ctypes.c_int(0))


def fsmount(fd: int, attributes: int) -> int:
    """A detached mount of a created file system, as a file descriptor."""
    return _call(_FSMOUNT, ctypes.c_int(fd), ctypes.c_uint(FSMOUNT_CLOEXEC), ctypes.c_uint(attributes))


def open_tree(path: str | os.PathLike[str], *, recursive: bool) -> int:
    """A detached copy of the mount at ``path`` (a bind mount that stands nowhere yet)."""
    flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (AT_RECURSIVE if recursive else 0)
    return _call(_OPEN_TREE, ctypes.c_int(AT_FDCWD), os.fsencode(path), ctypes.c_uint(flags))


def move_mount(fd: int, target: str | os.PathLike[str]) -> None:
    """Attach a detached mount at a path."""
    _call(
        _MOVE_MOUNT,
        ctypes.c_int(fd),
        b"",
        ctypes.c_int(AT_FDCWD),
        os.fsencode(target),
        ctypes.c_uint(MOVE_MOUNT_F_EMPTY_PATH),
    )


def mount_setattr(fd: int, *, set_attributes: int = 0, clear_attributes: int = 0, recursive: bool = False) -> None:
    """Set and clear attributes (``MOUNT_ATTR_*``) of the mount that a descriptor stands for."""
    attr = _MountAttr(attr_set=set_attributes, attr_clr=clear_attributes)
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    size = ctypes.c_size_t(ctypes.sizeof(attr))
    _call(_MOUNT_SETATTR, ctypes.c_int(fd), b"", ctypes.c_uint(flags), ctypes.byref(attr), size)


def openat2(directory: int, path: str | bytes | os.PathLike[str], flags: int, mode: int, resolve: int) -> int:
    """openat2(2): open with rules on how the path may resolve (``RESOLVE_*``)."""
    how = _OpenHow(flags=flags | os.O_CLOEXEC, mode=mode, resolve=resolve)
    size = ctypes.c_size_t(ctypes.sizeof(how))
    return _call(_OPENAT2, ctypes.c_int(directory), os.fsencode(path), ctypes.byref(how), size)


def make_private(path: str) -> None:
    """Make a mount and all below it private, so that no mount event passes in or out."""
    _checked(_libc().mount(None, path.encode(), None, ctypes.c_ulong(MS_PRIVATE | MS_REC), None), path)


def mount(source: str, target: str | os.PathLike[str], kind: str, flags: int, options: str) -> None:
    """mount(2): a new file system, its options in one page."""
    _checked(
        _libc().mount(source.encode(), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags), options.encode()),
        os.fspath(target),
    )


def umount(path: str | os.PathLike[str], flags: int = 0) -> None:
    """umount2(2)."""
    _checked(_libc().umount2(os.fsencode(path), ctypes.c_int(flags)), os.fspath(path))


def unshare(flags: int) -> None:
    """unshare(2) for the calling thread."""
    _checked(_libc().unshare(ctypes.c_int(flags)))


def setns(fd: int, kind: int) -> None:
    """setns(2) for the calling thread."""
    _checked(_libc().setns(ctypes.c_int(fd), ctypes.c_int(kind)))


def syncfs(fd: int) -> None:
    """syncfs(2): write back everything of the file system that a descriptor lies on."""
    _checked(_libc().syncfs(ctypes.c_int(fd)))


def inotify_init() -> int:
    """inotify_init1(2): a descriptor that does not block."""
    return _checked(_libc().inotify_init1(ctypes.c_int(os.O_CLOEXEC | os.O_NONBLOCK)))


def inotify_add_watch(fd: int, path: str | os.PathLike[str], events: int) -> int:
    """inotify_add_watch(2)."""
    watch = _libc().inotify_add_watch(ctypes.c_int(fd), os.fsencode(path), ctypes.c_uint32(events))
    return _checked(watch, os.fspath(path))
