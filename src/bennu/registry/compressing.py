"""Layers compressed as they leave, piece by piece: gzip by isal, or zstd. The same bytes in, the same bytes out.

Hash and compressor let go of the interpreter's lock, so that what makes the layer goes on beside them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import IO, Any, Final, Literal

import msgspec

from bennu.digest import finish
from bennu.errors import Invalid
from bennu.store.base import BlobInfo

Kind = Literal["gzip", "zstd"]
BLOCK_BYTES: Final = 1 << 20
_LEVELS: Final[dict[Kind, tuple[int, int, int]]] = {"gzip": (0, 3, 1), "zstd": (1, 19, 3)}
"""Lowest, highest and usual level."""


class Compression(msgspec.Struct, frozen=True):
    """How layers are compressed. ``level`` None is the usual one."""

    kind: Kind = "gzip"
    level: int | None = None

    def __post_init__(self) -> None:
        low, high, _ = _LEVELS[self.kind]
        if self.level is not None and not low <= self.level <= high:
            raise Invalid(f"level {self.level} of {self.kind}: it goes from {low} to {high}")

    def __str__(self) -> str:
        return f"{self.kind}:{self.number}"

    @property
    def number(self) -> int:
        """The level that is used."""
        return _LEVELS[self.kind][2] if self.level is None else self.level


class Compressed:
    """One stream while it is compressed. ``taken_bytes`` says how much of it has been read."""

    def __init__(self, compression: Compression) -> None:
        self._compression = compression
        self._hash = hashlib.sha256()
        self._size = 0
        self.taken_bytes = 0

    def pieces(self, plain: IO[bytes]) -> Iterator[bytes]:
        """The compressed bytes of a stream."""
        packer = _packer(self._compression)
        while block := plain.read(BLOCK_BYTES):
            self.taken_bytes += len(block)
            yield from self._counted(packer.compress(block))
        yield from self._counted(packer.flush())

    def _counted(self, piece: bytes) -> Iterator[bytes]:
        if piece:
            self._hash.update(piece)
            self._size += len(piece)
            yield piece

    def finish(self) -> BlobInfo:
        """What came out, once it is all out."""
        return BlobInfo(finish(self._hash), self._size)


def _packer(compression: Compression) -> Any:
    if compression.kind == "gzip":
        from isal import isal_zlib

        return isal_zlib.compressobj(compression.number, isal_zlib.DEFLATED, 16 + isal_zlib.MAX_WBITS)
    from backports import zstd

    return zstd.ZstdCompressor(level=compression.number)
