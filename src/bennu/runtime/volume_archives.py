"""Volumes as archives: a tar in pax form, compressed by zstd with a checksum over all of it, written and read as a
stream.

Kept are owners, modes, times to the nanosecond, every attribute and ACL, hard links, devices, and holes (as GNU tar's
sparse files of version 1.0, which it reads). Sockets are nobody's data and left out. An archive is unpacked beside the
volume, read to its very end, and only then takes the place of what was there, at one stroke: one that is cut off or
damaged has touched nothing. Archives of other tools are taken as well, however they are compressed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO, Final, NamedTuple, cast

from bennu.errors import Conflict, Corrupt, Failed, Unsupported
from bennu.host import btrfs, syscalls
from bennu.host.files import directory, sync_file_system
from bennu.host.tree_copy import UNPORTABLE, data_extents
from bennu.runtime.volume_restores import exchange
from bennu.runtime.volume_snapshots import ID_BYTES, REPLACED, VolumeSnapshots, remove_copy
from bennu.runtime.volumes import Volume
from bennu.store.compression import decompressed
from bennu.store.tar import (
    BLOCK_DEVICE,
    CHARACTER,
    DIRECTORY,
    END,
    FIFO,
    HARD_LINK,
    REGULAR,
    SYMLINK,
    Member,
    encode,
    padding,
)
from bennu.store.tar_reader import TarReader
from bennu.store.tar_sparse import MAX_PLACES, sparse_head
from bennu.store.tree_writer import TreeWriter

LEVEL: Final = 3
BLOCK_BYTES: Final = 1 << 20
_RULES: Final = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS
_OPEN: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_KINDS: Final = {stat.S_IFLNK: SYMLINK, stat.S_IFCHR: CHARACTER, stat.S_IFBLK: BLOCK_DEVICE, stat.S_IFIFO: FIFO}


class BackedUp(NamedTuple):
    """What went into an archive: entries, bytes of data, and the files that changed while they were read."""

    entries: int
    size_bytes: int
    changed: tuple[str, ...]


def back_up(source: Path, sink: IO[bytes]) -> BackedUp:
    """Write all that a directory holds to ``sink`` as an archive."""
    from backports import zstd

    options: dict[int, int] = {
        zstd.CompressionParameter.compression_level: LEVEL,
        zstd.CompressionParameter.checksum_flag: 1,
        zstd.CompressionParameter.nb_workers: min(4, os.cpu_count() or 1),
    }
    with directory(source) as root, zstd.ZstdFile(sink, "wb", options=options) as packed:
        writer = _Writer(root, cast("IO[bytes]", packed))
        writer.run()
        return BackedUp(writer.entries, writer.size_bytes, tuple(writer.changed))


class _Writer:
    """One walk."""

    def __init__(self, root: int, sink: IO[bytes]) -> None:
        self._root = root
        self._sink = sink
        self._links: dict[tuple[int, int], bytes] = {}
        self._buffer = bytearray()
        self.entries = 0
        self.size_bytes = 0
        self.changed: list[str] = []

    def run(self) -> None:
        todo = [b""]
        while todo:
            path = todo.pop()
            with suppress(FileNotFoundError):  # a live directory may go while its parent is read
                todo += reversed(self._directory(path))
        self._write(END)
        self._sink.write(self._buffer)

    def _directory(self, path: bytes) -> list[bytes]:
        fd = syscalls.openat2(self._root, path or b".", _OPEN, 0, _RULES)
        try:
            status = os.fstat(fd)
            self._head(_member(path or b".", DIRECTORY, status, _attributes(fd)), status)
            below = []
            for name in sorted(map(os.fsencode, os.listdir(fd))):
                with suppress(FileNotFoundError):
                    where = path + b"/" + name if path else name
                    if self._entry(fd, name, where):
                        below.append(where)
            return below
        finally:
            os.close(fd)

    def _entry(self, fd: int, name: bytes, where: bytes) -> bool:
        """Write one entry, or say that it is a directory to go down into."""
        status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        kind = stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFDIR:
            return True
        if kind == stat.S_IFSOCK:
            return False
        if status.st_nlink > 1:
            first = self._links.setdefault((status.st_dev, status.st_ino), where)
            if first != where:
                member = _member(where, HARD_LINK, status, None)
                member.link = first
                self._head(member, status)
                return False
        if kind == stat.S_IFREG:
            self._file(fd, name, where)
            return False
        place = b"/proc/self/fd/%d/%b" % (fd, name)
        member = _member(where, _KINDS[kind], status, _attributes(place))
        if kind == stat.S_IFLNK:
            member.link = os.readlink(name, dir_fd=fd)
        elif kind != stat.S_IFIFO:
            member.device = (os.major(status.st_rdev), os.minor(status.st_rdev))
        self._head(member, status)
        return False

    def _file(self, fd: int, name: bytes, where: bytes) -> None:
        read = os.open(name, _READ, dir_fd=fd)
        try:
            status = os.fstat(read)
            member = _member(where, REGULAR, status, _attributes(read))
            size = status.st_size
            extents = data_extents(read, status) if size else []
            if extents != [(0, size)] and size and len(extents) < MAX_PLACES:
                member.name, text, extra = sparse_head(where, size, extents)
                member.size_bytes = len(text) + sum(length for _, length in extents)
                self._head(member, status, extra)
                self._write(text)
            else:
                extents = [(0, size)] if size else []
                member.size_bytes = size
                self._head(member, status)
            for offset, length in extents:
                self._data(read, offset, length, where)
            self._write(padding(member.size_bytes))
        finally:
            os.close(read)

    def _data(self, read: int, offset: int, length: int, where: bytes) -> None:
        at, end = offset, offset + length
        while at < end:
            data = os.pread(read, min(end - at, BLOCK_BYTES), at)
            if not data:  # the file has become shorter: what its header says has to follow nevertheless
                self.changed.append(os.fsdecode(where))
                data = bytes(min(end - at, BLOCK_BYTES))
            self._write(data)
            at += len(data)
        self.size_bytes += length

    def _head(self, member: Member, status: os.stat_result, extra: dict[bytes, bytes] | None = None) -> None:
        records = dict(extra or {})
        nanoseconds = status.st_mtime_ns % 1_000_000_000
        if nanoseconds and member.mtime >= 0:
            records[b"mtime"] = b"%d.%09d" % (member.mtime, nanoseconds)
        self._write(encode(member, records or None))
        self.entries += 1

    def _write(self, data: bytes | bytearray) -> None:
        self._buffer += data
        if len(self._buffer) >= BLOCK_BYTES:
            self._sink.write(self._buffer)
            self._buffer = bytearray()


def _member(name: bytes, kind: bytes, status: os.stat_result, xattrs: dict[bytes, bytes] | None) -> Member:
    mode, mtime = stat.S_IMODE(status.st_mode), status.st_mtime_ns // 1_000_000_000
    return Member(name, kind, mode, status.st_uid, status.st_gid, 0, mtime, xattrs=xattrs)


def _attributes(target: int | bytes) -> dict[bytes, bytes] | None:
    follow = isinstance(target, int)
    names = [name for name in os.listxattr(target, follow_symlinks=follow) if name not in UNPORTABLE]
    return {os.fsencode(name): os.getxattr(target, name, follow_symlinks=follow) for name in names} or None


def restore(snapshots: VolumeSnapshots, volume: Volume, stream: IO[bytes], what: str, users: Iterable[str] = ()) -> int:
    """Put what an archive holds in the place of what a volume holds; how many entries it had.

    ``users``: who has the volume mounted and runs; what was there stays for them until they have ended (``gc``).
    ``Corrupt`` names ``what`` where it is damaged or cut off: then nothing has changed.
    """
    if volume.options:
        raise Unsupported(
            f"volume {volume.name!r} is on {volume.options.get('device')!r}, which nothing can take the place of",
            "mount it and unpack the archive there: tar --zstd -xpf",
        )
    with snapshots.locked(volume.name) as place:
        fresh = place / f"{os.urandom(ID_BYTES).hex()}.part"
        if not btrfs.make_subvolume(fresh):
            fresh.mkdir(mode=0o755)
        try:
            count = _unpack(stream, fresh, what)
            sync_file_system(fresh)
            exchange(volume.path, fresh)
        except BaseException:
            remove_copy(fresh)
            raise
        if any(users):
            os.rename(fresh, fresh.with_suffix(REPLACED))
        else:
            remove_copy(fresh)
    return count


def _unpack(stream: IO[bytes], target: Path, what: str) -> int:
    count = 0
    try:
        with directory(target) as root, decompressed(stream, what) as plain, TarReader(plain) as reader:
            with TreeWriter(root, whiteouts=False, exact=True) as writer:
                for member in reader:
                    writer.write(member, reader)
                    count += 1
            is_whole = reader.is_ended
            reader.end()
    except (Corrupt, Failed) as error:
        error.message = f"{what} cannot be restored: {error.message.replace('layer', 'archive', 1)}"
        error.hint = error.hint or "nothing has been changed"
        raise
    if not is_whole:
        raise Corrupt(f"{what} cannot be restored: it has no end, so that some of it is missing", "nothing has changed")
    return count


def refuse_used(volume: Volume, users: Iterable[str]) -> None:
    """``Conflict`` for a volume that somebody who runs has mounted."""
    names = ", ".join(users)
    if names:
        raise Conflict(
            f"volume {volume.name!r} is mounted by {names}",
            f"stop it first, or --force: then it goes on with the old data until it is started again ({names})",
        )
