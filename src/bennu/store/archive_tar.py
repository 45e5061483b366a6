"""Tar files that carry images: an index over one that is read, headers for one that is written.

An archive from elsewhere is only ever looked into, never unpacked: names are keys of a dictionary and reach no file
system. What cannot be sought in (a pipe, a compressed file) is first spooled, decompressed, into an unlinked file under
the store's temporary directory. Limits stand on everything that is held in memory: members, long names, documents.
Source of the format: pax(1) of POSIX.1-2017, "ustar Interchange Format" and "pax Header Block"; GNU tar's manual for
long names and binary numbers. Layers' own tars are no business of this module; see ``differ``.
"""

from __future__ import annotations

import io
import os
import posixpath
import shutil
import stat
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

import msgspec

from bennu.errors import Corrupt, Invalid
from bennu.store.compression import MAGIC_BYTES, decompressed, sniff

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BLOCK: Final = 512
MAX_MEMBERS: Final = 100_000
MAX_EXTENSION_BYTES: Final = 1 << 20
_MAX_LINKS: Final = 8
_REGULAR: Final = (b"0", b"\0", b"7")
_LINKS: Final = (b"1", b"2")


class Member(msgspec.Struct, frozen=True):
    """A file of an archive: where its bytes are, or the name that it is a link to."""

    offset: int
    size_bytes: int
    link: str | None = None


class Archive:
    """An open archive. ``what`` is what errors call it."""

    def __init__(self, fd: int, what: str) -> None:
        self._fd = fd
        self.what = what
        self._members = _index(fd, what)

    def find(self, name: str) -> Member | None:
        """The file of this name, through links inside the archive; None if there is none."""
        for _ in range(_MAX_LINKS):
            member = self._members.get(name)
            if member is None or member.link is None:
                return member
            name = member.link
        raise Invalid(f"{self.what}: {name!r} is a link to itself")

    def member(self, name: str) -> Member:
        """As ``find``; ``Invalid`` if it is missing."""
        found = self.find(name)
        if found is None:
            raise Invalid(f"{self.what} lacks {name!r}, which it refers to")
        return found

    def open(self, member: Member) -> IO[bytes]:
        """A file's bytes. Several can be read at once."""
        return io.BufferedReader(_Slice(self._fd, member), 1 << 18)

    def read(self, name: str, limit_bytes: int) -> bytes:
        """A small file whole; ``Invalid`` if it is missing or larger than the limit."""
        member = self.member(name)
        if member.size_bytes > limit_bytes:
            raise Invalid(f"{self.what}: {name!r} is larger than {limit_bytes >> 20} MiB")
        with self.open(member) as stream:
            return stream.read()


@contextmanager
def opened(source: Path | IO[bytes], temporary: Path) -> Iterator[Archive]:
    """The archive in a file or a stream, compressed or not. ``Invalid`` if it is none, ``Corrupt`` if it is damaged."""
    what = f"archive {str(source)!r}" if isinstance(source, Path) else "the archive on standard input"
    with ExitStack() as stack:
        stream = stack.enter_context(source.open("rb")) if isinstance(source, Path) else source
        if isinstance(source, Path) and _can_be_sought(stream):
            yield Archive(stream.fileno(), what)
            return
        temporary.mkdir(parents=True, exist_ok=True)
        spool = stack.enter_context(tempfile.TemporaryFile(dir=temporary))
        with decompressed(stream, what) as plain:
            shutil.copyfileobj(plain, spool, 1 << 20)
        spool.flush()
        yield Archive(spool.fileno(), what)


def _can_be_sought(stream: IO[bytes]) -> bool:
    fd = stream.fileno()
    return stat.S_ISREG(os.fstat(fd).st_mode) and sniff(os.pread(fd, MAGIC_BYTES, 0)) == "none"


def header(name: str, size_bytes: int, *, directory: bool = False) -> bytes:
    """The header of a file (or directory) with fixed owner, mode and time: the same archive for the same content."""
    info = tarfile.TarInfo(name)
    info.size = size_bytes
    info.mode = 0o755 if directory else 0o644
    info.type = tarfile.DIRTYPE if directory else tarfile.REGTYPE
    return info.tobuf(tarfile.PAX_FORMAT)


def padding(size_bytes: int) -> bytes:
    """What fills the last block of a file."""
    return b"\0" * (-size_bytes % BLOCK)


END: Final = b"\0" * (2 * BLOCK)


class _Slice(io.RawIOBase):
    def __init__(self, fd: int, member: Member) -> None:
        super().__init__()
        self._fd = fd
        self._position = member.offset
        self._end = member.offset + member.size_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")[: self._end - self._position]
        count = os.preadv(self._fd, [view], self._position) if len(view) else 0
        self._position += count
        return count


def _index(fd: int, what: str) -> dict[str, Member]:
    """The regular files and links of an archive, by their normal names; the last of several of one name counts."""
    total = os.fstat(fd).st_size
    members: dict[str, Member] = {}
    extended: dict[str, str] = {}
    offset = 0
    count = 0
    while offset < total:
        block = os.pread(fd, BLOCK, offset)
        if block == b"\0" * BLOCK:
            break
        if len(block) < BLOCK:
            raise Corrupt(f"{what} is cut off in the middle")
        kind, size = _kind_and_size(block, what)
        size = int(extended.get("size", size)) if extended.get("size", "0").isdigit() else size
        offset += BLOCK
        if offset + size > total:
            raise Corrupt(f"{what} is cut off in the middle")
        count += 1
        if count > MAX_MEMBERS:
            raise Invalid(f"{what} has more than {MAX_MEMBERS} members", "it is no archive of images")
        if kind in b"xLKg":
            extended |= {} if kind == b"g" else _extension(fd, offset, size, kind, what)
        else:
            if kind in _REGULAR or kind in _LINKS:
                name, member = _named(block, Member(offset, size), extended)
                link = None if member.link is None else _normal(member.link, what)
                members[_normal(name, what)] = Member(member.offset, member.size_bytes, link)
            extended = {}
        offset += size + -size % BLOCK
    if not count:
        raise Invalid(f"{what} is not a tar archive" if total else f"{what} is empty")
    return members


def _named(block: bytes, member: Member, extended: dict[str, str]) -> tuple[str, Member]:
    """A header's name, and the member with the name that it links to, both as they stand in the archive."""
    prefix = _text(block[345:500]) if block[257:263] == b"ustar\0" else ""
    name = extended.get("path") or (f"{prefix}/" if prefix else "") + _text(block[:100])
    if block[156:157] in _REGULAR:
        return name, member
    target = extended.get("linkpath") or _text(block[157:257])
    if block[156:157] == b"2":  # symbolic links are relative to where they stand
        target = posixpath.join(posixpath.dirname(name), target)
    return name, Member(0, 0, target)


def _kind_and_size(block: bytes, what: str) -> tuple[bytes, int]:
    try:
        expected = int(block[148:156].strip(b"\0 ") or b"-1", 8)
        field = block[124:136]
        size = int.from_bytes(field[1:]) if field[0] & 0x80 else int(field.strip(b"\0 ") or b"0", 8)
    except ValueError as error:
        raise Invalid(f"{what} is not a tar archive, or damaged") from error
    if sum(block) - sum(block[148:156]) + 8 * 0x20 != expected or size < 0:
        raise Invalid(f"{what} is not a tar archive, or damaged")
    return block[156:157], size


def _extension(fd: int, offset: int, size: int, kind: bytes, what: str) -> dict[str, str]:
    if size > MAX_EXTENSION_BYTES:
        raise Invalid(f"{what} has an extended header of {size} bytes")
    data = os.pread(fd, size, offset)
    if kind in b"LK":
        return {"path" if kind == b"L" else "linkpath": _text(data)}
    records: dict[str, str] = {}
    while data:
        length_text, _, rest = data.partition(b" ")
        length = int(length_text) if length_text.isdigit() else 0
        if not len(length_text) + 2 <= length <= len(data):
            raise Invalid(f"{what} has a malformed extended header")
        key, _, value = rest[: length - len(length_text) - 2].partition(b"=")
        records[key.decode(errors="replace")] = value.decode(errors="surrogateescape")
        data = data[length:]
    return records


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode(errors="surrogateescape")


def _normal(name: str, what: str) -> str:
    normal = posixpath.normpath(name.lstrip("/") or ".")
    if normal == ".." or normal.startswith("../"):
        raise Invalid(f"{what} has the path {name!r}, which leads out of it")
    return normal
