"""Files: written whole or not at all, removed to the last one, opened inside a root and never outside it.

``write_atomic`` is temporary file, fsync, rename, fsync of the directory. ``open_in_root`` resolves a path as a
process chrooted there would (openat2 with RESOLVE_IN_ROOT), so that no symbolic link, ``..`` or race inside an
untrusted tree leads out of it; string work on such paths is forbidden everywhere else.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Final, NoReturn

from bennu.host import syscalls

MAX_LINKS: Final = 40
DEEPEST: Final = 64  # levels of directories that are held open at once
PLAIN_NAMES: Final = 8
_LOOK: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_WALK: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def write_atomic(path: Path, data: bytes, *, mode: int = 0o644, durable: bool = True) -> None:
    """Replace ``path`` by ``data``: readers see the old or the new content, after a crash too."""
    temporary = path.with_name(f".{path.name}.{os.urandom(6).hex()}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with open(fd, "wb") as file:
            os.fchmod(fd, mode)  # whatever the umask
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.rename(temporary, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    if durable:
        sync_directory(path.parent)


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes its name when the block ends well, in place of another; a pipe or device is written to
    directly.
    """
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        with path.open("wb") as sink:
            yield sink
        return
    temporary = path.with_name(f".{path.name}.{os.urandom(6).hex()}")
    try:
        with open(temporary, "xb") as sink:
            yield sink
        os.rename(temporary, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)


@contextmanager
def as_it_is(path: Path) -> Iterator[Path]:
    """A path where something that has to be opened and closed could stand."""
    yield path


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def temporary_directory(parent: Path, prefix: str) -> Iterator[Path]:
    """A fresh directory under ``parent``, which is made if it is missing; removed with all in it at the end."""
    parent.mkdir(parents=True, exist_ok=True)
    path = parent / f"{prefix}-{os.getpid()}-{os.urandom(6).hex()}"
    path.mkdir(mode=0o700)
    try:
        yield path
    finally:
        remove_tree(path)


def sync_file_system(path: Path) -> None:
    """Make everything that was written to the file system of ``path``, by whomever, durable."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        syscalls.syncfs(fd)
    finally:
        os.close(fd)


def remove_tree(path: Path) -> None:
    """Remove a file or a directory with all below it; not an error if it is not there, or if somebody else removes it
    at the same time. ``OSError`` with EBUSY where something is mounted below: what is mounted is not touched.
    """
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return
    with suppress(FileNotFoundError):
        if not stat.S_ISDIR(status.st_mode):
            os.unlink(path)
            return
        top = os.open(path, _WALK)
        try:
            while _remove_below(top, top, 0):
                pass
        finally:
            os.close(top)
        os.rmdir(path)


def _remove_below(fd: int, top: int, depth: int) -> bool:
    # a hostile image nests deeper than Python's stack and PATH_MAX: what is too deep is moved up and removed from there
    moved = False
    for name in _unlink_files(fd):
        with suppress(FileNotFoundError):
            if depth == DEEPEST:
                os.rename(name, os.urandom(12).hex(), src_dir_fd=fd, dst_dir_fd=top)
                moved = True
                continue
            child = _open_to_remove(fd, name)
            try:
                moved |= _remove_below(child, top, depth + 1)
            finally:
                os.close(child)
            os.rmdir(name, dir_fd=fd)
    return moved


def _unlink_files(fd: int) -> list[str]:
    directories = []
    with os.scandir(fd) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                directories.append(entry.name)
            else:
                with suppress(FileNotFoundError):
                    os.unlink(entry.name, dir_fd=fd)
    return directories


def _open_to_remove(fd: int, name: str) -> int:
    if os.geteuid() != 0:
        os.chmod(name, 0o700, dir_fd=fd)
    try:
        # NO_XDEV sees bind mounts of the same file system too, which st_dev does not
        return syscalls.openat2(fd, name, _WALK, 0, syscalls.RESOLVE_NO_XDEV)
    except OSError as error:
        if error.errno == errno.EXDEV:
            raise OSError(errno.EBUSY, "something is mounted there", name) from error
        raise


def disk_usage(directory: Path) -> int:
    """The bytes that the files below a directory take on the disk; hard links count once."""
    seen: set[tuple[int, int]] = set()
    total = 0
    pending = [os.fspath(directory)]
    while pending:
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(pending.pop()) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                elif status.st_nlink > 1:
                    if (status.st_dev, status.st_ino) in seen:
                        continue
                    seen.add((status.st_dev, status.st_ino))
                total += status.st_blocks * 512
    return total


def open_in_root(root: int, path: str | os.PathLike[str], flags: int, mode: int = 0) -> int:
    """Open ``path`` as if ``root`` (a directory's descriptor) were ``/``. ``OSError`` as open(2) gives it."""
    if flags == os.O_PATH and (opened := _opened_plainly(root, os.fspath(path))) is not None:
        return opened
    resolve = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS
    while True:
        try:
            return syscalls.openat2(root, path, flags, mode, resolve)
        except OSError as error:
            if error.errno != errno.EAGAIN:  # a rename raced with "..": openat2(2) asks for another try
                raise


def _opened_plainly(root: int, path: str) -> int | None:
    """What stands at a path without links in it, in which nothing can lead out; None for any other path.

    It says what openat2 says, without what has to be loaded for that.
    """
    names = _names(path)
    if not names or ".." in names or path.endswith(("/", "/.")) or len(names) > PLAIN_NAMES:
        return None
    with ExitStack() as stack:
        current = root
        try:
            for name in reversed(names):
                current = os.open(name, _LOOK, dir_fd=current)
                stack.callback(os.close, current)
                if stat.S_ISLNK(os.fstat(current).st_mode):
                    return None
        except OSError:
            return None
        return os.dup(current)


@contextmanager
def directory(path: str | os.PathLike[str], *, inside: int | None = None) -> Iterator[int]:
    """A directory's descriptor for the block; ``inside`` a root's descriptor, it resolves there."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    fd = os.open(path, flags) if inside is None else open_in_root(inside, path, flags)
    try:
        yield fd
    finally:
        os.close(fd)


def read_in_root(root: Path, path: str, *, limit_bytes: int = 1 << 20) -> bytes | None:
    """A small file of an untrusted tree, or None where it is missing or not a regular file."""
    with directory(root) as fd:
        try:
            file = open_in_root(fd, path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError:
            return None
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            return None
        with open(file, "rb") as stream:
            return stream.read(limit_bytes)


def make_directories_in_root(root: int, path: str, *, mode: int = 0o755, owner: tuple[int, int] | None = None) -> int:
    """The descriptor of a directory inside a root, made with its parents where missing. The caller closes it.

    What is made has ``mode``, whatever the umask, and belongs to ``owner`` (user, group), where one is given. Links on
    the way resolve inside the root, those to nothing too: what they lead to is made. ``NotADirectoryError`` where
    something else is in the way, ``OSError`` with ELOOP for links in a circle.
    """
    names = _names(path)
    links = 0
    with ExitStack() as stack:
        current = _owned(stack, os.dup(root))
        done = ""
        while names:
            name = names.pop()
            following = _directory_in_root(root, f"{done}/{name}") or _made(current, name, mode, owner)
            if isinstance(following, int):
                current, done = _owned(stack, following), f"{done}/{name}"
                continue
            links += 1  # a link to what is not there
            names += _names(following) if links <= MAX_LINKS else _too_many_links(path)
            if following.startswith("/"):
                current, done = _owned(stack, os.dup(root)), ""
        return os.dup(current)


def _names(path: str) -> list[str]:
    return [part for part in reversed(path.split("/")) if part and part != "."]


def _owned(stack: ExitStack, fd: int) -> int:
    """The descriptor, in the place of the one that the stack held before."""
    stack.close()
    stack.callback(os.close, fd)
    return fd


def _too_many_links(path: str) -> NoReturn:
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)


def _directory_in_root(root: int, path: str) -> int | None:
    try:
        return open_in_root(root, path, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return None


def _made(parent: int, name: str, mode: int, owner: tuple[int, int] | None) -> int | str:
    """A new directory's descriptor, or the target of the dangling link that has its name."""
    try:
        os.mkdir(name, 0o700, dir_fd=parent)
    except FileExistsError:
        with suppress(OSError):  # no link: somebody else has just made it
            return os.readlink(name, dir_fd=parent)
        return os.open(name, _WALK, dir_fd=parent)
    made = os.open(name, _WALK, dir_fd=parent)
    if owner is not None:
        os.fchown(made, *owner)
    os.fchmod(made, mode)
    return made


def copy_range(source: int, target: int, size_bytes: int) -> None:
    """Copy a file's bytes from descriptor to descriptor in the kernel; a reflink where the file system can."""
    remaining = size_bytes
    copy = os.copy_file_range
    while remaining > 0:
        try:
            count = copy(source, target, min(remaining, 1 << 30))
        except OSError as error:
            if error.errno not in {errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS}:
                raise
            count = os.sendfile(target, source, None, min(remaining, 1 << 30))
        if count == 0:
            return
        remaining -= count
