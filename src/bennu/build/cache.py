"""Records of steps that ran: by key, the tree that was left, in the store's database.

A record is worth as much as its snapshot: the row goes with it. What was found is marked as used once, at the end of
a build (``touch``). ``keys`` says what a key is; ``solver`` asks here before anything runs.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

import msgspec

from bennu.build.keys import Key
from bennu.digest import Digest
from bennu.store.base import CommittedSnapshot, SnapshotId, Snapshotter
from bennu.store.database import Database


class Found(msgspec.Struct, frozen=True):
    """A recorded result: the identity that it goes by, and its snapshot."""

    identity: Digest
    snapshot: SnapshotId


class StepCache:
    """The records of one root; safe with several builds at once."""

    def __init__(self, database: Database, snapshots: Snapshotter) -> None:
        self._database = database
        self._snapshots = snapshots

    def find(self, key: Digest) -> Found | None:
        """The result recorded under a key, or None."""
        row = self._database.one("SELECT identity, snapshot FROM steps WHERE key = ?", (key,))
        return None if row is None else Found(Digest(row["identity"]), SnapshotId(row["snapshot"]))

    def preimage(self, key: Digest) -> tuple[tuple[str, str], ...]:
        """The fields that a record was made with; none where there is no record."""
        row = self._database.one("SELECT preimage FROM steps WHERE key = ?", (key,))
        return () if row is None else msgspec.json.decode(row["preimage"], type=tuple[tuple[str, str], ...])

    def tree(self, found: Found) -> CommittedSnapshot | None:
        """The tree of a record; None, and the record gone, where its snapshot did not survive."""
        snapshot = self._snapshots.stat(found.snapshot)
        if snapshot is None:
            with self._database.transaction(durable=False) as rows:
                rows.execute("DELETE FROM steps WHERE snapshot = ?", (found.snapshot,))
        return snapshot

    def keep(self, found: Found) -> None:
        """Mark a tree as used now. What is used while a build is under way is not removed, so look only afterwards
        whether it is there: ``tree``.
        """
        with self._database.transaction(durable=False) as rows:
            rows.execute("UPDATE snapshots SET used = ? WHERE id = ?", (time.time(), found.snapshot))

    def record(self, keys: Iterable[Key], identity: Digest, snapshot: SnapshotId, label: str) -> None:
        """Remember a result under its keys. A record that is there is superseded."""
        now = time.time()
        with self._database.transaction(durable=False) as rows:
            rows.executemany(
                "INSERT OR REPLACE INTO steps (key, identity, snapshot, preimage, label, created, used)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (key.digest, identity, snapshot, msgspec.json.encode(key.preimage).decode(), label, now, now)
                    for key in keys
                ],
            )

    def touch(self, keys: Iterable[Digest]) -> None:
        """Mark records, and what they stand on, as used now."""
        now = time.time()
        found = [(now, key) for key in keys]
        with self._database.transaction(durable=False) as rows:
            rows.executemany("UPDATE steps SET used = ? WHERE key = ?", found)
            rows.executemany(
                "UPDATE snapshots SET used = ? WHERE id = (SELECT snapshot FROM steps WHERE key = ?)", found
            )

    def made(self, snapshot: SnapshotId) -> float | None:
        """When a tree was made (Unix seconds), by its oldest record; None if it has none."""
        row = self._database.one("SELECT MIN(created) AS made FROM steps WHERE snapshot = ?", (snapshot,))
        return None if row is None else row["made"]

    def snapshots(self) -> tuple[SnapshotId, ...]:
        """The snapshots that records need: what garbage collection has to leave."""
        return tuple(SnapshotId(row["snapshot"]) for row in self._database.query("SELECT DISTINCT snapshot FROM steps"))
