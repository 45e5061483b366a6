"""Blobs: bytes under their digest, in files laid out as an OCI layout has them (``blobs/sha256/<hex>``).

``FileBlobs`` writes to a temporary file, hashes in the same pass, syncs, renames. ``MemoryBlobs`` keeps the same
contract in a dictionary. The contract itself stands in ``store.base``.

A blob that nothing refers to yet is told from rubbish by when it was last used: storing it again or ``touch`` renews
that moment, ``sweep`` spares what was used since a horizon. The two never interleave, since a sweep holds the lock
``blobs`` alone and the others share it for the instant of a rename or a time stamp. See ``gc`` for the horizon.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from bennu.config import Settings
from bennu.digest import Digest, algorithm, digest_of, encoded, finish, new_hash, parse_digest
from bennu.errors import Corrupt, Invalid, NotFound
from bennu.host import locks
from bennu.host.files import sync_directory
from bennu.store.base import BlobInfo

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CHUNK_BYTES: Final = 1 << 20
TEMPORARY_PREFIX: Final = "blob"


class FileBlobs:
    """Blobs of one root. Safe with any number of processes at once."""

    def __init__(self, settings: Settings) -> None:
        self._directory = settings.blobs
        self._temporary = settings.temporary
        self._lock = settings.locks / "blobs"

    @contextmanager
    def open(self, digest: Digest) -> Iterator[IO[bytes]]:
        """The blob's bytes, verified when the last of them is read."""
        with _Verified(self._file(digest), digest) as raw, io.BufferedReader(raw, CHUNK_BYTES) as stream:
            yield stream

    def read(self, digest: Digest) -> bytes:
        """A small blob whole, verified."""
        if algorithm(digest) != "sha256":
            with self.open(digest) as stream:
                return stream.read()
        with self._file(digest) as file:
            data = file.read()
        if digest_of(data) != digest:
            raise _damaged(digest)
        return data

    def ingest(self, stream: IO[bytes], *, expected: Digest | None = None, size_bytes: int | None = None) -> BlobInfo:
        """Store what a stream yields, once it is known to be what was expected and is on the disk."""
        self._temporary.mkdir(parents=True, exist_ok=True)
        temporary = self._temporary / f"{TEMPORARY_PREFIX}-{os.getpid()}-{os.urandom(6).hex()}"
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            with open(fd, "wb") as file:
                info = _copy(stream, file, expected, size_bytes)
                file.flush()
                os.fsync(file.fileno())
            self._place(temporary, info.digest)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(temporary)
        return info

    @contextmanager
    def arriving(self) -> Iterator[tuple[Path, Callable[[Digest], None]]]:
        """A file for a blob that comes in pieces, and what makes it the blob once its bytes are known to be right."""
        self._temporary.mkdir(parents=True, exist_ok=True)
        temporary = self._temporary / f"{TEMPORARY_PREFIX}-{os.getpid()}-{os.urandom(6).hex()}"

        def keep(digest: Digest) -> None:
            fd = os.open(temporary, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
            self._place(temporary, digest)

        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
        try:
            yield temporary, keep
        finally:
            with suppress(FileNotFoundError):
                os.unlink(temporary)

    def write(self, data: bytes) -> BlobInfo:
        """Store bytes."""
        return self.ingest(io.BytesIO(data))

    def stat(self, digest: Digest) -> BlobInfo | None:
        """A blob's size, or None if it is absent."""
        try:
            return BlobInfo(digest, os.stat(self.path(digest)).st_size)
        except FileNotFoundError:
            return None

    def touch(self, digest: Digest) -> bool:
        """Mark a blob as used now; whether it is there. What was touched is spared by a sweep that began before."""
        with locks.held(self._lock, shared=True):
            try:
                os.utime(self.path(digest))
            except FileNotFoundError:
                return False
            return True

    @contextmanager
    def spared(self) -> Iterator[None]:
        """No blob is swept while the block runs: for the instant between storing one and referring to it."""
        with locks.held(self._lock, shared=True):
            yield

    def walk(self) -> Iterator[BlobInfo]:
        """Every blob, in no order."""
        for info, _ in self._entries():
            yield info

    def delete(self, digest: Digest) -> None:
        """Remove a blob; not an error if it is absent."""
        with suppress(FileNotFoundError):
            os.unlink(self.path(digest))

    def sweep(
        self, keep: Callable[[], Collection[Digest]], *, unused_since: float, dry_run: bool = False
    ) -> list[BlobInfo]:
        """Remove the blobs that are not in ``keep()`` and were last used before ``unused_since``; those removed."""
        removed = []
        with locks.held(self._lock):
            kept = keep()
            for info, used in self._entries():
                if info.digest in kept or used >= unused_since:
                    continue
                if not dry_run:
                    self.delete(info.digest)
                removed.append(info)
        return removed

    def path(self, digest: Digest) -> Path:
        """Where a blob stands, or would."""
        checked = parse_digest(digest)
        return self._directory / algorithm(checked) / encoded(checked)

    def _file(self, digest: Digest) -> IO[bytes]:
        try:
            return open(self.path(digest), "rb", buffering=0)
        except FileNotFoundError as error:
            raise NotFound(f"blob {digest} is not in the store") from error

    def _place(self, temporary: Path, digest: Digest) -> None:
        target = self.path(digest)
        if not target.parent.is_dir():
            target.parent.mkdir(parents=True, exist_ok=True)
            sync_directory(target.parent.parent)
        with locks.held(self._lock, shared=True):
            os.rename(temporary, target)
        sync_directory(target.parent)

    def _entries(self) -> Iterator[tuple[BlobInfo, float]]:
        for kind in ("sha256", "sha512"):
            try:
                names = os.scandir(self._directory / kind)
            except FileNotFoundError:
                continue
            with names:
                for entry in names:
                    with suppress(Invalid, FileNotFoundError):
                        status = entry.stat(follow_symlinks=False)
                        yield BlobInfo(parse_digest(f"{kind}:{entry.name}"), status.st_size), status.st_mtime


class MemoryBlobs:
    """Blobs in memory, for tests of what stands on a ``BlobStore``."""

    def __init__(self) -> None:
        self._blobs: dict[Digest, tuple[bytes, float]] = {}

    @contextmanager
    def open(self, digest: Digest) -> Iterator[IO[bytes]]:
        """The blob's bytes, verified when the last of them is read."""
        if digest not in self._blobs:
            raise NotFound(f"blob {digest} is not in the store")
        with _Verified(io.BytesIO(self._blobs[digest][0]), digest) as raw, io.BufferedReader(raw) as stream:
            yield stream

    def read(self, digest: Digest) -> bytes:
        """A blob whole, verified."""
        with self.open(digest) as stream:
            return stream.read()

    def ingest(self, stream: IO[bytes], *, expected: Digest | None = None, size_bytes: int | None = None) -> BlobInfo:
        """Store what a stream yields."""
        sink = io.BytesIO()
        info = _copy(stream, sink, expected, size_bytes)
        self._blobs[info.digest] = (sink.getvalue(), time.time())
        return info

    def write(self, data: bytes) -> BlobInfo:
        """Store bytes."""
        return self.ingest(io.BytesIO(data))

    def stat(self, digest: Digest) -> BlobInfo | None:
        """A blob's size, or None if it is absent."""
        found = self._blobs.get(digest)
        return BlobInfo(digest, len(found[0])) if found else None

    def touch(self, digest: Digest) -> bool:
        """Mark a blob as used now; whether it is there."""
        if digest not in self._blobs:
            return False
        self._blobs[digest] = (self._blobs[digest][0], time.time())
        return True

    @contextmanager
    def spared(self) -> Iterator[None]:
        """No blob is swept while the block runs: nobody else is there to do it."""
        yield

    def walk(self) -> Iterator[BlobInfo]:
        """Every blob, in no order."""
        yield from [BlobInfo(digest, len(data)) for digest, (data, _) in self._blobs.items()]

    def delete(self, digest: Digest) -> None:
        """Remove a blob; not an error if it is absent."""
        self._blobs.pop(digest, None)

    def sweep(
        self, keep: Callable[[], Collection[Digest]], *, unused_since: float, dry_run: bool = False
    ) -> list[BlobInfo]:
        """Remove the blobs that are not in ``keep()`` and were last used before ``unused_since``; those removed."""
        kept = keep()
        doomed = [
            BlobInfo(digest, len(data))
            for digest, (data, used) in self._blobs.items()
            if digest not in kept and used < unused_since
        ]
        for info in () if dry_run else doomed:
            self.delete(info.digest)
        return doomed


class _Verified(io.RawIOBase):
    """A raw stream that hashes what it gives and raises ``Corrupt`` at the end where the digest differs."""

    def __init__(self, source: IO[bytes], digest: Digest) -> None:
        super().__init__()
        self._source = source
        self._digest = digest
        self._hash = new_hash(digest)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        data = self._source.read(len(view))
        if data:
            self._hash.update(data)
            view[: len(data)] = data
        elif len(view) and finish(self._hash, algorithm(self._digest)) != self._digest:
            raise _damaged(self._digest)
        return len(data)

    def close(self) -> None:
        self._source.close()
        super().close()


def _damaged(digest: Digest) -> Corrupt:
    return Corrupt(f"blob {digest} is damaged", "load, pull or build the images again that use it")


def _copy(stream: IO[bytes], sink: IO[bytes], expected: Digest | None, size_bytes: int | None) -> BlobInfo:
    running = new_hash(expected)
    count = 0
    while chunk := stream.read(CHUNK_BYTES):
        count += len(chunk)
        if size_bytes is not None and count > size_bytes:
            break  # an endless stream must not fill the disk
        running.update(chunk)
        sink.write(chunk)
    name = expected or "a blob"
    if size_bytes is not None and count != size_bytes:
        how = "more" if count > size_bytes else "only " + str(count)
        raise Corrupt(f"{name} should have {size_bytes} bytes and has {how}")
    digest = finish(running, algorithm(expected) if expected else "sha256")
    if expected is not None and digest != expected:
        raise Corrupt(f"{expected} was announced, but the bytes have the digest {digest}")
    return BlobInfo(digest, count)
