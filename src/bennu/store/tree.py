"""From a snapshot's own directory to its layer: the walk that makes the canonical tar.

Entries come depth first, names sorted by their bytes, so the same tree always gives the same archive. overlayfs's
whiteouts (character device 0/0) become ``.wh.NAME``, its opaque directories ``.wh..wh..opq`` (OCI image specification,
layer.md, "Whiteouts"); none of its own attributes leaves. Both are written only where they hide something of the
layers below: the kernel marks every new directory opaque, as a shortcut, and the bytes of a layer must not depend on
how a directory came to be. Sockets are left out, as every tool does. ``tree_writer`` is the inverse.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Final, NamedTuple

from bennu.errors import Unsupported
from bennu.host import syscalls
from bennu.store.tar import (
    BLOCK_DEVICE,
    CHARACTER,
    DIRECTORY,
    FIFO,
    HARD_LINK,
    REGULAR,
    SYMLINK,
    Member,
    encode,
)
from bennu.store.tar_output import TarOutput

WHITEOUT: Final = b".wh."
OPAQUE: Final = b".wh..wh..opq"
OPAQUE_XATTR: Final = "trusted.overlay.opaque"
DEFAULT_ROOT: Final = (0o755, 0, 0, None)

_PRIVATE: Final = (b"trusted.overlay.", b"security.selinux", b"security.ima", b"security.evm")
_KEPT: Final = (b"user.", b"security.", b"trusted.", b"system.posix_acl_")
_KINDS: Final = {
    stat.S_IFLNK: SYMLINK,
    stat.S_IFCHR: CHARACTER,
    stat.S_IFBLK: BLOCK_DEVICE,
    stat.S_IFIFO: FIFO,
}
_OPEN_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


def is_portable(xattr: bytes) -> bool:
    """Whether an extended attribute belongs to an image: not overlayfs's own, nor one that only this host knows."""
    return xattr.startswith(_KEPT) and not xattr.startswith(_PRIVATE)


def pack(root: int, lower: int | None, output: TarOutput) -> None:
    """Write the layer that the directory ``root`` is over the tree ``lower`` (None: nothing), both descriptors."""
    try:
        _Packer(root, lower, output).run()
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise Unsupported("a layer with paths of more than 4095 bytes cannot be written") from error


class _Level(NamedTuple):
    """A directory on the way down: what is left in it (last first), and whether lower layers show through it."""

    path: bytes
    names: list[bytes]
    merged: bool


class _Packer:
    """One walk."""

    def __init__(self, root: int, lower: int | None, output: TarOutput) -> None:
        self._root = root
        self._lower = lower
        self._output = output
        self._links: dict[tuple[int, int], bytes] = {}

    def run(self) -> None:
        levels = [self._top()]
        while levels:
            level = levels[-1]
            below = self._entries(level) if level.names else None
            if below is None:
                levels.pop()
            else:
                levels.append(self._directory(below, merged=level.merged))

    def _open(self, path: bytes) -> int:
        # by path, not from a descriptor held by each level: nesting is bounded by PATH_MAX, descriptors by much less
        return os.open(path, _OPEN_DIRECTORY, dir_fd=self._root)

    def _top(self) -> _Level:
        """The root. It is an entry only where it differs from the one below: every other layer would carry it."""
        own = _appearance(self._root)
        below = DEFAULT_ROOT if self._lower is None else _appearance(self._lower)
        if own != below:
            mode, uid, gid, xattrs = own
            mtime = int(os.stat(self._root).st_mtime_ns // 1_000_000_000)
            self._output.write(encode(Member(b".", DIRECTORY, mode, uid, gid, 0, mtime, xattrs=xattrs)))
        return _Level(b"", _names(self._root), self._lower is not None)

    def _directory(self, path: bytes, *, merged: bool) -> _Level:
        fd = self._open(path)
        try:
            status = os.fstat(fd)
            attributes = os.listxattr(fd)
            mode, mtime = status.st_mode & 0o7777, status.st_mtime_ns // 1_000_000_000
            xattrs = _portable(fd, attributes)
            self._output.write(
                encode(Member(path, DIRECTORY, mode, status.st_uid, status.st_gid, 0, mtime, xattrs=xattrs))
            )
            opaque = OPAQUE_XATTR in attributes and os.getxattr(fd, OPAQUE_XATTR) == b"y"
            if opaque and merged and self._below(path) == stat.S_IFDIR:
                self._mark(path + b"/" + OPAQUE)
            return _Level(path, _names(fd), merged and not opaque)
        finally:
            os.close(fd)

    def _below(self, path: bytes) -> int:
        """The type (``S_IFMT``) of what the tree below has at a path, no links followed; 0 for nothing."""
        assert self._lower is not None
        rules = syscalls.RESOLVE_NO_SYMLINKS | syscalls.RESOLVE_BENEATH
        try:
            fd = syscalls.openat2(self._lower, path, os.O_PATH | os.O_NOFOLLOW, 0, rules)
        except OSError as error:
            if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
                return 0
            raise
        try:
            return stat.S_IFMT(os.fstat(fd).st_mode)
        finally:
            os.close(fd)

    def _entries(self, level: _Level) -> bytes | None:
        """Write entries until there is a directory to go down into: its path, or None at the end."""
        fd = self._open(level.path or b".")
        try:
            prefix = level.path + b"/" if level.path else b""
            while level.names:
                name = level.names.pop()
                status = os.stat(name, dir_fd=fd, follow_symlinks=False)
                kind = stat.S_IFMT(status.st_mode)
                if kind == stat.S_IFDIR:
                    return prefix + name
                if kind == stat.S_IFREG:
                    self._file(fd, prefix + name, name, status)
                elif kind == stat.S_IFCHR and status.st_rdev == 0:
                    self._whiteout(level, prefix, name)
                elif kind != stat.S_IFSOCK:
                    self._special(fd, prefix, name, status)
            return None
        finally:
            os.close(fd)

    def _file(self, directory: int, path: bytes, name: bytes, status: os.stat_result) -> None:
        if status.st_nlink > 1 and self._is_linked(path, status):
            return
        fd = os.open(name, _OPEN_FILE, dir_fd=directory)
        try:
            size = status.st_size
            attributes = os.listxattr(fd)
            member = Member(
                path,
                REGULAR,
                status.st_mode & 0o7777,
                status.st_uid,
                status.st_gid,
                size,
                status.st_mtime_ns // 1_000_000_000,
                xattrs=_portable(fd, attributes) if attributes else None,
            )
            self._output.write(encode(member))
            if size:
                self._output.copy(fd, size, path)
        finally:
            os.close(fd)

    def _whiteout(self, level: _Level, prefix: bytes, name: bytes) -> None:
        if level.merged and self._below(prefix + name) not in {0, stat.S_IFSOCK}:  # of a socket no archive knows
            self._mark(prefix + WHITEOUT + name)

    def _special(self, directory: int, prefix: bytes, name: bytes, status: os.stat_result) -> None:
        kind = stat.S_IFMT(status.st_mode)
        if (
            kind == stat.S_IFCHR and status.st_rdev == 0
        ):  # before links: the kernel makes whiteouts links of one another
            self._mark(prefix + WHITEOUT + name)
            return
        if status.st_nlink > 1 and self._is_linked(prefix + name, status):
            return
        place = b"/proc/self/fd/%d/%b" % (directory, name)
        member = Member(
            prefix + name,
            _KINDS[kind],
            status.st_mode & 0o7777,
            status.st_uid,
            status.st_gid,
            0,
            status.st_mtime_ns // 1_000_000_000,
            xattrs=_portable(place, os.listxattr(place, follow_symlinks=False)),
        )
        if kind == stat.S_IFLNK:
            member.mode = 0o777
            member.link = os.readlink(name, dir_fd=directory)
        elif kind != stat.S_IFIFO:
            member.device = (os.major(status.st_rdev), os.minor(status.st_rdev))
        self._output.write(encode(member))

    def _is_linked(self, path: bytes, status: os.stat_result) -> bool:
        """Write a hard link if this file was written under another name; else remember it under this one."""
        first = self._links.setdefault((status.st_dev, status.st_ino), path)
        if first == path:
            return False
        mode, mtime = status.st_mode & 0o7777, status.st_mtime_ns // 1_000_000_000
        self._output.write(encode(Member(path, HARD_LINK, mode, status.st_uid, status.st_gid, 0, mtime, first)))
        return True

    def _mark(self, path: bytes) -> None:
        self._output.write(encode(Member(path, REGULAR, 0, 0, 0, 0, 0)))


def _names(fd: int) -> list[bytes]:
    names = sorted(map(os.fsencode, os.listdir(fd)), reverse=True)
    for name in names:
        if name.startswith(WHITEOUT):
            raise Unsupported(
                f"file {os.fsdecode(name)!r} cannot be in a layer: names that begin with '.wh.' mean removals there",
                "remove the file in the step that makes it",
            )
    return names


def _portable(target: int | bytes, attributes: list[str]) -> dict[bytes, bytes] | None:
    kept = [name for name in map(os.fsencode, attributes) if is_portable(name)]
    return {name: os.getxattr(target, name, follow_symlinks=isinstance(target, int)) for name in kept} or None


def _appearance(fd: int) -> tuple[int, int, int, dict[bytes, bytes] | None]:
    status = os.fstat(fd)
    return status.st_mode & 0o7777, status.st_uid, status.st_gid, _portable(fd, os.listxattr(fd))
