"""Entries written into a directory of a mounted tree: files, directories, links, devices, dressed as asked.

Nothing is followed below the directory. What is in the way is replaced, except that files and directories do not
replace each other. Hard links among the entries of one source stay hard links. Times are the sources' in whole seconds.

A step's tree is mounted as an overlay, where making a file costs twice what it costs elsewhere. A directory that the
tree below does not have is the snapshot's own directory and nothing else, so entries are written into that one, past
the overlay. ``copying`` says what goes where.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from bennu.build.contents import portable_xattrs
from bennu.build.earlier import Earlier
from bennu.build.entries import Entry, Status
from bennu.build.modes import Mode
from bennu.errors import Conflict, Invalid
from bennu.host import files, syscalls

T = TypeVar("T")

SMALL_BYTES: Final = 1 << 18
"""A file of less is read and written in one go."""

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_LINKS: Final = syscalls.RESOLVE_NO_SYMLINKS | syscalls.RESOLVE_BENEATH
_SECOND_NS: Final = 1_000_000_000


class Appearance(NamedTuple):
    """What ``--chown`` and ``--chmod`` ask for, and the time to set (Unix seconds); None leaves the source's."""

    owner: tuple[int, int] | None = None
    mode: Mode | None = None
    epoch: int | None = None

    def times(self, status: Status) -> tuple[int, int]:
        """Access and modification, in nanoseconds, of what has this status."""
        when = (status.st_mtime_ns // _SECOND_NS if self.epoch is None else self.epoch) * _SECOND_NS
        return when, when


class Own(NamedTuple):
    """A snapshot's ``own`` directory, which holds what is written to its tree, and the tree of its parent."""

    own: Path
    parent: Path


class Target:
    """The tree mounted at ``root``, an overlay where ``layers`` says of what.

    ``direct`` counts files that were written past the overlay, for tests.
    """

    def __init__(self, root: Path, layers: Own | None = None) -> None:
        self.root = os.path.realpath(root)
        self.own = "" if layers is None else os.fspath(layers.own)
        self._layers = layers
        self.direct = 0

    def place(self, directory: int) -> str:
        """The path from the root of an open directory of the mounted tree."""
        return os.readlink(f"/proc/self/fd/{directory}")[len(self.root) + 1 :]

    def beneath(self, place: str) -> int | None:
        """The own directory that is all there is at a place, open; None where the parent's could show through."""
        if self._layers is None:
            return None
        with files.directory(self._layers.parent) as parent:
            try:
                os.close(syscalls.openat2(parent, place or ".", os.O_PATH | os.O_NOFOLLOW, 0, _NO_LINKS))
            except (FileNotFoundError, NotADirectoryError):
                with files.directory(self._layers.own) as own:
                    return syscalls.openat2(own, place, _DIRECTORY, 0, _NO_LINKS)
        return None


class _Level(NamedTuple):
    """A directory on the way down; ``entry`` None for the top, which is dressed by whoever opened it."""

    target: str
    fd: int
    is_direct: bool
    entry: Entry | None


class Writer:
    """Writes entries into the open directory ``fd`` of a tree; files that an ``earlier`` one has are linked."""

    def __init__(
        self, tree: Target, fd: int, look: Appearance, *, keeps_owners: bool, earlier: Earlier | None = None
    ) -> None:
        self._earlier = earlier
        self._tree = tree
        self._fd = fd
        self._look = look
        self._keeps = keeps_owners
        self._place = tree.place(fd)
        self._levels: list[_Level] = []
        self._linked: dict[tuple[int, int], str] = {}

    def contents(self, entries: Iterable[Entry]) -> None:
        """Write entries, which come directories first; each one's parent is the top or came before."""
        self._levels.append(self._level("", os.dup(self._fd), None))
        try:
            here = ""
            for entry in entries:
                parent, _, name = entry.target.rpartition("/")
                if parent != here or self._levels[-1].target != here:
                    self._leave(parent)
                    here = parent
                status = entry.status
                if stat.S_ISDIR(status.st_mode):
                    self._enter(name, entry)
                else:
                    self._write(self._levels[-1], name, entry, status)
        finally:
            self._leave(None)

    def _level(self, target: str, fd: int, entry: Entry | None, *, is_direct: bool = False) -> _Level:
        """The level of an open directory, whose descriptor is the level's from now on."""
        if not is_direct:
            own = self._tree.beneath(self._path(target))
            if own is not None:
                os.close(fd)
                return _Level(target, own, True, entry)
        return _Level(target, fd, is_direct, entry)

    def _path(self, target: str) -> str:
        """The path from the root of an entry."""
        return "/".join(filter(None, (self._place, target)))

    def _leave(self, parent: str | None) -> None:
        """Close directories until the parent is the innermost; their times are set last, when nothing is added."""
        while self._levels and self._levels[-1].target != parent:
            level = self._levels.pop()
            try:
                if level.entry is not None:
                    self._dress(level.fd, level.entry, level.entry.status)
            finally:
                os.close(level.fd)

    def _enter(self, name: str, entry: Entry) -> None:
        above = self._levels[-1]
        try:
            os.mkdir(name, 0o700, dir_fd=above.fd)
        except FileExistsError:
            if not stat.S_ISDIR(os.stat(name, dir_fd=above.fd, follow_symlinks=False).st_mode):
                raise Invalid(f"directory {entry.target!r} cannot replace a file of the same name") from None
        fd = os.open(name, _DIRECTORY, dir_fd=above.fd)
        self._levels.append(self._level(entry.target, fd, entry, is_direct=above.is_direct))

    def _write(self, level: _Level, name: str, entry: Entry, status: Status) -> None:
        mode = status.st_mode
        if stat.S_ISREG(mode):
            if self._earlier is not None and self._earlier.link(entry, status, level.fd, name):
                return
            if status.st_nlink == 1 or not self._link(level, name, entry, status):
                self._file(level.fd, name, entry, status)
                self._tree.direct += level.is_direct
            return
        fd = level.fd
        if stat.S_ISLNK(mode):
            goal = os.readlink(entry.path)
            _replacing(fd, name, lambda: os.symlink(goal, name, dir_fd=fd))
        else:
            # as in BuildKit, which takes the bits of a socket out of every mode: a socket is copied as an empty file,
            # and a block device as a character device
            kind = mode & ~stat.S_IFSOCK
            _replacing(fd, name, lambda: os.mknod(name, kind, status.st_rdev, dir_fd=fd))
            os.chmod(name, self._mode(status), dir_fd=fd)
        uid, gid = self._owner(status)
        os.chown(name, uid, gid, dir_fd=fd, follow_symlinks=False)
        os.utime(name, ns=self._look.times(status), dir_fd=fd, follow_symlinks=False)

    def _link(self, level: _Level, name: str, entry: Entry, status: Status) -> bool:
        inode = (status.st_dev, status.st_ino)
        first = self._linked.get(inode)
        if first is None:
            self._linked[inode] = self._path(entry.target)
            return False
        # within one mount: what was written past the overlay is seen through it too, and the other way round
        base = self._tree.own if level.is_direct else self._tree.root
        _replacing(level.fd, name, lambda: os.link(f"{base}/{first}", name, dst_dir_fd=level.fd, follow_symlinks=False))
        return True

    def _file(self, fd: int, name: str, entry: Entry, status: Status) -> None:
        source = os.open(entry.path, _READ)
        try:
            try:
                target = os.open(name, _CREATE, 0o600, dir_fd=fd)
            except FileExistsError:
                clear(fd, name)
                target = os.open(name, _CREATE, 0o600, dir_fd=fd)
            try:
                _copy(source, target, status.st_size)
                if not self._keeps:
                    _refuse_changed(source, entry.path, status)
                self._dress(target, entry, status)
            finally:
                os.close(target)
        finally:
            os.close(source)

    def _dress(self, fd: int, entry: Entry, status: Status) -> None:
        uid, gid = self._owner(status)
        os.fchown(fd, uid, gid)
        os.fchmod(fd, self._mode(status))
        if self._keeps:
            for key, value in portable_xattrs(entry):
                with suppress(OSError):  # a file system without this kind of attribute
                    os.setxattr(fd, key, value)
        os.utime(fd, ns=self._look.times(status))

    def _owner(self, status: Status) -> tuple[int, int]:
        if self._look.owner is not None:
            return self._look.owner
        return (status.st_uid, status.st_gid) if self._keeps else (0, 0)

    def _mode(self, status: Status) -> int:
        mode = status.st_mode
        if self._look.mode is None:
            return stat.S_IMODE(mode)
        return self._look.mode.of(mode, is_directory=stat.S_ISDIR(mode))


def clear(fd: int, name: str) -> None:
    """Make room for a file. ``Invalid`` where a directory is in the way."""
    try:
        os.unlink(name, dir_fd=fd)
    except FileNotFoundError:
        return
    except IsADirectoryError:
        raise Invalid(f"file {name!r} cannot replace a directory of the same name") from None


def _replacing(fd: int, name: str, make: Callable[[], T]) -> T:
    """Make something in a directory; what is in the way goes first."""
    try:
        return make()
    except FileExistsError:
        clear(fd, name)
        return make()


def _copy(source: int, target: int, size_bytes: int) -> None:
    if 0 < size_bytes < SMALL_BYTES:
        data = os.read(source, size_bytes)
        if os.write(target, data) == size_bytes:
            return
        os.lseek(source, 0, os.SEEK_SET)
        os.lseek(target, 0, os.SEEK_SET)
    files.copy_range(source, target, size_bytes)


def _refuse_changed(source: int, path: str, then: Status) -> None:
    # what is recorded under a content's key has to be that content, also when somebody saves a file just now
    now = os.fstat(source)
    if (now.st_mtime_ns, now.st_ctime_ns, now.st_size) != (then.st_mtime_ns, then.st_ctime_ns, then.st_size):
        raise Conflict(f"{path!r} changed while it was copied", "build again")
