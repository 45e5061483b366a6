"""Where an archive goes: hashed and written in one pass, a block at a time.

The walker gathers small members into blocks, which it writes itself and a second thread hashes (``hashing``), so that
they take one core each. Memory is a few blocks, whatever the layer's size.
"""

from __future__ import annotations

import os
from typing import IO, Final, Self

from bennu.digest import finish
from bennu.errors import Corrupt
from bennu.store.base import LayerInfo
from bennu.store.hashing import BLOCK_BYTES, HashBeside
from bennu.store.tar import END, padding

SMALL_BYTES: Final = 1 << 16


class TarOutput:
    """An archive that is being written to ``sink``, or only hashed where there is none. Leave the block to end it."""

    def __init__(self, sink: IO[bytes] | None = None) -> None:
        self._sink = sink
        self._hash = HashBeside()
        self._size_bytes = 0
        self._buffer = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._hash.__exit__()

    def write(self, data: bytes) -> None:
        """Add bytes."""
        self._buffer += data
        if len(self._buffer) >= BLOCK_BYTES:
            self._flush()

    def copy(self, fd: int, size_bytes: int, name: bytes) -> None:
        """Add a file's content and its padding. ``Corrupt`` if it is shorter than ``size_bytes``."""
        if size_bytes <= SMALL_BYTES:
            data = os.read(fd, size_bytes)
            if len(data) == size_bytes:
                self._buffer += data
                self.write(padding(size_bytes))
                return
            os.lseek(fd, 0, os.SEEK_SET)
        self._flush()
        left = size_bytes
        while left:
            data = os.read(fd, min(left, BLOCK_BYTES))
            if not data:
                raise Corrupt(f"file {os.fsdecode(name)!r} was cut off while it was read")
            self._put(data)
            left -= len(data)
        self.write(padding(size_bytes))

    def end(self) -> LayerInfo:
        """Write the end of the archive and wait until everything is hashed."""
        self.write(END)
        self._emit(self._buffer)
        return LayerInfo(finish(self._hash.finish(self._buffer)), self._size_bytes)

    def _flush(self) -> None:
        if self._buffer:
            self._put(self._buffer)
            self._buffer = bytearray()

    def _put(self, block: bytes | bytearray) -> None:
        self._hash.put(block)
        self._emit(block)

    def _emit(self, block: bytes | bytearray) -> None:
        self._size_bytes += len(block)
        if self._sink is not None:
            with memoryview(block) as view:
                done = 0
                while done < len(view):  # a raw file or pipe may take less than all
                    done += self._sink.write(view[done:])
