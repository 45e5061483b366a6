"""Layers: which snapshot is which layer, remembered; layers unpacked once, and made again as streams.

A layer that bennu made needs no bytes of its own: its canonical tar comes out of its snapshot again, and is checked
against its diff_id on the way. One that came from elsewhere keeps the diff_id it came with, though its canonical tar
may differ; ``tree`` in its row is the canonical one's digest, found when somebody asks. ``Images`` keeps the bytes of
such layers. Owns the table ``layers``. See ``differ`` for how trees become tars.
"""

from __future__ import annotations

import fcntl
import io
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cached_property
from typing import IO, TYPE_CHECKING, Final, cast

from bennu.config import Settings
from bennu.digest import Digest, algorithm, encoded
from bennu.errors import Corrupt, Failed, NotFound
from bennu.host import locks
from bennu.oci.image_config import chain_ids
from bennu.store.base import ActiveSnapshot, CommittedSnapshot, LayerInfo, SnapshotId
from bennu.store.database import Database

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

    from bennu.store.differ import OverlayDiffer
    from bennu.store.snapshots import Snapshots

PIPE_BYTES: Final = 1 << 20

OpenLayer = Callable[[Digest], AbstractContextManager[IO[bytes]]]
"""Gives a layer's uncompressed tar by its diff_id."""


class Layers:
    """The ``LayerStore`` of one root."""

    def __init__(self, settings: Settings, database: Database, snapshots: Snapshots) -> None:
        self._settings = settings
        self._database = database
        self._snapshots = snapshots

    @cached_property
    def _differ(self) -> OverlayDiffer:
        from bennu.store.differ import OverlayDiffer  # finding a layer, which is all that a container needs, is cheap

        return OverlayDiffer(self._snapshots)

    def info(self, snapshot: CommittedSnapshot, *, give_up: threading.Event | None = None) -> LayerInfo:
        """What a snapshot is as a layer: remembered, else found by one canonical pass. It counts as used now."""
        self._snapshots.touch(snapshot)
        known = self._known(snapshot.id)
        if known is None:
            known = self._differ.diff(snapshot, None if give_up is None else cast("IO[bytes]", _Watched(give_up)))
            self.record(snapshot, known)
        return known

    def record(self, snapshot: CommittedSnapshot, layer: LayerInfo) -> None:
        """Remember the canonical layer of a snapshot, where whoever made it hashed it in passing."""
        self._remember(snapshot, layer, layer.diff_id)

    def snapshot_of(self, diff_ids: Sequence[Digest]) -> CommittedSnapshot | None:
        """The tree of these layers, the lowest first, or None if it is not all there (or did not survive a crash)."""
        if not diff_ids:
            return None
        query = "SELECT snapshot FROM layers WHERE chain_id = ?"
        for row in self._database.query(query, (chain_ids(diff_ids)[-1],)):
            snapshot = self._snapshots.stat(row["snapshot"])
            if snapshot is not None:
                return snapshot
        return None

    def ensure(self, diff_ids: Sequence[Digest], open_layer: OpenLayer) -> CommittedSnapshot | None:
        """The tree of these layers, the missing ones unpacked from what ``open_layer`` gives. None for no layers."""
        snapshot: CommittedSnapshot | None = None
        for number, diff_id in enumerate(diff_ids, start=1):
            below, snapshot = snapshot, self.snapshot_of(diff_ids[:number])
            if snapshot is None:
                with open_layer(diff_id) as stream:
                    snapshot = self.unpack(stream, below, diff_id)
        return snapshot

    def unpack(self, stream: IO[bytes], parent: CommittedSnapshot | None, expected: Digest) -> CommittedSnapshot:
        """Unpack an uncompressed layer over ``parent`` and remember its diff_id; ``Corrupt`` if it is not ``expected``.

        Where another process is at the same layer, it is waited for, and its snapshot is the answer. Nothing is left
        after an error.
        """
        diff_ids = [*self._diff_ids(parent), expected]
        # the chain_id spreads layers over a few lock files that stay: removing a lock file is a race of its own
        lock = self._settings.locks / f"layers-{encoded(chain_ids(diff_ids)[-1])[:2]}"
        with locks.held(lock, owner=f"pid {os.getpid()} unpacks layer {expected}"):
            present = self.snapshot_of(diff_ids)
            if present is not None:
                self._snapshots.touch(present)
                return present
            active = self._snapshots.prepare(parent)
            try:
                return self._filled(active, stream, expected)
            except BaseException:
                self._snapshots.discard(active)
                raise

    def _filled(self, active: ActiveSnapshot, stream: IO[bytes], expected: Digest) -> CommittedSnapshot:
        layer = self._differ.apply(stream, active, algorithm=algorithm(expected))
        if layer.diff_id != expected:
            raise Corrupt(f"layer {expected} has the content of {layer.diff_id}", "fetch or make it again")
        with self._database.transaction():
            snapshot = self._snapshots.commit(active)
            self._remember(snapshot, layer, None)
        return snapshot

    def is_canonical(self, snapshot: CommittedSnapshot) -> bool:
        """Whether ``open`` gives this layer byte for byte: always for our own, found by one pass for a foreign one."""
        layer = self.info(snapshot)
        row = self._database.one("SELECT tree FROM layers WHERE snapshot = ?", (snapshot.id,))
        tree: str | None = row["tree"] if row else None
        if tree is None:
            tree = self._differ.diff(snapshot).diff_id
            with self._database.transaction() as rows:
                rows.execute("UPDATE layers SET tree = ? WHERE snapshot = ?", (tree, snapshot.id))
        return tree == layer.diff_id

    @contextmanager
    def open(self, diff_id: Digest) -> Iterator[IO[bytes]]:
        """A layer's tar, made again from its snapshot. ``NotFound`` if no snapshot gives these bytes; ``Corrupt`` from
        the last read if the snapshot does not give them any more.
        """
        for row in self._database.query("SELECT snapshot FROM layers WHERE diff_id = ?", (diff_id,)):
            snapshot = self._snapshots.stat(row["snapshot"])
            if snapshot is not None and self.is_canonical(snapshot):
                break
        else:
            raise NotFound(f"layer {diff_id} is not in the store", "load, pull or build its image again")
        with _Stream(self._differ, snapshot, diff_id) as raw, io.BufferedReader(raw, PIPE_BYTES) as stream:
            yield stream

    def _known(self, snapshot: SnapshotId) -> LayerInfo | None:
        row = self._database.one("SELECT diff_id, size_bytes FROM layers WHERE snapshot = ?", (snapshot,))
        return LayerInfo(Digest(row["diff_id"]), row["size_bytes"]) if row else None

    def _remember(self, snapshot: CommittedSnapshot, layer: LayerInfo, tree: Digest | None) -> None:
        parent = CommittedSnapshot(snapshot.parents[0], snapshot.parents[1:]) if snapshot.parents else None
        chain_id = chain_ids([*self._diff_ids(parent), layer.diff_id])[-1]
        with self._database.transaction() as rows:
            # another process may have found the same meanwhile; a snapshot that was removed meanwhile needs no row
            rows.execute(
                "INSERT OR IGNORE INTO layers (snapshot, diff_id, size_bytes, chain_id, tree)"
                " SELECT id, ?, ?, ?, ? FROM snapshots WHERE id = ?",
                (layer.diff_id, layer.size_bytes, chain_id, tree, snapshot.id),
            )

    def _diff_ids(self, snapshot: CommittedSnapshot | None) -> list[Digest]:
        """The layers of a tree, the lowest first."""
        chain = snapshot.chain if snapshot else ()
        lowest_first = (CommittedSnapshot(chain[at], chain[at + 1 :]) for at in reversed(range(len(chain))))
        return [(self._known(each.id) or self.info(each)).diff_id for each in lowest_first]


class _Watched(io.RawIOBase):
    """A sink that takes everything and keeps nothing, until the work is given up."""

    def __init__(self, give_up: threading.Event) -> None:
        super().__init__()
        self._give_up = give_up

    def write(self, data: ReadableBuffer, /) -> int:
        if self._give_up.is_set():
            raise Failed("given up")
        return len(memoryview(data))


class _Stream(io.RawIOBase):
    """The canonical tar of a snapshot, made by a thread while it is read; its end is held back until it is verified."""

    def __init__(self, differ: OverlayDiffer, snapshot: CommittedSnapshot, expected: Digest) -> None:
        super().__init__()
        self._differ = differ
        self._snapshot = snapshot
        self._expected = expected
        self._failure: BaseException | None = None
        self._source, sink = os.pipe2(os.O_CLOEXEC)
        with suppress(PermissionError):  # past the user's limit for pipes: the default size does
            fcntl.fcntl(sink, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._thread = threading.Thread(target=self._run, args=(sink,), name="bennu-layer", daemon=True)
        self._thread.start()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        count = os.readv(self._source, [buffer])
        if count == 0:
            self._thread.join()
            if self._failure is not None:
                raise self._failure
        return count

    def close(self) -> None:
        if not self.closed:
            os.close(self._source)  # the thread's next write fails, and it ends
            self._thread.join()
        super().close()

    def _run(self, sink: int) -> None:
        try:
            with open(sink, "wb", buffering=0) as pipe:
                found = self._differ.diff(self._snapshot, pipe).diff_id
        except BaseException as error:  # noqa: BLE001 - raised again in the reader's thread
            self._failure = error
        else:
            if found != self._expected:
                self._failure = Corrupt(
                    f"layer {self._expected} is damaged in the store: its files give {found}",
                    "load, pull or build its image again",
                )
