"""What the build cache takes on the disk, and what of it goes when it has to.

The policy. A step's record needs its tree, a tree needs those it stands on. What an image or a container (or another
root of ``store.gc``) stands on is theirs and not the cache's: to forget it would free nothing. The rest, with what
failed steps had done and the cache mounts, is the cache's size, which a limit bounds (``limit``): it is looked at
before a build and after each step. Trees without a record go first (their steps were run again), then those not used
for the longest time, those on top before those below. What work under way has made or used since it began is never
touched (``store.operations``): a build marks a tree as used before it looks whether it is there. ``bennu gc`` takes
nothing that a record needs; ``bennu builder prune`` is for that.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Final, Literal

import msgspec

from bennu.build.cache_mounts import CacheMounts
from bennu.build.failures import Failures
from bennu.build.limit import limit_bytes
from bennu.config import Settings
from bennu.errors import Conflict, NotFound
from bennu.store.base import SnapshotId
from bennu.store.database import Database
from bennu.store.operations import Operations
from bennu.store.snapshots import SnapshotRecord, Snapshots

BY_CONTENT: Final = "found by content"
CLOSE: Final = 2  # no exact look at what takes less than this part of the limit: sizes may be those of tars until then

Kind = Literal["step", "superseded", "failed", "cache-mount"]


class Entry(msgspec.Struct, frozen=True):
    """One tree of the cache, or a cache mount. Times are Unix seconds; ``used`` counts what stands on it too.

    ``is_shared``: an image or something else stands on it, so that it takes no room of the cache's. ``is_busy``: work
    under way has made or used it. A tree without a record is ``superseded`` (its step was run again since), or what a
    ``failed`` step had done.
    """

    id: str
    label: str
    kind: Kind
    size_bytes: int
    created: float
    used: float
    is_shared: bool
    is_busy: bool

    @property
    def is_reclaimable(self) -> bool:
        """To remove it would free its bytes."""
        return not (self.is_shared or self.is_busy)


class Pruned(msgspec.Struct, frozen=True):
    """What went: trees, and records of steps whose trees stay because images stand on them."""

    entries: tuple[Entry, ...]
    forgotten: tuple[Entry, ...] = ()

    @property
    def size_bytes(self) -> int:
        """The bytes that were freed."""
        return sum(entry.size_bytes for entry in self.entries)


class CacheStorage:
    """The build cache of one root. ``others``: the snapshots that something else than the cache needs."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        snapshots: Snapshots,
        operations: Operations,
        *,
        failures: Failures,
        others: Callable[[], set[SnapshotId]],
    ) -> None:
        self._settings = settings
        self._database = database
        self._snapshots = snapshots
        self._operations = operations
        self._failures = failures
        self._mounts = CacheMounts(settings)
        self._others = others

    def entries(self) -> list[Entry]:
        """Every tree and cache mount, in the order in which they go."""
        return self._entries(self._operations.horizon())

    def _entries(self, horizon: float) -> list[Entry]:
        others = self._others()
        catalogue = self._snapshots.catalogue()
        labels = self._labels()
        failed = {each.id: each.label for each in self._failures.walk()}
        used = _latest(catalogue, {record.id: record.used for record in catalogue})
        known = {record.id: record.used for record in catalogue if record.id in labels or record.id in failed}
        latest = _latest(catalogue, {record.id: known.get(record.id, 0.0) for record in catalogue})
        rank = {str(name): used_at for name, used_at in latest.items()}
        found = [
            Entry(
                id=record.id,
                label=labels.get(record.id) or failed.get(record.id) or "superseded",
                kind="step" if record.id in labels else "failed" if record.id in failed else "superseded",
                size_bytes=self._snapshots.measure(record.id) if record.size_bytes is None else record.size_bytes,
                created=record.created,
                used=used[record.id],
                is_shared=record.id in others,
                is_busy=used[record.id] >= horizon,
            )
            for record in reversed(catalogue)
            if record.id in labels or record.id not in others
        ]
        found += self._mount_entries()
        return sorted(found, key=lambda entry: rank.get(entry.id, entry.used))  # stable: what is on top comes first

    def _mount_entries(self) -> Iterator[Entry]:
        for mount in self._mounts.walk():
            yield Entry(
                id=mount.name,
                label=f"cache mount {mount.id}",
                kind="cache-mount",
                size_bytes=mount.size_bytes,
                created=mount.created,
                used=mount.used,
                is_shared=False,
                is_busy=mount.is_busy,
            )

    def _labels(self) -> dict[SnapshotId, str]:
        """The label of each tree that a record needs: that of the step that made it."""
        labels: dict[SnapshotId, str] = {}
        for row in self._database.query("SELECT snapshot, label FROM steps ORDER BY created"):
            known = labels.get(row["snapshot"], BY_CONTENT)
            labels[SnapshotId(row["snapshot"])] = row["label"] if known == BY_CONTENT else known
        return labels

    def prune(
        self,
        *,
        keep_bytes: int = 0,
        unused_since: float | None = None,
        kinds: Collection[Kind] = (),
        shared: bool = False,
        dry_run: bool = False,
    ) -> Pruned:
        """Remove entries until the cache takes at most ``keep_bytes``, only of ``kinds`` (none: all), and only what was
        not used since ``unused_since``.

        ``shared``: forget the records of steps that images stand on, too.
        """
        horizon = self._operations.horizon()
        before = horizon if unused_since is None else min(horizon, unused_since)
        entries = self._entries(horizon)
        total = sum(entry.size_bytes for entry in entries if not entry.is_shared)
        chosen = [entry for entry in entries if entry.used < before and (not kinds or entry.kind in kinds)]
        gone: list[Entry] = []
        for entry in chosen:
            if total <= keep_bytes:
                break
            if not entry.is_shared and (dry_run or self._remove(entry, horizon)):
                gone.append(entry)
                total -= entry.size_bytes
        forgotten = [entry for entry in chosen if shared and entry.is_shared]
        if not dry_run:
            self._forget(forgotten)
            self._failures.sweep()
        return Pruned(tuple(gone), tuple(forgotten))

    def _remove(self, entry: Entry, horizon: float) -> bool:
        """The records of a tree go with it."""
        with suppress(Conflict, NotFound):  # something has begun to stand on it, or to use it
            if entry.kind == "cache-mount":
                self._mounts.remove(entry.id)
                return True
            snapshot = self._snapshots.stat(SnapshotId(entry.id))
            if snapshot is not None:
                self._snapshots.remove(snapshot, unused_since=horizon)
                return True
        return False

    def _forget(self, entries: Iterable[Entry]) -> None:
        with self._database.transaction(durable=False) as rows:
            rows.executemany("DELETE FROM steps WHERE snapshot = ?", [(entry.id,) for entry in entries])

    def mount_bytes(self) -> int:
        """What the cache mounts take."""
        return sum(mount.size_bytes for mount in self._mounts.walk())

    def allowance(self) -> Allowance:
        """The limit of this root, for one build."""
        return Allowance(self._settings, self._snapshots, self)


class Allowance:
    """Keeps the cache within its limit while a build goes on. ``limit_bytes`` None: there is none."""

    def __init__(self, settings: Settings, snapshots: Snapshots, storage: CacheStorage) -> None:
        self._place = settings.root
        self._snapshots = snapshots
        self._storage = storage
        self._lock = threading.Lock()
        self.limit_bytes = limit_bytes(settings.build_cache_limit, self._file_system()[0])
        self._taken = 0
        self._free = 0

    def enforce(self) -> None:
        """Make room where more than the limit is taken."""
        if self.limit_bytes is None:
            return
        with self._lock:
            self._taken = self._about()
            if self._taken > self.limit_bytes // CLOSE:
                self._storage.prune(keep_bytes=self.limit_bytes)
                self._taken = self._about()
            self._free = self._file_system()[1]

    def after_step(self) -> None:
        """Look again, unless all that was written to the file system since the last look cannot have been too much."""
        if self.limit_bytes is None:
            return
        written = max(self._free - self._file_system()[1], 0)
        if self._taken + written > self.limit_bytes:
            self.enforce()

    def _about(self) -> int:
        """What the cache takes, as far as it is cheap to know: what is an image's layer counts by the size of its tar
        until it was measured.
        """
        total = self._storage.mount_bytes()
        for record in self._snapshots.catalogue():
            if not record.in_image:
                known = record.tar_bytes if record.size_bytes is None else record.size_bytes
                total += self._snapshots.measure(record.id) if known is None else known
        return total

    def _file_system(self) -> tuple[int, int]:
        """The size of the file system, and what is free of it, in bytes."""
        self._place.mkdir(parents=True, exist_ok=True)
        status = os.statvfs(self._place)
        return status.f_blocks * status.f_frsize, status.f_bavail * status.f_frsize


def _latest(catalogue: Iterable[SnapshotRecord], times: Mapping[SnapshotId, float]) -> dict[SnapshotId, float]:
    """The time of each snapshot, or a later one of what stands on it."""
    latest = dict(times)
    for record in reversed(list(catalogue)):  # children first
        if record.parent is not None:
            latest[record.parent] = max(latest[record.parent], latest[record.id])
    return latest
