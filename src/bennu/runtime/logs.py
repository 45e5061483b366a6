"""A container's log as conmon writes it: read from any point, followed, rotated.

Format (k8s-file): ``TIME STREAM F|P TEXT``; ``P`` is a piece of a line that was too long for one record or not ended
yet, and its pieces are joined here until an ``F``. conmon caps the file by itself, losing what is old; ``rotate``
renames it before that, so that one older file is kept, and reading spans both. Following waits for changes with
inotify and ends when the container has ended and all was read.
"""

from __future__ import annotations

import os
import select
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import IO, Final

import msgspec

from bennu.host.inotify import Watch
from bennu.runtime.attach import reopen_log
from bennu.runtime.places import Place

OLDER: Final = ".1"
BLOCK_BYTES: Final = 1 << 16
FOLLOW_SECONDS: Final = 1.0


class Line(msgspec.Struct, frozen=True):
    """One line: when (RFC 3339, as it stands in the log), which stream, its bytes with their newline if it had one."""

    time: str
    stream: str
    data: bytes

    @property
    def seconds(self) -> float:
        """The time as Unix seconds."""
        return moment_of(self.time)


def moment_of(text: str) -> float:
    """RFC 3339 with nine digits of fraction as Unix seconds; 0 where it is malformed."""
    with suppress(ValueError):
        return datetime.fromisoformat(text).timestamp()
    return 0.0


class Parser:
    """Records to lines. A log that was cut in the middle of a record is read from its first whole one."""

    def __init__(self) -> None:
        self._pieces: dict[str, tuple[str, bytes]] = {}

    def feed(self, record: bytes) -> Line | None:
        """The line that a record completes, if it does."""
        parts = record.rstrip(b"\n").split(b" ", 3)
        if len(parts) < 4 or parts[1] not in {b"stdout", b"stderr"} or parts[2] not in {b"F", b"P"}:
            return None
        time, stream, text = parts[0].decode("ascii", "replace"), parts[1].decode("ascii"), parts[3]
        first, before = self._pieces.pop(stream, (time, b""))
        if parts[2] == b"P":
            self._pieces[stream] = (first, before + text)
            return None
        return Line(first, stream, before + text + b"\n")

    def rest(self) -> Iterator[Line]:
        """What was never ended by a newline."""
        for stream, (time, text) in self._pieces.items():
            yield Line(time, stream, text)
        self._pieces.clear()


def read(
    place: Place,
    *,
    tail: int | None = None,
    since: float | None = None,
    until: float | None = None,
    follow: Callable[[], bool] | None = None,
    wake: int | None = None,
) -> Iterator[Line]:
    """The lines of a container's log, oldest first: the last ``tail`` of those between ``since`` and ``until``.

    ``follow`` says whether more may come (the container lives): then lines are given as they come until it says no, or
    the descriptor ``wake`` becomes readable. Times are Unix seconds.
    """
    reader = _Reader(place.log, tail if since is None and until is None else None)
    try:
        chosen = _between(reader.lines(), since, until)
        yield from chosen if tail is None else deque(chosen, maxlen=tail)
        if follow is not None:
            yield from _between(reader.follow(follow, wake), since, until)
        yield from _between(reader.parser.rest(), since, until)
    finally:
        reader.close()


class _Reader:
    """Reads the older file, then the current one, and goes on across rotations."""

    def __init__(self, path: Path, last: int | None) -> None:
        self.path = path
        self.parser = Parser()
        self._last = last
        self._file: IO[bytes] | None = None
        self._partial = b""

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def lines(self) -> Iterator[Line]:
        """What is there now."""
        older = Path(f"{self.path}{OLDER}")
        with suppress(FileNotFoundError):
            self._file = open(self.path, "rb")  # noqa: SIM115 - held across rotations, closed in follow
        enough = self._last is not None and self._file is not None and _seek_back(self._file, self._last)
        if not enough:
            with suppress(FileNotFoundError), open(older, "rb") as file:
                yield from self._parsed(file)
        if self._file is not None:
            yield from self._parsed(self._file)

    def follow(self, may_come: Callable[[], bool], wake: int | None) -> Iterator[Line]:
        """What comes from now on."""
        with Watch() as watch:
            watch.add(self.path.parent)
            poll = select.poll()
            poll.register(watch.fileno(), select.POLLIN)
            if wake is not None:
                poll.register(wake, select.POLLIN)
            while True:
                more = may_come()  # asked before reading, so that the last words are not missed
                yield from self._grown()
                if not more:
                    return
                ready = {fd for fd, _ in poll.poll(FOLLOW_SECONDS * 1000)}
                if wake in ready:
                    return
                watch.drain()

    def _grown(self) -> Iterator[Line]:
        if self._file is not None:
            yield from self._parsed(self._file)
        with suppress(FileNotFoundError):
            status = os.stat(self.path)
            if self._file is None or os.fstat(self._file.fileno()).st_ino != status.st_ino:
                if self._file is not None:
                    yield from self._parsed(self._file)  # written between the last read and the rotation
                    self._file.close()
                self._file = open(self.path, "rb")  # noqa: SIM115
                yield from self._parsed(self._file)
            elif status.st_size < self._file.tell():  # cut by conmon's cap
                self._file.seek(0)
                yield from self._parsed(self._file)

    def _parsed(self, file: IO[bytes]) -> Iterator[Line]:
        while block := file.read(BLOCK_BYTES):
            *whole, self._partial = (self._partial + block).split(b"\n")
            for record in whole:
                line = self.parser.feed(record)
                if line is not None:
                    yield line


def _seek_back(file: IO[bytes], count: int) -> bool:
    """Go to where the last ``count`` lines begin; False, and to the start, if the file has fewer."""
    position, data = file.seek(0, os.SEEK_END), b""
    while position > 0:
        step = min(BLOCK_BYTES, position)
        position -= step
        file.seek(position)
        data = file.read(step) + data
        starts = _line_starts(data)
        if len(starts) > count:
            file.seek(position + starts[-count - 1])
            return True
    file.seek(0)
    return False


def _line_starts(data: bytes) -> list[int]:
    """Where lines begin that surely do (after a record that ends one), and the end of what is written."""
    starts: list[int] = []
    offset = 0
    ends_line = False
    for record in data.split(b"\n")[:-1]:
        if ends_line:
            starts.append(offset)
        parts = record.split(b" ", 3)
        ends_line = len(parts) == 4 and parts[2] == b"F"
        offset += len(record) + 1
    return [*starts, offset]


def _between(lines: Iterable[Line], since: float | None, until: float | None) -> Iterator[Line]:
    for line in lines:
        if since is None and until is None:
            yield line
            continue
        at = line.seconds
        if (since is None or at >= since) and (until is None or at <= until):
            yield line


def rotate(place: Place, limit_bytes: int) -> bool:
    """Rename the log if it has reached its size and make conmon begin a new one. Called by whoever tends containers.

    conmon itself caps a log at the size that it was started with; rotating at less keeps what is older.
    """
    with suppress(FileNotFoundError):
        if os.stat(place.log).st_size >= limit_bytes:
            os.rename(place.log, f"{place.log}{OLDER}")
            reopen_log(place.control)
            return True
    return False
