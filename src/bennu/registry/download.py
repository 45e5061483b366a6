"""A blob on its way: one thread writes and hashes what comes, whoever needs it reads behind the writer.

A connection that breaks is made again, from the byte that was the last (Range); a server that cannot do that sends all
again, and what is there already is passed over. The reader sees the end only when the digest has been found right.
"""

from __future__ import annotations

import io
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from bennu.digest import Digest, algorithm, finish, new_hash
from bennu.errors import BennuError, Corrupt, Failed, NotFound, Unavailable
from bennu.oci.descriptor import Descriptor
from bennu.registry.repository import Repository
from bennu.registry.transport import CANCELLED, Answer, Cut

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

IDLE_ATTEMPTS: Final = 5
"""So many connections in a row that brought nothing end it."""
ATTEMPTS: Final = 100
PAUSE_SECONDS: Final = 0.1
TRICKLE_SECONDS: Final = 60.0
TRICKLE_BYTES: Final = 4096
"""A server that sends less than this in ``TRICKLE_SECONDS`` stands still."""
BUFFER_BYTES: Final = 1 << 18

Progress = Callable[[int], None]
"""Called with how many bytes are there."""


class Download:
    """One blob. ``run`` once, in a thread of its own; ``follow`` from any other, before or after."""

    def __init__(
        self,
        sources: Sequence[Repository],
        descriptor: Descriptor,
        path: Path,
        cancel: threading.Event,
        progress: Progress = lambda _bytes: None,
    ) -> None:
        self.descriptor = descriptor
        self._sources = sources
        self._path = path
        self._cancel = cancel
        self._progress = progress
        self._changed = threading.Condition()
        self._received = 0
        self._is_whole = False
        self._error: BaseException | None = None

    def run(self) -> None:
        """Fetch it. ``Corrupt``, ``NotFound``, ``Unavailable``; ``Failed`` when cancelled. Readers hear of it too."""
        try:
            self._run()
        except BaseException as error:
            self._tell(error=error)
            raise
        self._tell(whole=True)

    def _run(self) -> None:
        if self._cancel.is_set():
            raise Failed("cancelled", status=CANCELLED)
        running = new_hash(self.descriptor.digest)
        with open(self._path, "r+b", buffering=0) as file:
            self._fetch(file, running.update)
        found = finish(running, algorithm(self.descriptor.digest))
        if found != self.descriptor.digest:
            raise Corrupt(
                f"{self._sources[-1].shown}: blob {self.descriptor.digest} arrived as {found}",
                "try again; if it stays so, the registry's copy is damaged",
            )

    @contextmanager
    def follow(self) -> Iterator[IO[bytes]]:
        """The bytes as they come. The error of ``run`` comes out of a read; the end only once all is right."""
        with _Following(self) as raw, io.BufferedReader(raw, BUFFER_BYTES) as stream:
            yield stream

    def _tell(self, *, whole: bool = False, error: BaseException | None = None) -> None:
        with self._changed:
            self._is_whole = whole
            self._error = error
            self._changed.notify_all()

    def _fetch(self, file: IO[bytes], update: Callable[[bytes], None]) -> None:
        size = self.descriptor.size_bytes
        idle, source = 0, 0
        for _ in range(ATTEMPTS):
            before = self._received
            reason = "the connection ended early"
            try:
                with self._sources[source].blob(self.descriptor.digest, before) as answer:
                    self._take(answer, before, file, update)
            except Cut as error:
                reason = error.reason
            except (NotFound, Unavailable):
                if source + 1 == len(self._sources):
                    raise
                source += 1  # a mirror that lacks it or fails
                continue
            if self._received == size:
                return
            idle = idle + 1 if self._received == before else 0
            if idle >= IDLE_ATTEMPTS:
                raise Unavailable(self._stopped(source, reason))
            if self._cancel.wait(PAUSE_SECONDS * 2**idle):
                raise Failed("cancelled", status=CANCELLED)
        raise Unavailable(self._stopped(source, f"{ATTEMPTS} connections were cut"))

    def _stopped(self, source: int, reason: str) -> str:
        shown, size = self._sources[source].shown, self.descriptor.size_bytes
        return f"{shown}: blob {self.descriptor.digest} stopped at byte {self._received} of {size}: {reason}"

    def _take(self, answer: Answer, offset: int, file: IO[bytes], update: Callable[[bytes], None]) -> None:
        """Write what an answer brings from ``offset`` on."""
        skip = 0 if answer.status == 206 else offset
        if answer.status == 206 and not answer.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
            raise Cut(f"asked for bytes from {offset} on, given {answer.headers.get('Content-Range')!r}")
        since, window = time.monotonic(), 0
        for chunk in answer.chunks():
            if self._cancel.is_set():
                raise Failed("cancelled", status=CANCELLED)
            window += len(chunk)
            now = time.monotonic()
            if now - since > TRICKLE_SECONDS:
                if window < TRICKLE_BYTES:
                    raise Cut(f"only {window} bytes came in {TRICKLE_SECONDS:g} s")
                since, window = now, 0
            piece = chunk[skip:]
            skip = max(0, skip - len(chunk))
            if self._received + len(piece) > self.descriptor.size_bytes:
                raise Corrupt(f"blob {self.descriptor.digest} has more than its {self.descriptor.size_bytes} bytes")
            if piece:
                self._write(file, piece, update)

    def _write(self, file: IO[bytes], piece: bytes, update: Callable[[bytes], None]) -> None:
        view = memoryview(piece)
        while view:
            try:
                view = view[file.write(view) :]
            except OSError as error:
                raise BennuError(f"{str(self._path)!r}: {error.strerror}") from error
        update(piece)
        with self._changed:
            self._received += len(piece)
            self._changed.notify_all()
        self._progress(self._received)

    def available(self, position: int) -> int:
        """Wait until there is more than ``position`` bytes, and say how many there are; ``position`` at the end."""
        with self._changed:
            while self._received <= position and not self._is_whole and self._error is None:
                self._changed.wait()
            if self._error is not None:
                raise self._error
            if self._received == self.descriptor.size_bytes and not self._is_whole:
                # the last byte is held back until the digest is known to be right
                if self._received - 1 > position:
                    return self._received - 1
                while not self._is_whole and self._error is None:
                    self._changed.wait()
                if self._error is not None:
                    raise self._error
            return self._received

    @property
    def path(self) -> Path:
        """The file that it is written to."""
        return self._path

    @property
    def digest(self) -> Digest:
        """The blob's digest."""
        return self.descriptor.digest


class _Following(io.RawIOBase):
    """A raw stream behind the writer."""

    def __init__(self, download: Download) -> None:
        super().__init__()
        self._download = download
        self._fd = os.open(download.path, os.O_RDONLY | os.O_CLOEXEC)
        self._position = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        there = self._download.available(self._position)
        count = os.preadv(self._fd, [view[: max(0, there - self._position)]], self._position)
        self._position += count
        return count

    def close(self) -> None:
        if not self.closed:
            os.close(self._fd)
        super().close()
