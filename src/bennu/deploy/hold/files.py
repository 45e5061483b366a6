"""What a held replica has changed of its image's files, read from its upper directory while it goes on writing.

overlayfs's forms are translated here (whiteouts, opaque directories); places that a runtime made for its mounts are
left out, as nobody changed them. Nothing in the directory is trusted: every path is opened beneath its root without
following a link, so that a process inside cannot lead us out. What vanishes while it is looked at was never there.
``store.tree`` does the same for snapshots, which hold still.
"""

from __future__ import annotations

import errno
import math
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Final, Literal, NamedTuple

from bennu.engine.base import HeldFiles
from bennu.errors import Unsupported
from bennu.host import syscalls
from bennu.host.files import directory
from bennu.host.mounts import opened
from bennu.store.tree import OPAQUE_XATTR, is_portable

Verdict = Literal["added", "changed", "removed", "replaced"]
"""``replaced``: another kind of thing, or a directory begun anew, stands where the image has something."""

BLOCK_BYTES: Final = 1 << 20
DEEPEST: Final = 200
_BENEATH: Final = syscalls.RESOLVE_NO_SYMLINKS | syscalls.RESOLVE_BENEATH
_GONE: Final = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE}


class Change(NamedTuple):
    """One path, without its first slash. ``status`` is None where it was removed."""

    path: str
    verdict: Verdict
    status: os.stat_result | None

    @property
    def signature(self) -> str:
        """Another one whenever it may have changed again."""
        if self.status is None:
            return self.verdict
        one = self.status
        return f"{self.verdict} {one.st_ino} {one.st_mode:o} {one.st_uid}:{one.st_gid} {one.st_size} {one.st_ctime_ns}"

    @property
    def kind(self) -> int:
        """``S_IFMT`` of what is there; 0 where it was removed."""
        return 0 if self.status is None else stat.S_IFMT(self.status.st_mode)


class Held:
    """A look at the files of a held replica: ``upper`` over ``lower``, both open directories."""

    def __init__(self, upper: int, lower: int, covered: frozenset[str], most_read_bytes: float) -> None:
        self.upper = upper
        self.lower = lower
        self._most_read_bytes = most_read_bytes
        self._covered = {path.strip("/") for path in covered}

    def changes(self) -> Iterator[Change]:
        """Every change, directories before what is in them. What only was opened for writing is none."""
        yield from self._below("", hides=False)

    def _below(self, path: str, *, hides: bool) -> Iterator[Change]:
        """``hides``: nothing of the image is seen here, so all that there is was added."""
        if path.count("/") >= DEEPEST:
            raise Unsupported(f"directories in {path[:60]!r}... are nested more than {DEEPEST} deep")
        try:
            fd = syscalls.openat2(self.upper, path or ".", os.O_RDONLY | os.O_DIRECTORY, 0, _BENEATH)
        except OSError as error:
            if error.errno in _GONE:
                return
            raise
        try:
            names = sorted(os.listdir(fd))
        finally:
            os.close(fd)
        for name in names:
            yield from self._one(f"{path}/{name}" if path else name, hides=hides)

    def _one(self, path: str, *, hides: bool) -> Iterator[Change]:
        with suppress(FileNotFoundError):
            status = self.status(self.upper, path)
            if status is None:
                return
            below = None if hides else self.status(self.lower, path)
            if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
                if below is not None:
                    yield Change(path, "removed", None)
            elif stat.S_ISDIR(status.st_mode):
                yield from self._directory(path, status, below)
            elif not self._is_stub(path, status, below) and not self._is_same(path, status, below):
                yield Change(path, _verdict(status, below), status)

    def _directory(self, path: str, status: os.stat_result, below: os.stat_result | None) -> Iterator[Change]:
        merges = below is not None and stat.S_ISDIR(below.st_mode) and not self._is_opaque(path)
        inside = list(self._below(path, hides=not merges))
        if merges:
            if below is not None and not self._looks_same(path, status, below):
                yield Change(path, "changed", status)
        elif below is not None:
            yield Change(path, "replaced", status)
        elif inside or not self._leads_to_mount(path):
            yield Change(path, "added", status)
        yield from inside

    def _leads_to_mount(self, path: str) -> bool:
        return any(one == path or one.startswith(f"{path}/") for one in self._covered)

    def _is_stub(self, path: str, status: os.stat_result, below: os.stat_result | None) -> bool:
        return path in self._covered and below is None and stat.S_ISREG(status.st_mode) and status.st_size == 0

    def _is_opaque(self, path: str) -> bool:
        with self._opened(self.upper, path, os.O_RDONLY | os.O_DIRECTORY) as fd, suppress(OSError):
            return fd is not None and os.getxattr(fd, OPAQUE_XATTR) == b"y"
        return False

    def _looks_same(self, path: str, status: os.stat_result, below: os.stat_result) -> bool:
        """Mode, owner and attributes are what the image has."""
        if (status.st_mode, status.st_uid, status.st_gid) != (below.st_mode, below.st_uid, below.st_gid):
            return False
        return self.xattrs(self.upper, path) == self.xattrs(self.lower, path)

    def _is_same(self, path: str, status: os.stat_result, below: os.stat_result | None) -> bool:
        """Nothing about it is other than the image has it, but its times."""
        if below is None or stat.S_IFMT(below.st_mode) != stat.S_IFMT(status.st_mode):
            return False
        if status.st_nlink != below.st_nlink or not self._looks_same(path, status, below):
            return False
        if stat.S_ISLNK(status.st_mode):
            return self.link(self.upper, path) == self.link(self.lower, path)
        if stat.S_ISREG(status.st_mode):
            readable = status.st_size <= self._most_read_bytes
            return status.st_size == below.st_size and readable and self._same_content(path)
        return status.st_rdev == below.st_rdev

    def _same_content(self, path: str) -> bool:
        with self.content(self.upper, path) as own, self.content(self.lower, path) as other:
            if own is None or other is None:
                return False
            while True:
                block = os.read(own, BLOCK_BYTES)
                if block != os.read(other, BLOCK_BYTES):
                    return False
                if not block:
                    return True

    # parts of either tree

    def status(self, root: int, path: str) -> os.stat_result | None:
        """What is at a path, no links followed; None for nothing."""
        with self._opened(root, path, os.O_PATH | os.O_NOFOLLOW) as fd:
            return None if fd is None else os.fstat(fd)

    def xattrs(self, root: int, path: str) -> dict[bytes, bytes]:
        """The extended attributes that belong to an image."""
        with self._opened(root, path, os.O_PATH | os.O_NOFOLLOW) as fd:
            if fd is None:
                return {}
            place = f"/proc/self/fd/{fd}"
            # of a link itself nothing but the kernel's own can be, and through its descriptor it cannot be asked
            if stat.S_ISLNK(os.fstat(fd).st_mode):
                return {}
            names = [name for name in map(os.fsencode, os.listxattr(place)) if is_portable(name)]
            return {name: os.getxattr(place, name) for name in names}

    def link(self, root: int, path: str) -> str | None:
        """Where a symbolic link leads."""
        with self._opened(root, path, os.O_PATH | os.O_NOFOLLOW) as fd:
            return None if fd is None else os.readlink("", dir_fd=fd)

    @contextmanager
    def content(self, root: int, path: str) -> Iterator[int | None]:
        """A regular file, open for reading; None where there is none."""
        with self._opened(root, path, os.O_PATH | os.O_NOFOLLOW) as place:
            # a device must not even be opened, so it is asked first what it is
            if place is None or not stat.S_ISREG(os.fstat(place).st_mode):
                yield None
                return
            fd = os.open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_CLOEXEC)
            try:
                yield fd
            finally:
                os.close(fd)

    def read(self, root: int, path: str) -> bytes | None:
        """A regular file whole; None where there is none."""
        with self.content(root, path) as fd:
            if fd is None:
                return None
            with open(fd, "rb", closefd=False) as stream:
                return stream.read()

    def merged(self, path: str) -> bytes | None:
        """A regular file as processes inside see it."""
        own = self.status(self.upper, path)
        if own is not None:
            return self.read(self.upper, path)
        parent = path.rpartition("/")[0]
        while parent:  # a directory that was removed, replaced or begun anew hides what the image has
            above = self.status(self.upper, parent)
            if above is not None and (not stat.S_ISDIR(above.st_mode) or self._is_opaque(parent)):
                return None
            parent = parent.rpartition("/")[0]
        return self.read(self.lower, path)

    @staticmethod
    @contextmanager
    def _opened(root: int, path: str, flags: int) -> Iterator[int | None]:
        fd = None
        try:
            fd = syscalls.openat2(root, path, flags, 0, _BENEATH)
        except OSError as error:
            if error.errno not in _GONE | {errno.ENXIO, errno.EACCES, errno.ENODEV}:
                raise
        try:
            yield fd
        finally:
            if fd is not None:
                os.close(fd)


@contextmanager
def look(files: HeldFiles, *, most_read_bytes: float = math.inf) -> Iterator[Held]:
    """For the block, a held replica's files. ``Failed`` where the image cannot be seen.

    Files up to ``most_read_bytes`` are compared with the image's; longer ones count as changed without being read.
    """
    with ExitStack() as stack:
        upper = stack.enter_context(directory(files.upper))
        lower = stack.enter_context(opened(files.lower))
        yield Held(upper, lower, files.covered, most_read_bytes)


def _verdict(status: os.stat_result, below: os.stat_result | None) -> Verdict:
    if below is None:
        return "added"
    return "changed" if stat.S_IFMT(below.st_mode) == stat.S_IFMT(status.st_mode) else "replaced"
