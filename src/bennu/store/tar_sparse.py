"""Sparse files in pax archives, as GNU tar writes them in three versions: where in the file its data belong. Pure.

In versions 0.0 and 0.1 the extended header has the places, in 1.0 the content begins with them. What is malformed, or
would lead out of the file, is ``Corrupt``. Source: GNU tar manual, "Storing Sparse Files", "PAX Format".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from bennu.errors import Corrupt
from bennu.store.tar import BLOCK

PREFIX: Final = b"GNU.sparse."
NAME: Final = b"GNU.sparse.name"
REPEATED: Final = (b"GNU.sparse.offset", b"GNU.sparse.numbytes")
"""Records of version 0.0 that come once a place; together, in their order, they are a ``MAP``."""
MAP: Final = b"GNU.sparse.map"
MAX_PLACES: Final = 1 << 18
MAX_SIZE_BYTES: Final = 1 << 62

_NUMBER: Final = re.compile(rb"[0-9]{1,19}")
Places = list[tuple[int, int]]
"""Offsets and lengths, in ascending order."""


def real_size(extended: Mapping[bytes, bytes]) -> int:
    """The size of the file, its holes included."""
    return _number(extended.get(b"GNU.sparse.realsize", extended.get(b"GNU.sparse.size", b"")))


def places(
    extended: Mapping[bytes, bytes], size_bytes: int, stored_bytes: int, take: Callable[[int], bytes]
) -> tuple[Places, int]:
    """Where the data of a file of ``size_bytes`` belong, and how many bytes of its ``stored_bytes`` said so; ``take``
    gives the first ones of the content.
    """
    used = 0
    if extended.get(b"GNU.sparse.major", b"0") == b"1":
        numbers, used = _in_content(stored_bytes, take)
    else:
        text = extended.get(MAP, b"")
        numbers = [_number(each) for each in text.split(b",")] if text else []
    if len(numbers) % 2:
        raise Corrupt("layer has a malformed map of a sparse file")
    found = list(zip(numbers[::2], numbers[1::2], strict=True))
    end = 0
    for offset, length in found:
        if offset < end or offset + length > size_bytes:
            raise Corrupt("layer has a map of a sparse file that leads out of it")
        end = offset + length
    if sum(length for _, length in found) != stored_bytes - used:
        raise Corrupt("layer has a map of a sparse file that does not go with its content")
    return found, used


def _in_content(stored_bytes: int, take: Callable[[int], bytes]) -> tuple[list[int], int]:
    """The numbers that a content begins with, a line each, their count of pairs first; and the whole blocks of them."""
    text, used = b"", 0
    wanted: int | None = None
    while wanted is None or text.count(b"\n") < wanted:
        if used + BLOCK > stored_bytes:
            raise Corrupt("layer has a malformed map of a sparse file")
        text += take(BLOCK)
        used += BLOCK
        if wanted is None and b"\n" in text:
            count = _number(text.partition(b"\n")[0])
            if count > MAX_PLACES:
                raise Corrupt(f"layer has a sparse file of {count} pieces")
            wanted = 1 + 2 * count
    return [_number(each) for each in text.split(b"\n")[1:wanted]], used


def _number(text: bytes) -> int:
    if not _NUMBER.fullmatch(text) or int(text) > MAX_SIZE_BYTES:
        raise Corrupt("layer has a malformed number of a sparse file")
    return int(text)


def sparse_head(name: bytes, size_bytes: int, extents: Places) -> tuple[bytes, bytes, dict[bytes, bytes]]:
    """How a sparse file is written, in version 1.0: the member's name, what its content begins with, and the records of
    its extended header.
    """
    parent, _, base = name.rpartition(b"/")
    places = list(extents)
    if not places or sum(places[-1]) < size_bytes:
        places.append((size_bytes, 0))  # GNU tar's own way to say that it ends in a hole
    lines = [b"%d" % len(places), *(b"%d\n%d" % place for place in places)]
    text = b"\n".join(lines) + b"\n"
    stored = (parent + b"/" if parent else b"") + b"GNUSparseFile.0/" + base
    records = {
        b"GNU.sparse.major": b"1",
        b"GNU.sparse.minor": b"0",
        NAME: name,
        b"GNU.sparse.realsize": b"%d" % size_bytes,
    }
    return stored, text + bytes(-len(text) % BLOCK), records
