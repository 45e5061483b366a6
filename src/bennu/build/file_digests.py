"""The digests of files, remembered from build to build, so that a file which did not change is read once.

A file whose device, inode, size, mtime and ctime (its *signature*) are what they were has the content that it had. One
whose mtime or ctime is not older than the look at it is not remembered: two edits within one tick of the clock would
go unseen.

One flat file for each root holds a record a file, in the order of the walk, read and written in one go: where nothing
changed the next record is always the one that is asked for, and nothing is made of the others. A file of records that
is not whole counts for nothing, and is never missed. ``contents`` asks here.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Final

from bennu.build.entries import SIGNATURE_BYTES, Entry
from bennu.digest import hash_of_about, sha256_bytes, sha256_hex
from bennu.host import files
from bennu.store.hashing import BLOCK_BYTES, HashBeside

RACY_NS: Final = 20_000_000  # times of files come from the last timer tick, up to 10 ms ago
WHOLE_BYTES: Final = BLOCK_BYTES
"""A file of up to so many bytes is read in one go."""
SPARE_RECORDS: Final = 50_000
"""How many records are kept beside those of a build: other Dockerfiles take other files."""
MOST_SEARCHES: Final = 32
KEPT_ROOTS: Final = 64
KEPT_SECONDS: Final = 30 * 86400
LEFTOVER_SECONDS: Final = 86400
"""A half-written file of that age is nobody's any more."""

_MAGIC: Final = b"bennu file digests 1\n"
_DIGEST_BYTES: Final = 32
_RECORD_BYTES: Final = SIGNATURE_BYTES + _DIGEST_BYTES


class FileDigests:
    """The remembered digests of the files below ``root``, kept in ``directory``; nothing is kept where that is None.

    ``hashed`` counts files that were read, for tests.
    """

    def __init__(self, directory: Path | None, root: str) -> None:
        self._place = None if directory is None else directory / sha256_hex(os.fsencode(root))[:32]
        self._lock = threading.Lock()
        self._records: bytes | None = None
        self._is_used = bytearray()
        self._at = 0
        self._index: dict[bytes, int] | None = None
        self._searches = 0
        self._used = bytearray()
        self.hashed = 0

    @contextmanager
    def asked(self) -> Iterator[Callable[[Entry], bytes]]:
        """A function that gives the sha256 of a regular file. One thread at a time; what is new is kept at the end."""
        with self._lock:
            before = self.hashed
            if self._records is None:
                self._records = b"" if self._place is None else _read(self._place)
                self._is_used = bytearray(len(self._records) // _RECORD_BYTES)
            started = time.time_ns()
            yield lambda entry: self._of(entry, started)
            if self._place is not None and self.hashed != before:
                _write(self._place, self._used, self._spare())

    def _of(self, entry: Entry, started_ns: int) -> bytes:
        signature = entry.packed[:SIGNATURE_BYTES]
        digest = self._find(signature)
        if digest is None:
            status = entry.status
            digest = digest_of_file(entry.path, status.st_size)
            self.hashed += 1
            if max(status.st_mtime_ns, status.st_ctime_ns) < started_ns - RACY_NS:
                self._used += signature + digest
        else:
            self._used += signature + digest
        return digest

    def _find(self, signature: bytes) -> bytes | None:
        records = self._records or b""
        at = self._at
        if not records.startswith(signature, at):
            at += _RECORD_BYTES  # a file that changed left its old record here
            if not records.startswith(signature, at):
                at = self._search(signature)
        if at < 0 or at >= len(records):
            return None
        self._at = at + _RECORD_BYTES
        self._is_used[at // _RECORD_BYTES] = True
        return records[at + SIGNATURE_BYTES : at + _RECORD_BYTES]

    def _search(self, signature: bytes) -> int:
        """The position of a record anywhere, or -1. An index takes twice the records' memory: the first do without."""
        records = self._records or b""
        self._searches += 1
        if self._searches <= MOST_SEARCHES:
            at = records.find(signature)
            if at < 0 or at % _RECORD_BYTES == 0:
                return at
        if self._index is None:
            self._index = {records[at : at + SIGNATURE_BYTES]: at for at in range(0, len(records), _RECORD_BYTES)}
        return self._index.get(signature, -1)

    def _spare(self) -> bytes:
        """Records that nothing asked for so far, the latest first."""
        records = self._records or b""
        spare = islice((number for number, used in enumerate(self._is_used) if not used), SPARE_RECORDS)
        return b"".join(records[number * _RECORD_BYTES : (number + 1) * _RECORD_BYTES] for number in spare)


def _read(place: Path) -> bytes:
    """The records of a file; none where it is not there, or not whole."""
    try:
        data = place.read_bytes()
    except OSError:
        return b""
    head, records = data[: len(_MAGIC) + _DIGEST_BYTES], data[len(_MAGIC) + _DIGEST_BYTES :]
    if head != _MAGIC + sha256_bytes(records):
        return b""
    with suppress(OSError):
        os.utime(place)  # it is in use
    return records


def _write(place: Path, used: bytearray, spare: bytes) -> None:
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not place.exists():
        prune(place.parent)
    running = hash_of_about(len(used) + len(spare))
    running.update(used)
    running.update(spare)
    files.write_atomic(place, b"".join((_MAGIC, running.digest(), used, spare)), mode=0o600, durable=False)


def prune(directory: Path) -> None:
    """Forget roots that nothing was built from for long, and all but the latest. Another build may be writing here."""
    now = time.time()
    found = []
    for path in directory.iterdir():
        with suppress(FileNotFoundError):  # another build's half-written file has its name now
            used, is_whole = path.stat().st_mtime, not path.name.startswith(".")
            if is_whole:
                found.append((used, path))
            if used < now - (KEPT_SECONDS if is_whole else LEFTOVER_SECONDS):
                path.unlink()
    for _, path in sorted(found, reverse=True)[KEPT_ROOTS - 1 :]:
        path.unlink(missing_ok=True)


def digest_of_file(path: str, size_bytes: int) -> bytes:
    """The sha256 of a regular file. ``size_bytes`` says how it is best read, and nothing of how much."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        block = os.read(fd, min(size_bytes + 1, WHOLE_BYTES))
        if len(block) == size_bytes:
            return sha256_bytes(block)
        with HashBeside() as running:
            while block:
                running.put(block)
                block = os.read(fd, BLOCK_BYTES)
            return running.finish().digest()
    finally:
        os.close(fd)
