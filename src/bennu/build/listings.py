"""Listings: what a step took from a tree, file by file, so that ``bennu why`` can name those that changed.

A listing is a compressed row an entry: path, mode, owner, and the start of the content's digest (or a link's target).
Paths start at the root of the tree that the files come from. ``records`` stores listings.
"""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from bennu.build.entries import Entries
from bennu.build.source import Selection

_LEVEL: Final = 1
_BATCH: Final = 1000
_KIND: Final = 0o170000
_ROOT: Final = (0, 0)


class File(msgspec.Struct, frozen=True):
    """What a listing has of one entry. ``detail`` is the start of a file's digest, or a link's target."""

    mode: int
    owner: tuple[int, int]
    detail: bytes


Listing = Mapping[str, File]
_Row = tuple[str, int, tuple[int, int], bytes]


def listed(selections: Sequence[Selection]) -> bytes:
    """The listing of what was taken from one tree, whose content is known, as ``records`` stores it.

    Paths start at the tree's root.
    """
    return packed(entry for selection in selections for entry in _entries(selection))


def _entries(selection: Selection) -> Iterator[tuple[str, int, tuple[int, int], bytes]]:
    start = len(selection.root.rstrip("/")) + 1
    keeps_owners = selection.keeps_owners
    for item in selection.items:
        details, at = item.entries.details, 0
        for entry in item.entries:
            status = entry.status
            mode = status.st_mode
            kind = mode & _KIND
            detail = b""
            if kind == stat.S_IFREG:
                detail = bytes(details[at : at + Entries.DETAIL_BYTES])
                at += Entries.DETAIL_BYTES
            elif kind == stat.S_IFLNK:
                detail = os.fsencode(os.readlink(entry.path))
            elif kind == stat.S_IFDIR and not entry.target:
                continue  # its contents are taken, not itself
            yield entry.path[start:], mode, (status.st_uid, status.st_gid) if keeps_owners else _ROOT, detail


def packed(entries: Iterable[_Row]) -> bytes:
    """A listing as it is stored: rows of path, mode, owner and detail."""
    compressor = zlib.compressobj(_LEVEL)
    data = bytearray()
    heads: dict[tuple[int, tuple[int, int]], bytes] = {}
    rows: list[bytes] = []
    for path, mode, owner, detail in entries:
        head = heads.get((mode, owner))
        if head is None:
            head = heads[mode, owner] = b"\0%o\0%d:%d\0" % (mode, *owner)
        rows.append(os.fsencode(path) + head + detail.hex().encode())
        if len(rows) == _BATCH:
            data += compressor.compress(b"\n\0".join(rows) + b"\n\0")
            rows.clear()
    return bytes(data + compressor.compress(b"\n\0".join(rows)) + compressor.flush())


def unpacked(body: bytes) -> Listing:
    """A stored listing by path."""
    found: dict[str, File] = {}
    for row in zlib.decompress(body).split(b"\n\0"):
        if row:
            path, mode, owner, detail = row.split(b"\0")
            uid, gid = owner.split(b":")
            found[os.fsdecode(path)] = File(int(mode, 8), (int(uid), int(gid)), bytes.fromhex(detail.decode()))
    return found
