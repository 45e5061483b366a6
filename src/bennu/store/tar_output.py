"""Where an archive goes: hashed and written in one pass, a block at a time, by a second thread.

The walker gathers small members into blocks; the thread hashes them and hands them on, and since both release the
interpreter's lock over a block, reading and hashing take one core each. What is small enough never starts the thread.
Memory is a few blocks, whatever the layer's size.
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

BLOCK_BYTES: Final = 1 << 20
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
        self._failure: BaseException | None = None

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
        """Write the end of the archive and wait until everything is through."""
        self.write(END)
        if self._thread is None:
            self._take(bytes(self._buffer))
            self._buffer.clear()
        else:
            self._flush()
            self._join()
        if self._failure is not None:
            raise self._failure
        return LayerInfo(finish(self._hash), self._size_bytes)

    def _flush(self) -> None:
        if self._buffer:
            self._put(bytes(self._buffer))
            self._buffer.clear()

    def _put(self, block: bytes) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="bennu-tar", daemon=True)
            self._thread.start()
        if self._failure is not None:
            raise self._failure
        self._blocks.put(block)

    def _run(self) -> None:
        while (block := self._blocks.get()) is not None:
            if self._failure is None:  # after a failure the queue is only emptied, so that nobody waits for room in it
                try:
                    self._take(block)
                except BaseException as error:  # noqa: BLE001 - raised again in the walker's thread
                    self._failure = error

    def _take(self, block: bytes) -> None:
        self._hash.update(block)
        self._size_bytes += len(block)
        if self._sink is not None:
            view = memoryview(block)
            while view:  # a raw file or pipe may take less than all
                view = view[self._sink.write(view) :]

    def _join(self) -> None:
        if self._thread is not None:
            self._blocks.put(None)
            self._thread.join()
            self._thread = None
