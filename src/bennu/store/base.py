"""The store's contracts: what blobs, snapshots and layers are, and what survives a crash.

Everything follows one pattern: write under ``Settings.temporary``, make it durable, then one transaction or one
rename makes it visible. What a crash leaves half-made is never referenced, and ``gc`` sweeps it. Implementations:
``blobs``, ``snapshots``, ``differ``; conformance suites under ``tests/conformance`` run over each of them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, NewType, Protocol

import msgspec

from bennu.digest import Digest
from bennu.host.mounts import Mount

SnapshotId = NewType("SnapshotId", str)


class BlobInfo(msgspec.Struct, frozen=True):
    """A stored blob: its digest and its size in bytes."""

    digest: Digest
    size_bytes: int


class BlobStore(Protocol):
    """Bytes by their digest. A blob is visible only whole, verified and durable, and never changes."""

    def open(self, digest: Digest) -> AbstractContextManager[IO[bytes]]:
        """The blob's bytes. ``NotFound`` if absent; ``Corrupt`` at the end if they do not have this digest."""
        ...

    def read(self, digest: Digest) -> bytes:
        """A small blob whole, verified. ``NotFound``, ``Corrupt``."""
        ...

    def ingest(self, stream: IO[bytes], *, expected: Digest | None = None, size_bytes: int | None = None) -> BlobInfo:
        """Store what a stream yields: write, hash in the same pass, fsync, rename. Storing a blob again is not an
        error.

        ``Corrupt`` if digest or size differ from what was expected; then nothing is stored. A crash leaves a
        temporary file.
        """
        ...

    def write(self, data: bytes) -> BlobInfo:
        """Store bytes."""
        ...

    def stat(self, digest: Digest) -> BlobInfo | None:
        """A blob's size, or None if it is absent. Reads no content."""
        ...

    def touch(self, digest: Digest) -> bool:
        """Mark a blob as used now; whether it is there. Call it instead of storing again what should be there."""
        ...

    def walk(self) -> Iterator[BlobInfo]:
        """Every blob, in no order."""
        ...

    def delete(self, digest: Digest) -> None:
        """Remove a blob; not an error if it is absent. Only garbage collection calls this."""
        ...

    def spared(self) -> AbstractContextManager[None]:
        """No blob is swept while the block runs: for the instant between storing one and referring to it."""
        ...

    def sweep(
        self, keep: Callable[[], Collection[Digest]], *, unused_since: float, dry_run: bool = False
    ) -> list[BlobInfo]:
        """Remove the blobs that are not in ``keep()`` and were last stored or touched before ``unused_since``.

        ``keep`` is called when nobody is spared or storing any more. Returns those removed, or with ``dry_run`` those
        that would be. Atomic towards ``ingest``, ``touch`` and ``spared``.
        """
        ...


class ActiveSnapshot(msgspec.Struct, frozen=True):
    """A directory tree that is being written. Not a parent of anything, by its type.

    ``parents``: committed snapshots under it, nearest first.
    """

    id: SnapshotId
    parents: tuple[SnapshotId, ...]


class CommittedSnapshot(msgspec.Struct, frozen=True):
    """A directory tree that will never change. ``parents`` as in ``ActiveSnapshot``; ``chain`` includes itself."""

    id: SnapshotId
    parents: tuple[SnapshotId, ...]

    @property
    def chain(self) -> tuple[SnapshotId, ...]:
        """The snapshots whose overlay is this tree, topmost first."""
        return (self.id, *self.parents)


class Snapshotter(Protocol):
    """Directory trees, each the difference to its parent, kept as overlayfs upper directories.

    It describes mounts and never mounts. Usage: ``prepare``, mount what ``mounts`` describes, write, unmount,
    ``commit``; or ``discard``. A crash before ``commit`` leaves an active snapshot, whose process is recorded; ``gc``
    removes it when that process is dead. A snapshot committed but not yet synced carries the boot it was made in;
    after another boot it counts only once its content was found equal to its recorded diff_id.
    """

    def prepare(self, parent: CommittedSnapshot | None) -> ActiveSnapshot:
        """A new tree over ``parent`` (None: empty)."""
        ...

    def directory(self, snapshot: ActiveSnapshot | CommittedSnapshot) -> Path:
        """The snapshot's own directory: all that it adds over its parents, in overlayfs's form.

        An active one may be written here directly while it is not mounted, which is faster than through its mount.
        """
        ...

    def mounts(self, snapshot: ActiveSnapshot | CommittedSnapshot, *, readonly: bool = False) -> Mount:
        """How to see a snapshot: read-write for an active one (volatile), read-only for a committed one.

        The only child of nothing (an active snapshot without parents) is a bind of its own directory.
        """
        ...

    def writable(self, parent: CommittedSnapshot, upper: str, work: str) -> Mount:
        """An overlay of a committed snapshot with an upper directory that the caller owns (a replica's)."""
        ...

    def commit(self, active: ActiveSnapshot) -> CommittedSnapshot:
        """Freeze an active snapshot, which must not be mounted. ``Conflict`` if it is not active any more.

        Cheap: nothing waits for the disk. Whoever is about to name it in something durable calls ``sync`` first.
        """
        ...

    def discard(self, active: ActiveSnapshot) -> None:
        """Throw an active snapshot away, its files included. Not an error if it is gone."""
        ...

    def stat(self, snapshot_id: SnapshotId) -> CommittedSnapshot | None:
        """A committed snapshot, or None if there is none of that id (or it did not survive a crash)."""
        ...

    def touch(self, snapshot: CommittedSnapshot) -> None:
        """Mark a snapshot as used now. Call it (or ``LayerStore.info``) where work under way found what it needs."""
        ...

    def remove(self, snapshot: CommittedSnapshot, *, unused_since: float | None = None) -> None:
        """Remove a committed snapshot. For garbage collection only.

        ``Conflict`` while another one stands on it, or if it was used after ``unused_since`` (Unix seconds).
        """
        ...

    def walk(self) -> Iterator[CommittedSnapshot]:
        """Every committed snapshot, parents before children."""
        ...

    def recent(self, since: float) -> Iterator[CommittedSnapshot]:
        """Those committed or touched since a moment (Unix seconds); work under way may be about to refer to them."""
        ...

    def sync(self) -> None:
        """Make every snapshot committed before this call durable, whatever process committed it."""
        ...

    def sweep(self) -> int:
        """Remove what crashes left, and say how much; safe beside everything else. For garbage collection."""
        ...


class LayerInfo(msgspec.Struct, frozen=True):
    """A layer as one tar stream, not compressed: its diff_id and its size in bytes."""

    diff_id: Digest
    size_bytes: int


class Differ(Protocol):
    """Snapshots to layers and back. The tar of a snapshot is canonical: the same tree gives the same bytes, always."""

    def diff(self, snapshot: CommittedSnapshot, sink: IO[bytes] | None = None) -> LayerInfo:
        """The layer that a snapshot is over its parent, written to ``sink`` if there is one.

        Read from the upper directory alone: whiteout devices become ``.wh.NAME``, opaque directories ``.wh..wh..opq``
        (OCI image specification, layer.md). A directory is opaque there only where it hides something of the parents.
        """
        ...

    def apply(self, stream: IO[bytes], active: ActiveSnapshot) -> LayerInfo:
        """Unpack an uncompressed layer into an active snapshot's own directory; ``Corrupt`` for a malformed archive.

        Entries resolve inside the snapshot whatever their names and links say. The inverse of ``diff``.
        """
        ...


class LayerStore(Protocol):
    """Which snapshot is which layer. Whoever keeps an image asks here for its layers, whoever runs one for its tree."""

    def info(self, snapshot: CommittedSnapshot, *, give_up: threading.Event | None = None) -> LayerInfo:
        """What a snapshot is as a layer: remembered, else found by one canonical pass. A foreign one keeps its own.

        ``Failed`` once ``give_up`` is set, in the midst of the pass too.
        """
        ...

    def snapshot_of(self, diff_ids: Sequence[Digest]) -> CommittedSnapshot | None:
        """The tree of these layers, the lowest first, or None if it is not all there (or did not survive a crash)."""
        ...

    def open(self, diff_id: Digest) -> AbstractContextManager[IO[bytes]]:
        """A layer's tar, made again from its snapshot. ``NotFound`` if no snapshot gives these bytes."""
        ...

    def unpack(self, stream: IO[bytes], parent: CommittedSnapshot | None, expected: Digest) -> CommittedSnapshot:
        """Unpack an uncompressed layer over ``parent`` and remember its diff_id; ``Corrupt`` if it is not ``expected``.

        Nothing is left of it after an error.
        """
        ...

    def is_canonical(self, snapshot: CommittedSnapshot) -> bool:
        """Whether ``open`` gives this layer byte for byte: always for our own, found by one pass for a foreign one."""
        ...
