"""A ``Snapshotter`` of plain directories: every snapshot is a whole tree of its own, so nothing is ever mounted.

For tests that need trees without root. ``mounts`` gives a ``Bind``, whose source can be used as it is.
"""

from __future__ import annotations

import itertools
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from bennu.errors import Conflict, NotFound
from bennu.host.mounts import FREE, READONLY, Bind, Mount
from bennu.store.base import ActiveSnapshot, CommittedSnapshot, SnapshotId


class PlainSnapshots:
    """The contract in memory and plain copies, for one process."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self._active: dict[SnapshotId, ActiveSnapshot] = {}
        self._committed: dict[SnapshotId, CommittedSnapshot] = {}
        self._used: dict[SnapshotId, float] = {}
        self._numbers = itertools.count(1)

    def directory(self, snapshot: ActiveSnapshot | CommittedSnapshot) -> Path:
        return self._base / snapshot.id

    def prepare(self, parent: CommittedSnapshot | None) -> ActiveSnapshot:
        if parent is not None and parent.id not in self._committed:
            raise NotFound(f"snapshot {parent.id!r} does not exist any more")
        active = ActiveSnapshot(SnapshotId(f"s{next(self._numbers)}"), parent.chain if parent else ())
        if parent is None:
            self.directory(active).mkdir(parents=True)
            self.directory(active).chmod(0o755)
        else:
            shutil.copytree(self.directory(parent), self.directory(active), symlinks=True)
        self._active[active.id] = active
        return active

    def mounts(self, snapshot: ActiveSnapshot | CommittedSnapshot, *, readonly: bool = False) -> Mount:
        frozen = readonly or isinstance(snapshot, CommittedSnapshot)
        return Bind(self.directory(snapshot), access=READONLY if frozen else FREE)

    def writable(self, parent: CommittedSnapshot, upper: str, work: str) -> Mount:
        shutil.copytree(self.directory(parent), upper, symlinks=True, dirs_exist_ok=True)
        return Bind(Path(upper))

    def commit(self, active: ActiveSnapshot) -> CommittedSnapshot:
        if self._active.pop(active.id, None) is None:
            raise Conflict(f"snapshot {active.id!r} is not active any more")
        snapshot = CommittedSnapshot(active.id, active.parents)
        self._committed[snapshot.id] = snapshot
        self.touch(snapshot)
        return snapshot

    def discard(self, active: ActiveSnapshot) -> None:
        if self._active.pop(active.id, None) is not None:
            shutil.rmtree(self.directory(active))

    def stat(self, snapshot_id: SnapshotId) -> CommittedSnapshot | None:
        return self._committed.get(snapshot_id)

    def touch(self, snapshot: CommittedSnapshot) -> None:
        self._used[snapshot.id] = time.time()

    def remove(self, snapshot: CommittedSnapshot, *, unused_since: float | None = None) -> None:
        if snapshot.id not in self._committed:
            return
        if any(snapshot.id in each.parents for each in (*self._active.values(), *self._committed.values())):
            raise Conflict(f"snapshot {snapshot.id!r} has others standing on it")
        if unused_since is not None and self._used[snapshot.id] >= unused_since:
            raise Conflict(f"snapshot {snapshot.id!r} has just been used")
        del self._committed[snapshot.id]
        shutil.rmtree(self.directory(snapshot))

    def walk(self) -> Iterator[CommittedSnapshot]:
        yield from list(self._committed.values())

    def recent(self, since: float) -> Iterator[CommittedSnapshot]:
        yield from [each for each in self._committed.values() if self._used[each.id] >= since]

    def sync(self) -> None:
        pass

    def sweep(self) -> int:
        return 0
