"""A hash that runs beside whoever reads or writes the bytes: both let go of the interpreter's lock over a block.

What is small enough never starts the thread. Memory is a few blocks, whatever goes through. ``tar_output`` hashes
archives with it, ``build.file_digests`` large files.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    import hashlib
    import queue

BLOCK_BYTES: Final = 1 << 18  # stays in a core's cache
WAITING_BLOCKS: Final = 4


class HashBeside:
    """A sha256 that is fed by blocks. Leave the block to end its thread."""

    def __init__(self) -> None:
        import hashlib
        import queue

        self._hash = hashlib.sha256()
        self._blocks: queue.Queue[bytes | bytearray | None] = queue.Queue(WAITING_BLOCKS)
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._join()

    def put(self, block: bytes | bytearray) -> None:
        """Add a block, which nobody may change any more; it is hashed meanwhile."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="bennu-hash", daemon=True)
            self._thread.start()
        self._blocks.put(block)

    def finish(self, last: bytes | bytearray = b"") -> hashlib._Hash:
        """The hash of all blocks and of ``last``."""
        self._join()
        self._hash.update(last)
        return self._hash

    def _run(self) -> None:
        while (block := self._blocks.get()) is not None:
            self._hash.update(block)

    def _join(self) -> None:
        if self._thread is not None:
            self._blocks.put(None)
            self._thread.join()
            self._thread = None
