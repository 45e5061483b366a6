"""Where an archive goes: hashed and written in one pass, a block at a time.

The walker gathers small members into blocks, which it writes itself and a second thread hashes: since both let go of
the interpreter's lock over a block, they take one core each. What is small enough never starts the thread. Memory is a
few blocks, whatever the layer's size.
"""

from __future__ import annotations

import hashlib
import os
import queue
import threading
from typing import IO, Final, Self

from bennu.digest import finish
from bennu.errors import Corrupt
from bennu.store.base import LayerInfo
from bennu.store.tar import END, padding

BLOCK_BYTES: Final = 1 << 18  # stays in a core's cache
WAITING_BLOCKS: Final = 4
SMALL_BYTES: Final = 1 << 16


class TarOutput:
    """An archive that is being written to ``sink``, or only hashed where there is none. Leave the block to end it."""

    def __init__(self, sink: IO[bytes] | None = None) -> None:
        self._sink = sink
        self._hash = hashlib.sha256()
        self._size_bytes = 0
        self._buffer = bytearray()
        self._blocks: queue.Queue[bytes | None] = queue.Queue(WAITING_BLOCKS)
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._join()

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
                self.write(data + padding(size_bytes))
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
        if self._thread is None:
            self._hash.update(self._buffer)
            self._emit(self._buffer)
        else:
            self._flush()
        self._join()
        return LayerInfo(finish(self._hash), self._size_bytes)

    def _flush(self) -> None:
        if self._buffer:
            self._put(bytes(self._buffer))
            self._buffer.clear()

    def _put(self, block: bytes) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="bennu-tar", daemon=True)
            self._thread.start()
        self._blocks.put(block)
        self._emit(block)

    def _emit(self, block: bytes | bytearray) -> None:
        self._size_bytes += len(block)
        if self._sink is not None:
            with memoryview(block) as view:
                done = 0
                while done < len(view):  # a raw file or pipe may take less than all
                    done += self._sink.write(view[done:])

    def _run(self) -> None:
        while (block := self._blocks.get()) is not None:
            self._hash.update(block)

    def _join(self) -> None:
        if self._thread is not None:
            self._blocks.put(None)
            self._thread.join()
            self._thread = None
