"""Copies of directory trees that keep everything: holes, owners, modes, attributes and ACLs, hard links, devices,
times to the nanosecond.

A tree whose files are being written can be copied in two runs: the first one takes its time, and the second, while
nobody writes, only what has changed. Theory of that: the source's file system is synced first, which makes the kernel
notice the next store into every mapped page, too. So whatever changes afterwards has a change time (ctime) at or after
that moment, and a file older than it that was copied need not be looked into again. Files are never hard-linked to
their source. Data move in the kernel, several files at once; where the file system can (FICLONE) they are shared until
somebody writes. Sources that are not trusted are walked beneath their root, no link followed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple, Self, TypeVar

from bennu.errors import BennuError, Failed, Unavailable, Unsupported
from bennu.host import syscalls
from bennu.host.files import remove_tree

FICLONE: Final = 0x40049409
PARALLEL: Final = 2
SMALL_BYTES: Final = 1 << 16
PIECE_BYTES: Final = 64 << 20
BATCH: Final = 128
WAITING: Final = 64
RACY_NS: Final = 100_000_000
"""The kernel's clock for change times lags behind: by a tick, or more where time was just set."""

_RULES: Final = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
UNPORTABLE: Final = ("security.selinux", "security.ima", "security.evm", "trusted.bennu.staged")
_NO_CLONE: Final = frozenset({errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ETXTBSY, errno.ENOSYS})


class Copied(NamedTuple):
    """What one run did: entries that were made, and the bytes of data that were copied or shared."""

    entries: int
    size_bytes: int


class _Directory(NamedTuple):
    """A directory that is looked at: its descriptors, its path, the paths below it, the files that are to be copied."""

    source: int
    target: int
    path: bytes
    below: list[bytes]
    files: list[bytes]


class _Batch(NamedTuple):
    """Files of one directory."""

    path: bytes
    names: list[bytes]


T = TypeVar("T")
Signature = tuple[int, int, int]
Stopped = Callable[[], bool]


class TreeCopy:
    """One copy of ``source`` at ``target``, a directory that is there and empty, on the same file system or not.

    ``share`` clones files instead of copying their data; ``Unsupported`` where that cannot be done.
    ``stopped`` is asked now and then: True ends the run with ``Failed``.
    """

    def __init__(self, source: Path, target: Path, *, share: bool = False, stopped: Stopped = lambda: False) -> None:
        self._source = source
        self._target = target
        self._share = share
        self._stopped = stopped
        self._seen: dict[bytes, Signature] = {}
        self._seen_now: dict[bytes, Signature] = {}
        self._since_ns = 0
        self._links: dict[tuple[int, int], bytes] = {}
        self._late: list[tuple[bytes, bytes]] = []
        self._lock = threading.Lock()
        self._entries = 0
        self._size_bytes = 0

    def run(self) -> Copied:
        """Make the copy equal to the source; called again, only what has changed since is made anew.

        ``Unavailable`` where the disk is full, ``Failed`` for what cannot be read or written.
        """
        self._entries = self._size_bytes = 0
        self._links, self._late = {}, []
        began = time.time_ns() - RACY_NS
        source = os.open(self._source, _DIRECTORY & ~os.O_NOFOLLOW)
        target = os.open(self._target, _DIRECTORY & ~os.O_NOFOLLOW)
        try:
            if not self._seen and not self._share:
                syscalls.syncfs(source)
            self._walk(source, target)
        except OSError as error:
            raise _translated(error, self._source) from error
        finally:
            os.close(source)
            os.close(target)
        self._since_ns = began
        return Copied(self._entries, self._size_bytes)

    def _walk(self, source: int, target: int) -> None:
        directories: list[bytes] = []
        before, self._seen_now = self._seen, {}
        with _Pool(self._stopped) as pool:
            todo = [b""]
            while todo:
                path = todo.pop()
                directories.append(path)
                todo += self._directory(source, target, path, before, pool)
        for path, name in self._late:  # links to files that another thread may have been about to make
            self._link(target, path, name)
        for path in reversed(directories):
            with suppress(FileNotFoundError):
                self._dress_directory(source, target, path)
        self._seen = self._seen_now

    def _directory(
        self, source: int, target: int, path: bytes, before: dict[bytes, Signature], pool: _Pool
    ) -> list[bytes]:
        """Begin with one directory: what is in it, and the paths of those below."""
        try:
            with _opened(source, path) as fd, _opened(target, path) as into:
                names = list(map(os.fsencode, os.listdir(fd)))
                self._take_away(into, set(names))
                here = _Directory(fd, into, path, [], [])
                for name in names:
                    with suppress(FileNotFoundError):
                        self._entry(here, name, before)
        except FileNotFoundError:  # gone while it was looked at
            return []
        for at in range(0, len(here.files), BATCH):
            pool.submit(self._files, source, target, _Batch(path, here.files[at : at + BATCH]), pool)
        return here.below

    def _entry(self, here: _Directory, name: bytes, before: dict[bytes, Signature]) -> None:
        fd, into, path = here.source, here.target, here.path
        status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        where = path + b"/" + name if path else name
        if stat.S_ISDIR(status.st_mode):
            if status.st_dev != os.fstat(fd).st_dev:
                raise Unsupported(f"something is mounted at {os.fsdecode(where)!r} of {str(self._source)!r}")
            self._make_directory(into, name)
            here.below.append(where)
            return
        signature = (status.st_ino, status.st_ctime_ns, status.st_size)
        self._seen_now[where] = signature
        is_same = before.get(where) == signature and status.st_ctime_ns < self._since_ns
        if status.st_nlink > 1:
            first = self._links.setdefault((status.st_dev, status.st_ino), where)
            if first != where:
                if not is_same:
                    self._late.append((first, where))
                return
        if is_same:
            return
        if before:
            _free(into, name)
        if stat.S_ISREG(status.st_mode):
            here.files.append(name)
        else:
            self._special(fd, into, name, status)

    def _take_away(self, into: int, names: set[bytes]) -> None:
        """What the copy has from an earlier run and the source no more."""
        if self._since_ns:
            for name in map(os.fsencode, os.listdir(into)):
                if name not in names:
                    remove_tree(Path(f"/proc/self/fd/{into}/{os.fsdecode(name)}"))

    @staticmethod
    def _make_directory(into: int, name: bytes) -> None:
        try:
            os.mkdir(name, 0o700, dir_fd=into)
        except FileExistsError:
            if not stat.S_ISDIR(os.stat(name, dir_fd=into, follow_symlinks=False).st_mode):
                os.unlink(name, dir_fd=into)
                os.mkdir(name, 0o700, dir_fd=into)

    def _special(self, fd: int, into: int, name: bytes, status: os.stat_result) -> None:
        if stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(name, dir_fd=fd), name, dir_fd=into)
        else:
            os.mknod(name, status.st_mode, status.st_rdev, dir_fd=into)
        os.chown(name, status.st_uid, status.st_gid, dir_fd=into, follow_symlinks=False)
        if not stat.S_ISLNK(status.st_mode):
            os.chmod(name, stat.S_IMODE(status.st_mode), dir_fd=into)
        _copy_attributes(b"/proc/self/fd/%d/%b" % (fd, name), b"/proc/self/fd/%d/%b" % (into, name))
        os.utime(name, ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=into, follow_symlinks=False)
        self._count(1, 0)

    def _files(self, source: int, target: int, batch: _Batch, pool: _Pool) -> None:
        with _opened(source, batch.path) as fd, _opened(target, batch.path) as into:
            size = 0
            for name in batch.names:
                with suppress(FileNotFoundError):  # gone since it was listed
                    size += self._file(fd, into, name, pool)
        self._count(len(batch.names), size)

    def _file(self, fd: int, into: int, name: bytes, pool: _Pool) -> int:
        read = os.open(name, _READ, dir_fd=fd)
        try:
            status = os.fstat(read)
            write = os.open(name, _CREATE, 0o600, dir_fd=into)
            try:
                size = self._data(read, write, status, pool)
                os.fchown(write, status.st_uid, status.st_gid)
                os.fchmod(write, stat.S_IMODE(status.st_mode))
                _copy_attributes(read, write)
                os.utime(write, ns=(status.st_atime_ns, status.st_mtime_ns))
            finally:
                os.close(write)
        finally:
            os.close(read)
        return size

    def _data(self, read: int, write: int, status: os.stat_result, pool: _Pool) -> int:
        size = status.st_size
        if not size:
            return 0
        if self._share:
            fcntl.ioctl(write, FICLONE, read)
            return size
        if size <= SMALL_BYTES and status.st_blocks * 512 >= size:
            data = os.read(read, size + 1)
            if len(data) <= size:
                os.write(write, data)
                return len(data)
            os.ftruncate(write, 0)
        copied = 0
        pieces: list[Future[int]] = []
        for offset, length in _extents(read, size, is_sparse=status.st_blocks * 512 < size):
            for at in range(offset, offset + length, PIECE_BYTES):
                count = min(PIECE_BYTES, offset + length - at)
                if count == PIECE_BYTES:
                    pieces.append(pool.aside(_copy_piece, read, write, at, count))
                else:
                    copied += _copy_piece(read, write, at, count)
        for piece in pieces:
            copied += piece.result()
        os.ftruncate(write, os.fstat(read).st_size)
        return copied

    def _link(self, target: int, first: bytes, where: bytes) -> None:
        parent, _, name = where.rpartition(b"/")
        other, _, source_name = first.rpartition(b"/")
        with suppress(FileNotFoundError), _opened(target, parent) as into, _opened(target, other) as there:
            _free(into, name)
            os.link(source_name, name, src_dir_fd=there, dst_dir_fd=into, follow_symlinks=False)
            self._count(1, 0)

    def _dress_directory(self, source: int, target: int, path: bytes) -> None:
        with _opened(source, path) as fd, _opened(target, path) as into:
            status = os.fstat(fd)
            os.fchown(into, status.st_uid, status.st_gid)
            os.fchmod(into, stat.S_IMODE(status.st_mode))
            _copy_attributes(fd, into)
            os.utime(into, ns=(status.st_atime_ns, status.st_mtime_ns))

    def _count(self, entries: int, size_bytes: int) -> None:
        with self._lock:
            self._entries += entries
            self._size_bytes += size_bytes


class _Pool:
    """Threads for files, and threads for pieces of large ones, so that neither waits for itself."""

    def __init__(self, stopped: Stopped) -> None:
        self._stopped = stopped
        self._files = ThreadPoolExecutor(PARALLEL, thread_name_prefix="bennu-copy")
        self._pieces = ThreadPoolExecutor(PARALLEL, thread_name_prefix="bennu-piece")
        self._waiting: deque[Future[None]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            while self._waiting and kind is None:
                self._waiting.popleft().result()
        finally:
            self._files.shutdown(cancel_futures=True)
            self._pieces.shutdown(cancel_futures=True)

    def submit(self, function: Callable[[int, int, _Batch, _Pool], None], *arguments: object) -> None:
        """Begin a batch of files; waits where many are under way."""
        self._waiting.append(self._files.submit(self._asked, function, *arguments))
        if len(self._waiting) > WAITING:
            self._waiting.popleft().result()

    def aside(self, function: Callable[[int, int, int, int], int], *arguments: int) -> Future[int]:
        """Begin a piece of a file."""
        return self._pieces.submit(self._asked, function, *arguments)

    def _asked(self, function: Callable[..., T], *arguments: object) -> T:
        if self._stopped():
            raise Failed("cancelled", status=137)
        return function(*arguments)


def can_share(directory: Path) -> bool:
    """Whether files in a directory can be cloned there. Tries it."""
    flags = os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC
    try:
        one, two = os.open(directory, flags, 0o600), -1
    except OSError:  # a file system without unnamed files shares none either
        return False
    try:
        two = os.open(directory, flags, 0o600)
        os.write(one, bytes(4096))
        fcntl.ioctl(two, FICLONE, one)
    except OSError as error:
        if error.errno not in _NO_CLONE:
            raise
        return False
    else:
        return True
    finally:
        os.close(one)
        if two >= 0:
            os.close(two)


def _copy_piece(read: int, write: int, offset: int, length: int) -> int:
    end = offset + length
    at = offset
    while at < end:
        try:
            count = os.copy_file_range(read, write, end - at, at, at)
        except OSError as error:
            if error.errno not in _NO_CLONE:
                raise
            data = os.pread(read, min(end - at, 1 << 20), at)
            count = os.pwrite(write, data, at)
        if not count:  # it has become shorter
            break
        at += count
    return at - offset


def _extents(fd: int, size: int, *, is_sparse: bool) -> Iterator[tuple[int, int]]:
    """Where a file has data: offsets and lengths."""
    if not is_sparse:
        yield 0, size
        return
    at = 0
    while at < size:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole is left
                return
            raise
        at = min(os.lseek(fd, start, os.SEEK_HOLE), size)
        if start < at:
            yield start, at - start


def data_extents(fd: int, status: os.stat_result) -> list[tuple[int, int]]:
    """Where an open file has data, as offsets and lengths; one extent for a file without holes."""
    return list(_extents(fd, status.st_size, is_sparse=status.st_blocks * 512 < status.st_size))


def _copy_attributes(source: int | bytes, target: int | bytes) -> None:
    follow = isinstance(source, int)
    for name in os.listxattr(source, follow_symlinks=follow):
        if name not in UNPORTABLE:
            os.setxattr(target, name, os.getxattr(source, name, follow_symlinks=follow), follow_symlinks=follow)


def _free(into: int, name: bytes) -> None:
    with suppress(FileNotFoundError):
        try:
            os.unlink(name, dir_fd=into)
        except IsADirectoryError:
            remove_tree(Path(f"/proc/self/fd/{into}/{os.fsdecode(name)}"))


@contextmanager
def _opened(root: int, path: bytes) -> Iterator[int]:
    fd = syscalls.openat2(root, path or b".", _DIRECTORY, 0, _RULES)
    try:
        yield fd
    finally:
        os.close(fd)


def _translated(error: OSError, source: Path) -> BennuError:
    what = f"copy of {str(source)!r}"
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return Unavailable(f"{what}: {error.strerror}", "make room: `bennu system df`, `bennu gc`")
    if error.errno == errno.ENAMETOOLONG:
        return Unsupported(f"{what}: it has paths of more than 4095 bytes")
    name = f" ({os.fsdecode(error.filename)!r})" if isinstance(error.filename, str | bytes) else ""
    return Failed(f"{what}: {error.strerror}{name}")
