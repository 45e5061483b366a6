"""JSON documents of other people as values: one decoder, tolerant where Go's is, and Go's own way of writing.

Go writes absent lists and maps as ``null``; they count as absent here. What is left must have the right shape, else
``Invalid`` names the document and the place in it. ``encode`` gives the bytes that Go's ``encoding/json`` would give
for the same structure: no blanks, map keys sorted, ``<``, ``>``, ``&`` and U+2028/U+2029 escaped, so that a
configuration which Docker would also have produced has Docker's digest.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec

from bennu.errors import Invalid

T = TypeVar("T")

_ENCODER: Final = msgspec.json.Encoder(order="deterministic")
_ESCAPES: Final = (
    (b"<", b"\\u003c"),
    (b">", b"\\u003e"),
    (b"&", b"\\u0026"),
    ("\u2028".encode(), b"\\u2028"),
    ("\u2029".encode(), b"\\u2029"),
)


def decode(data: bytes, kind: type[T], what: str) -> T:
    """The value that a JSON document describes; ``Invalid`` in which ``what`` names it (``manifest sha256:…``)."""
    try:
        plain = msgspec.json.decode(data)
        return msgspec.convert(without_nulls(plain), kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"{what} is malformed: {error}") from error
    except Invalid as error:
        raise Invalid(f"{what} is malformed: {error.message}") from error


def encode(value: msgspec.Struct) -> bytes:
    """The value as compact JSON, byte for byte as Go writes it."""
    data = _ENCODER.encode(value)
    for raw, escaped in _ESCAPES:
        if raw in data:
            data = data.replace(raw, escaped)  # these occur in strings only, where both spellings mean the same
    return data


def without_nulls(plain: Any) -> Any:
    """Plain JSON without the members that are null."""
    if isinstance(plain, dict):
        return {key: without_nulls(value) for key, value in plain.items() if value is not None}
    if isinstance(plain, list):
        return [without_nulls(value) for value in plain]
    return plain
