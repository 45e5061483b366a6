"""Archives as others write them, read as a stream: ustar, pax, GNU and old V7, one member after the other.

A second thread reads ahead and hashes, so that decompression and unpacking take one core each. What cannot be kept
faithfully is refused by name (sparse files, continuations, dumps); what is malformed is ``Corrupt``, never guessed at,
and no length in a header is believed before it was bounded. Sources: IEEE 1003.1 pax; GNU tar manual, "Basic Tar
Format". bennu reads archives with its own code for its speed: the standard library's takes six times as long a member.
"""

from __future__ import annotations

import hashlib
import os
import queue
import re
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from typing import IO, Final, Self

from bennu.digest import finish
from bennu.errors import Corrupt, Unsupported
from bennu.store import tar_sparse
from bennu.store.base import LayerInfo
from bennu.store.tar import BLOCK, DIRECTORY, HARD_LINK, REGULAR, XATTR, Member

CHUNK_BYTES: Final = 1 << 18  # stays in a core's cache
WAITING_CHUNKS: Final = 4
MAX_EXTENSION_BYTES: Final = 1 << 20
MAX_SIZE_BYTES: Final = 1 << 62
MAX_OWNER: Final = (1 << 32) - 2  # the last one means "leave it" to chown(2)
MAX_SECONDS: Final = 1 << 40

_ZEROS: Final = bytes(BLOCK)
_EMPTY: Final = b"12346"  # kinds that have no content, whatever their size field says
_KNOWN: Final = b"0123456"
_DECIMAL: Final = re.compile(rb"-?[0-9]+")
_NO_FORM: Final = {b"S": "a sparse file", b"M": "a file continued from another volume", b"D": "a dump of a directory"}


class TarReader:
    """An archive's members. Iterate; take each member's content before going on, or it is skipped.

    ``end`` reads to the end of the stream and gives its digest and size. Errors: ``Corrupt``, ``Unsupported``.
    """

    def __init__(self, stream: IO[bytes], algorithm: str = "sha256") -> None:
        self._source = _Ahead(stream, algorithm)
        self._chunk = b""
        self._at = 0
        self._left = 0
        self._padding = 0
        self._defaults: dict[bytes, bytes] = {}
        self._sparse: tuple[tar_sparse.Places, int] | None = None
        self.is_ended = False
        """The end of the archive was met, and not only that of the stream."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._source.close()

    def __iter__(self) -> Iterator[Member]:
        extended: dict[bytes, bytes] = {}
        while (block := self._header()) is not None:
            kind = block[156:157]
            if kind in {b"x", b"g", b"L", b"K"}:
                self._extension(block, kind, extended)
                continue
            fields = self._defaults | extended if self._defaults else extended
            member = _member(block, kind, fields)
            self._left = member.size_bytes
            self._padding = -member.size_bytes % BLOCK
            self._sparse = None
            if extended:
                if any(key.startswith(tar_sparse.PREFIX) for key in fields):
                    self._scatter(member, fields)
                extended = {}
            if member.kind in _KNOWN:
                yield member
            elif kind != b"V":  # a volume's label is nothing of its content
                what = _NO_FORM.get(kind, f"an entry of type {kind.decode('latin-1')!r}")
                raise Unsupported(f"layer entry {os.fsdecode(member.name)!r} is {what}, which bennu does not unpack")
            padding = self._padding
            self._skip(self._left)
            try:
                self._skip(padding)
            except _CutOff:  # what some tools leave out behind the last member
                return

    def _scatter(self, member: Member, fields: dict[bytes, bytes]) -> None:
        """Find out where the data of a sparse file belong."""
        size = tar_sparse.real_size(fields)
        try:
            found, used = tar_sparse.places(fields, size, member.size_bytes, self._take)
        except EOFError as error:
            raise _CutOff("layer is cut off in the middle") from error
        self._left -= used
        member.size_bytes = size
        self._sparse = (found, size)

    def copy(self, fd: int) -> None:
        """Write the content of the member at hand to a file, whose holes stay holes."""
        if self._sparse is None:
            self._copy(fd, self._left)
            return
        found, size = self._sparse
        for offset, length in found:
            os.lseek(fd, offset, os.SEEK_SET)
            self._copy(fd, length)
        os.ftruncate(fd, size)

    def _copy(self, fd: int, size: int) -> None:
        last = self._left - size
        while self._left > last:
            end = self._at + self._left - last
            if self._at == 0 and end >= len(self._chunk):
                data: bytes | memoryview = self._chunk
            else:
                data = memoryview(self._chunk)[self._at : end]
            self._at += len(data)
            self._left -= len(data)
            while data:
                data = data[os.write(fd, data) :]
            if self._left > last:
                self._more()

    def end(self) -> LayerInfo:
        """The archive's digest and size, after what follows the last member was read too."""
        self._chunk = b""
        return self._source.end()

    def _header(self) -> bytes | None:
        """The next header, or None at the end: two blocks of zeros, or one, or (as some write it) none at all."""
        while True:
            if self._at + BLOCK <= len(self._chunk):
                block = self._chunk[self._at : self._at + BLOCK]
                self._at += BLOCK
            else:
                try:
                    block = self._take(BLOCK)
                except EOFError:
                    return None
            self.is_ended = block == _ZEROS
            return None if self.is_ended else block

    def _extension(self, block: bytes, kind: bytes, extended: dict[bytes, bytes]) -> None:
        _check(block)
        size = _number(block[124:136])
        if size > MAX_EXTENSION_BYTES:
            raise Corrupt(f"layer has an extended header of {size} bytes")
        try:
            data = self._take(size)
            self._skip(-size % BLOCK)
        except EOFError as error:
            raise Corrupt("layer is cut off in the middle") from error
        if kind == b"L":
            extended[b"path"] = data.partition(b"\0")[0]
        elif kind == b"K":
            extended[b"linkpath"] = data.partition(b"\0")[0]
        else:
            (self._defaults if kind == b"g" else extended).update(_records(data))

    def _take(self, size: int) -> bytes:
        """Exactly so many bytes; ``EOFError`` if there are none, ``Corrupt`` if there are some."""
        parts: list[bytes] = []
        left = size
        while left:
            if self._at == len(self._chunk):
                try:
                    self._more()
                except Corrupt:
                    if left == size:
                        raise EOFError from None
                    raise
            part = self._chunk[self._at : self._at + left]
            self._at += len(part)
            left -= len(part)
            parts.append(part)
        return b"".join(parts)

    def _skip(self, size: int) -> None:
        while size > (here := len(self._chunk) - self._at):
            size -= here
            self._more()
        self._at += size
        self._left = self._padding = 0

    def _more(self) -> None:
        self._chunk = self._source.next()
        self._at = 0
        if not self._chunk:
            raise _CutOff("layer is cut off in the middle")


class _CutOff(Corrupt):
    """The stream ended where more was to come."""


class _Ahead:
    """A stream read and hashed by a thread, some chunks ahead."""

    def __init__(self, stream: IO[bytes], algorithm: str) -> None:
        self._stream = stream
        self._algorithm = algorithm
        self._hash = hashlib.new(algorithm)
        self._size_bytes = 0
        self._chunks: queue.Queue[bytes | BaseException] = queue.Queue(WAITING_CHUNKS)
        self._stopped = False
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="bennu-untar", daemon=True)
        self._thread.start()

    def next(self) -> bytes:
        """The next chunk; empty at the end."""
        if self._ended:
            return b""
        chunk = self._chunks.get()
        if isinstance(chunk, BaseException):
            self._ended = True
            raise chunk
        self._ended = not chunk
        return chunk

    def end(self) -> LayerInfo:
        while self.next():
            pass
        self._thread.join()
        return LayerInfo(finish(self._hash, self._algorithm), self._size_bytes)

    def close(self) -> None:
        self._stopped = True
        while self._thread.is_alive():  # it may wait for room in the queue
            with suppress(queue.Empty):
                self._chunks.get(timeout=0.01)
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stopped:
                chunk = self._stream.read(CHUNK_BYTES)
                self._hash.update(chunk)
                self._size_bytes += len(chunk)
                self._chunks.put(chunk)
                if not chunk:
                    return
        except BaseException as error:  # noqa: BLE001 - raised again in the reader's thread
            self._chunks.put(error)


def _check(block: bytes) -> None:
    wanted = _number(block[148:156])
    found = sum(block) - sum(block[148:156]) + 8 * 0x20
    if found == wanted:
        return
    if (
        found - 256 * sum(byte >> 7 for byte in block[:148] + block[156:]) != wanted
    ):  # some old tars summed signed bytes
        raise Corrupt("layer is not a tar archive, or damaged: a header's checksum is wrong")


@lru_cache(maxsize=4096)  # members share modes, owners and times
def _number(field: bytes) -> int:
    first = field[0]
    if first & 0x80:  # GNU: base 256, two's complement below the marking bit
        value = int.from_bytes(field, "big") & ((1 << (8 * len(field) - 1)) - 1)
        return value - (1 << (8 * len(field) - 1)) if first & 0x40 else value
    text = field.strip(b"\0 ")
    try:
        return int(text, 8) if text else 0
    except ValueError:
        head = text.partition(b"\0")[0].strip()
        if head and not head.strip(b"01234567"):
            return int(head, 8)
        raise Corrupt(f"layer has a malformed number in a header: {text!r}") from None


def _member(block: bytes, kind: bytes, extended: dict[bytes, bytes]) -> Member:
    _check(block)
    name = block[:100].partition(b"\0")[0]
    if block[345] and block[257:263] == b"ustar\0":
        name = block[345:500].partition(b"\0")[0] + b"/" + name
    if kind in b"\0" or kind == b"7":
        kind = REGULAR
    if kind == REGULAR and name.endswith(b"/") and b"path" not in extended:
        kind = DIRECTORY  # as V7 wrote them
    member = Member(
        name,
        kind,
        _number(block[100:108]) & 0o7777,
        _number(block[108:116]),
        _number(block[116:124]),
        _number(block[124:136]),
        _number(block[136:148]),
    )
    if kind in {b"1", b"2"}:
        member.link = block[157:257].partition(b"\0")[0]
    elif kind in {b"3", b"4"}:
        member.device = (_number(block[329:337]), _number(block[337:345]))
    if extended:
        _extend(member, extended)
    if kind in _EMPTY or (kind == DIRECTORY):
        member.size_bytes = 0
    _bound(member)
    return member


def _extend(member: Member, extended: dict[bytes, bytes]) -> None:
    member.name = extended.get(b"path", member.name)
    if member.kind in {HARD_LINK, b"2"}:
        member.link = extended.get(b"linkpath", member.link)
    member.size_bytes = _decimal(extended, b"size", member.size_bytes)
    member.uid = _decimal(extended, b"uid", member.uid)
    member.gid = _decimal(extended, b"gid", member.gid)
    member.mtime = _decimal(extended, b"mtime", member.mtime)
    fraction = extended.get(b"mtime", b"").partition(b".")[2]
    if fraction and member.mtime >= 0:
        member.nanoseconds = int(fraction[:9].ljust(9, b"0"))
    for key, value in extended.items():
        if key.startswith(XATTR):
            member.xattrs = member.xattrs or {}
            member.xattrs[key[len(XATTR) :]] = value
        elif key == tar_sparse.NAME:
            member.name = value


def _bound(member: Member) -> None:
    if not 0 <= member.size_bytes <= MAX_SIZE_BYTES:
        wrong = f"a size of {member.size_bytes} bytes"
    elif not (0 <= member.uid <= MAX_OWNER and 0 <= member.gid <= MAX_OWNER):
        wrong = f"the owner {member.uid}:{member.gid}"
    elif abs(member.mtime) > MAX_SECONDS:
        wrong = f"the time {member.mtime}"
    elif b"\0" in member.name or b"\0" in member.link:
        wrong = "a zero byte in its name or link"
    else:
        return
    raise Corrupt(f"layer entry {os.fsdecode(member.name)!r} has {wrong}")


def _decimal(extended: dict[bytes, bytes], key: bytes, default: int) -> int:
    text = extended.get(key)
    if not text:  # an empty value takes a default back (pax, "Extended Header")
        return default
    whole, _, fraction = text.partition(b".")
    if len(whole) > 20 or not _DECIMAL.fullmatch(whole) or (fraction and not fraction.isdigit()):
        raise Corrupt(f"layer has a malformed {key.decode()} in an extended header: {text[:40]!r}")
    down = whole.startswith(b"-") and fraction.strip(b"0") != b""
    return int(whole) - down


def _records(data: bytes) -> dict[bytes, bytes]:
    records: dict[bytes, bytes] = {}
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 12)
        digits = data[at:space] if space > 0 else b""
        end = at + int(digits) if digits.isdigit() else 0
        if not space < end <= len(data) or data[end - 1] != ord("\n"):
            raise Corrupt("layer has a malformed extended header")
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if not equals:
            raise Corrupt("layer has a malformed extended header")
        if key in tar_sparse.REPEATED:
            before = records.get(tar_sparse.MAP)
            records[tar_sparse.MAP] = value if before is None else before + b"," + value
        else:
            records[key] = value
        at = end
    return records
