"""The tar format as bennu writes it: one member, one spelling, so that equal trees give equal bytes.

POSIX ustar headers (IEEE 1003.1, pax, "ustar Interchange Format"), preceded by a pax extended header only where ustar
cannot say it: names that are long or not ASCII, sizes, owners and times beyond their octal fields, and extended
attributes as ``SCHILY.xattr.NAME`` (OCI image specification, layer.md). Owners' names are empty, times are whole
seconds. Nothing here does I/O; ``tar_output`` writes, ``tar_reader`` reads, ``tree`` walks directories.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

BLOCK: Final = 512
END: Final = bytes(2 * BLOCK)

REGULAR: Final = b"0"
HARD_LINK: Final = b"1"
SYMLINK: Final = b"2"
CHARACTER: Final = b"3"
BLOCK_DEVICE: Final = b"4"
DIRECTORY: Final = b"5"
FIFO: Final = b"6"
PAX: Final = b"x"

XATTR: Final = b"SCHILY.xattr."

_MAX_NAME: Final = 100
_MAX_PREFIX: Final = 155
_MAX_7: Final = 0o7777777
_MAX_11: Final = 0o77777777777
_MAGIC: Final = b"ustar\x0000" + bytes(64)
_NO_DEVICE: Final = b"0000000\x000000000\x00"
_NO_LINK: Final = bytes(_MAX_NAME)
_NO_PREFIX: Final = bytes(_MAX_PREFIX + 12)
# a checksum counts its own field as eight spaces
_CONSTANT: Final = sum(_MAGIC) + 8 * ord(" ")
_NUMBERS_LENGTH: Final = 48
_PLAIN_END: Final = b"\x00 " + REGULAR + _NO_LINK + _MAGIC + _NO_DEVICE + _NO_PREFIX
_PLAIN_TOTAL: Final = _CONSTANT + ord(REGULAR) + sum(_NO_DEVICE)


@dataclass(slots=True)
class Member:
    """One entry of an archive. Not frozen, for speed: a layer has tens of thousands; nobody changes one.

    ``name`` and ``link`` are bytes as in the archive, a directory's name without its slash; ``mode`` is permission
    bits; ``size_bytes`` is that of the content which follows; ``mtime`` is Unix seconds, ``nanoseconds`` what
    an archive that was read says beyond them.
    """

    name: bytes
    kind: bytes
    mode: int
    uid: int
    gid: int
    size_bytes: int
    mtime: int
    link: bytes = b""
    device: tuple[int, int] = (0, 0)
    xattrs: dict[bytes, bytes] | None = None
    nanoseconds: int = 0


def encode(member: Member, extra: dict[bytes, bytes] | None = None) -> bytes:
    """The header blocks of a member: a multiple of 512 bytes, to be followed by its content and its padding.

    ``extra``: further records of its extended header.
    """
    name = member.name + b"/" if member.kind == DIRECTORY else member.name
    if extra is None and member.kind == REGULAR and len(name) <= _MAX_NAME and member.xattrs is None and name.isascii():
        plain = _plain(member)
        if plain is not None:
            return plain
    records = _records(member, name) | (extra or {})
    if b"path" in records:
        return _extended(name, records) + _ustar(member, name[:_MAX_NAME], b"")
    prefix, rest = _split(name)
    return (_extended(name, records) if records else b"") + _ustar(member, rest, prefix)


def padding(size_bytes: int) -> bytes:
    """The zeros that fill a content's last block."""
    return bytes(-size_bytes % BLOCK)


def _records(member: Member, name: bytes) -> dict[bytes, bytes]:
    records: dict[bytes, bytes] = {}
    if not name.isascii() or (len(name) > _MAX_NAME and _split(name)[0] == b""):
        records[b"path"] = name
    if len(member.link) > _MAX_NAME or not member.link.isascii():
        records[b"linkpath"] = member.link
    if member.size_bytes > _MAX_11:
        records[b"size"] = b"%d" % member.size_bytes
    if member.uid > _MAX_7:
        records[b"uid"] = b"%d" % member.uid
    if member.gid > _MAX_7:
        records[b"gid"] = b"%d" % member.gid
    if not 0 <= member.mtime <= _MAX_11:
        records[b"mtime"] = b"%d" % member.mtime
    if member.xattrs:
        records |= {XATTR + key: value for key, value in member.xattrs.items()}
    return records


def _split(name: bytes) -> tuple[bytes, bytes]:
    # ustar's prefix and name, joined by a slash that is in neither; no prefix where that cannot be
    if len(name) <= _MAX_NAME:
        return b"", name
    cut = name.rfind(b"/", 0, min(_MAX_PREFIX + 1, len(name) - 1))
    if cut <= 0 or len(name) - cut - 1 > _MAX_NAME:
        return b"", name
    return name[:cut], name[cut + 1 :]


def _ustar(member: Member, name: bytes, prefix: bytes) -> bytes:
    mtime = member.mtime if 0 <= member.mtime <= _MAX_11 else 0
    numbers = b"%07o\x00%07o\x00%07o\x00%011o\x00%011o\x00" % (
        member.mode,
        member.uid if member.uid <= _MAX_7 else 0,
        member.gid if member.gid <= _MAX_7 else 0,
        member.size_bytes if member.size_bytes <= _MAX_11 else 0,
        mtime,
    )
    device = b"%07o\x00%07o\x00" % member.device if member.device != (0, 0) else _NO_DEVICE
    link = member.link[:_MAX_NAME]
    total = _CONSTANT + sum(name) + sum(numbers) + sum(device) + member.kind[0]
    total += sum(link) + sum(prefix)
    return b"".join(
        (
            name.ljust(_MAX_NAME, b"\x00"),
            numbers,
            b"%06o\x00 " % total,
            member.kind,
            link.ljust(_MAX_NAME, b"\x00") if link else _NO_LINK,
            _MAGIC,
            device,
            prefix.ljust(_MAX_PREFIX + 12, b"\x00") if prefix else _NO_PREFIX,
        )
    )


def _plain(member: Member) -> bytes | None:
    """The header of a file that ustar has words for, as nearly all are: what ``_ustar`` gives, in half the time."""
    numbers = b"%07o\x00%07o\x00%07o\x00%011o\x00%011o\x00" % (
        member.mode,
        member.uid,
        member.gid,
        member.size_bytes,
        member.mtime,
    )
    if len(numbers) != _NUMBERS_LENGTH or member.mtime < 0:
        return None
    total = _PLAIN_TOTAL + sum(member.name) + sum(numbers)
    return b"%b%b%b%06o%b" % (member.name, bytes(_MAX_NAME - len(member.name)), numbers, total, _PLAIN_END)


def _extended(name: bytes, records: dict[bytes, bytes]) -> bytes:
    body = b"".join(_record(key, records[key]) for key in sorted(records))
    base = bytes(byte for byte in name.rstrip(b"/").rpartition(b"/")[2] if byte < 0x80)[:80]
    header = Member(b"PaxHeaders.0/" + base, PAX, 0o644, 0, 0, len(body), 0)
    return _ustar(header, header.name, b"") + body + padding(len(body))


def _record(key: bytes, value: bytes) -> bytes:
    # "LENGTH key=value\n", where LENGTH counts its own digits
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %b=%b\n" % (length, key, value)
