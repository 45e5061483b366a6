"""Snapshots as overlayfs upper directories: ``snapshots/<id>/fs`` on disk, one row each in SQLite.

The row comes first and goes last: ``prepare`` inserts it before it makes the directory, removal deletes it before the
files go. So a directory without a row is always rubbish, and no kill at any instruction loses more than that.
``commit`` is one UPDATE and waits for no disk. What it promises after a power cut is decided later: ``sync`` makes
everything committed so far durable at once, and what was not synced counts after another boot only where its content
is still the layer that was recorded for it. Refuses to mount; see ``host.mounts``, then ``differ`` and ``layers``.
"""

from __future__ import annotations

import math
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from bennu.config import Settings
from bennu.errors import BennuError, Conflict, NotFound
from bennu.host.files import disk_usage, remove_tree, sync_file_system
from bennu.host.mounts import FREE, READONLY, Bind, Mount, Overlay
from bennu.host.process import boot_id, is_alive, start_time
from bennu.store.base import ActiveSnapshot, CommittedSnapshot, SnapshotId
from bennu.store.database import Database

ID_BYTES: Final = 8
ROOT_MODE: Final = 0o755

_CHAIN: Final = """
WITH RECURSIVE chain (id, parent, state, boot, depth) AS (
    SELECT id, parent, state, boot, 0 FROM snapshots WHERE id = ?
    UNION ALL
    SELECT s.id, s.parent, s.state, s.boot, depth + 1 FROM snapshots s JOIN chain ON s.id = chain.parent
)
SELECT id, state, boot FROM chain ORDER BY depth
"""


class SnapshotRecord(msgspec.Struct, frozen=True):
    """A committed snapshot as the database knows it. ``size_bytes`` is measured on the disk, ``tar_bytes`` is its
    layer's size; either is None while unknown. ``in_image``: it is a layer of an image.
    """

    id: SnapshotId
    parent: SnapshotId | None
    created: float
    used: float
    size_bytes: int | None
    tar_bytes: int | None
    in_image: bool


class Snapshots:
    """The overlay ``Snapshotter`` of one root. ``boot`` is the running boot's identity, unless a test says another."""

    def __init__(self, settings: Settings, database: Database, *, boot: str | None = None) -> None:
        self._settings = settings
        self._database = database
        self._boot = boot or boot_id()

    def directory(self, snapshot: ActiveSnapshot | CommittedSnapshot) -> Path:
        """The snapshot's own directory: what it adds over its parents, in overlayfs's form."""
        return self._settings.snapshots / snapshot.id / "fs"

    def prepare(self, parent: CommittedSnapshot | None) -> ActiveSnapshot:
        """A new tree over ``parent`` (None: empty). ``NotFound`` if the parent was removed meanwhile."""
        active = ActiveSnapshot(SnapshotId(os.urandom(ID_BYTES).hex()), parent.chain if parent else ())
        with self._database.transaction(durable=False) as rows:
            if parent is not None:
                query = "SELECT 1 FROM snapshots WHERE id = ? AND state = 'committed'"
                if rows.execute(query, (parent.id,)).fetchone() is None:
                    raise NotFound(f"snapshot {parent.id!r} does not exist any more")
            now = time.time()
            rows.execute(
                "INSERT INTO snapshots (id, parent, state, owner, boot, created, used) VALUES (?,?,'active',?,?,?,?)",
                (active.id, parent.id if parent else None, _this_process(), self._boot, now, now),
            )
        try:
            self._make_directories(active, parent)
        except BaseException:
            self.discard(active)
            raise
        return active

    def _make_directories(self, active: ActiveSnapshot, parent: CommittedSnapshot | None) -> None:
        own = self.directory(active)
        # setuid programs lie in here: no other user of the host may come near them
        own.parent.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        own.parent.mkdir(mode=0o700)
        own.mkdir()
        if parent is None:
            os.chmod(own, ROOT_MODE)  # whatever the umask
            return
        (own.parent / "work").mkdir()
        _copy_root(self.directory(parent), own)

    def mounts(self, snapshot: ActiveSnapshot | CommittedSnapshot, *, readonly: bool = False) -> Mount:
        """How to see a snapshot: read-write for an active one (volatile), read-only for a committed one."""
        own = self.directory(snapshot)
        frozen = readonly or isinstance(snapshot, CommittedSnapshot)
        access = READONLY if frozen else FREE
        if not snapshot.parents:
            return Bind(own, access=access)
        lowers = self._lowers(snapshot.parents)
        if isinstance(snapshot, CommittedSnapshot):
            return Overlay((own, *lowers), access=access)
        return Overlay(lowers, upper=own, work=own.parent / "work", volatile=True, access=access)

    def writable(self, parent: CommittedSnapshot, upper: str, work: str) -> Mount:
        """An overlay of a committed snapshot with an upper directory that the caller owns (a replica's)."""
        return Overlay(self._lowers(parent.chain), upper=Path(upper), work=Path(work))

    def _lowers(self, chain: tuple[SnapshotId, ...]) -> tuple[Path, ...]:
        return tuple(self._settings.snapshots / one / "fs" for one in chain)

    def commit(self, active: ActiveSnapshot) -> CommittedSnapshot:
        """Freeze an active snapshot, which must not be mounted. ``Conflict`` if it is not active any more.

        Survives the end of every process; a power cut only after ``sync``, or where its layer was recorded.
        """
        with self._database.transaction(durable=False) as rows:
            update = "UPDATE snapshots SET state = 'committed', boot = ?, used = ? WHERE id = ? AND state = 'active'"
            if rows.execute(update, (self._boot, time.time(), active.id)).rowcount != 1:
                raise Conflict(f"snapshot {active.id!r} is not active any more")
        self._remove_work(active.id)
        return CommittedSnapshot(active.id, active.parents)

    def discard(self, active: ActiveSnapshot) -> None:
        """Throw an active snapshot away, its files included. Not an error if it is gone."""
        with self._database.transaction(durable=False) as rows:
            deleted = rows.execute("DELETE FROM snapshots WHERE id = ? AND state = 'active'", (active.id,)).rowcount
        if deleted:
            self._remove_files(active.id)

    def stat(self, snapshot_id: SnapshotId) -> CommittedSnapshot | None:
        """A committed snapshot, or None if there is none of that id (or it did not survive a crash)."""
        chain = self._database.query(_CHAIN, (snapshot_id,))
        if not chain or chain[0]["state"] != "committed":
            return None
        ids = tuple(SnapshotId(row["id"]) for row in chain)
        for at in reversed(range(len(ids))):
            if chain[at]["boot"] not in {None, self._boot} and not self._survived(
                CommittedSnapshot(ids[at], ids[at + 1 :])
            ):
                return None
        return CommittedSnapshot(ids[0], ids[1:])

    def catalogue(self) -> list[SnapshotRecord]:
        """What is known of every committed snapshot, parents before children, without a look at the disk."""
        query = """
            SELECT s.id, s.parent, s.created, s.used, s.size_bytes, l.size_bytes AS tar_bytes,
                EXISTS (SELECT 1 FROM image_layers i WHERE i.chain_id = l.chain_id) AS in_image
            FROM snapshots s LEFT JOIN layers l ON l.snapshot = s.id WHERE s.state = 'committed' ORDER BY s.rowid
        """
        return [
            SnapshotRecord(**{**dict(row), "in_image": bool(row["in_image"])}) for row in self._database.query(query)
        ]

    def measure(self, snapshot_id: SnapshotId) -> int:
        """The bytes that a committed snapshot's own files take on the disk, for ``catalogue`` to remember."""
        size_bytes = disk_usage(self._settings.snapshots / snapshot_id)
        with self._database.transaction(durable=False) as rows:
            rows.execute("UPDATE snapshots SET size_bytes = ? WHERE id = ?", (size_bytes, snapshot_id))
        return size_bytes

    def touch(self, snapshot: CommittedSnapshot) -> None:
        """Mark a snapshot as used now, so that ``recent`` gives it, and what stands under it."""
        with self._database.transaction(durable=False) as rows:
            rows.execute("UPDATE snapshots SET used = ? WHERE id = ?", (time.time(), snapshot.id))

    def remove(self, snapshot: CommittedSnapshot, *, unused_since: float | None = None) -> None:
        """Remove a committed snapshot; ``Conflict`` while another one stands on it, or if it was used after
        ``unused_since`` (Unix seconds). For garbage collection only.
        """
        try:
            with self._database.transaction() as rows:
                deleted = rows.execute(
                    "DELETE FROM snapshots WHERE id = ? AND state = 'committed' AND used < ?",
                    (snapshot.id, math.inf if unused_since is None else unused_since),
                ).rowcount
                if not deleted and rows.execute("SELECT 1 FROM snapshots WHERE id = ?", (snapshot.id,)).fetchone():
                    raise Conflict(f"snapshot {snapshot.id!r} has just been used")
        except sqlite3.IntegrityError as error:
            raise Conflict(f"snapshot {snapshot.id!r} has others standing on it") from error
        self._remove_files(snapshot.id)

    def walk(self) -> Iterator[CommittedSnapshot]:
        """Every committed snapshot that counts, parents before children."""
        for row in self._database.query("SELECT id FROM snapshots WHERE state = 'committed' ORDER BY rowid"):
            snapshot = self.stat(SnapshotId(row["id"]))
            if snapshot is not None:
                yield snapshot

    def recent(self, since: float) -> Iterator[CommittedSnapshot]:
        """Those committed since a moment (Unix seconds)."""
        query = "SELECT id FROM snapshots WHERE state = 'committed' AND used >= ?"
        found = (self.stat(SnapshotId(row["id"])) for row in self._database.query(query, (since,)))
        yield from (snapshot for snapshot in found if snapshot is not None)

    def sync(self) -> None:
        """Wait until every snapshot committed before this call is on the disk, whatever process committed it."""
        query = "SELECT id FROM snapshots WHERE state = 'committed' AND boot = ?"
        pending = [row["id"] for row in self._database.query(query, (self._boot,))]
        if not pending:
            return
        sync_file_system(self._settings.snapshots)
        with self._database.transaction() as rows:
            rows.executemany("UPDATE snapshots SET boot = NULL WHERE id = ?", [(one,) for one in pending])

    def sweep(self) -> int:
        """Remove what crashes left: actives of dead processes, snapshots that did not survive, files without a row.

        Returns how many snapshots and stray directories went. Safe beside everything else at any time.
        """
        present = os.listdir(self._settings.snapshots) if self._settings.snapshots.exists() else []
        # what was listed had its row before its directory: without a row now, it is rubbish
        rows = self._database.query("SELECT id, state, owner, boot FROM snapshots ORDER BY rowid DESC")
        known = {row["id"] for row in rows}
        doomed = [name for name in present if name not in known]
        for row in rows:
            if row["state"] == "active":
                lives = self._owner_lives(row["owner"], row["boot"])
            else:
                lives = self.stat(row["id"]) is not None
                self._remove_work(row["id"])
            if not lives:
                doomed += self._forget(row["id"])
        for name in doomed:
            self._remove_files(name)
        return len(doomed)

    def sweep_abandoned(self) -> None:
        """Remove what dead processes were writing: the part of ``sweep`` that costs next to nothing."""
        for row in self._database.query("SELECT id, owner, boot FROM snapshots WHERE state = 'active'"):
            if not self._owner_lives(row["owner"], row["boot"]):
                for name in self._forget(row["id"]):
                    self._remove_files(name)

    def _survived(self, snapshot: CommittedSnapshot) -> bool:
        """Whether the files that another boot left unsynced still are the recorded layer; then they are durable."""
        from bennu.store.differ import OverlayDiffer

        row = self._database.one("SELECT tree FROM layers WHERE snapshot = ?", (snapshot.id,))
        if row is None or row["tree"] is None or not self.directory(snapshot).is_dir():
            return False
        try:
            whole = OverlayDiffer(self).diff(snapshot).diff_id == str(row["tree"])
        except (BennuError, OSError):  # what a crash cut off reads as anything
            return False
        if whole:
            with self._database.transaction() as rows:
                rows.execute("UPDATE snapshots SET boot = NULL WHERE id = ?", (snapshot.id,))
        return whole

    def _forget(self, snapshot_id: str) -> list[str]:
        with suppress(sqlite3.IntegrityError), self._database.transaction() as rows:  # a live child keeps it
            if rows.execute("DELETE FROM snapshots WHERE id = ?", (snapshot_id,)).rowcount:
                return [snapshot_id]
        return []

    def _owner_lives(self, owner: str, boot: str | None) -> bool:
        pid, _, started = owner.partition(":")
        return boot == self._boot and is_alive(int(pid), int(started))

    def _remove_work(self, snapshot_id: str) -> None:
        remove_tree(self._settings.snapshots / snapshot_id / "work")

    def _remove_files(self, snapshot_id: str) -> None:
        self._settings.temporary.mkdir(parents=True, exist_ok=True)
        grave = self._settings.temporary / f"snapshot-{snapshot_id}-{os.getpid()}-{os.urandom(4).hex()}"
        with suppress(FileNotFoundError):  # another process was first
            os.rename(self._settings.snapshots / snapshot_id, grave)
            remove_tree(grave)


def _this_process() -> str:
    return f"{os.getpid()}:{start_time(os.getpid())}"


def _copy_root(source: Path, target: Path) -> None:
    # overlayfs shows the upper directory's own owner, mode and attributes as those of "/"
    status = os.stat(source)
    os.chown(target, status.st_uid, status.st_gid)
    os.chmod(target, status.st_mode & 0o7777)
    for name in os.listxattr(source):
        if not name.startswith("trusted.overlay."):
            os.setxattr(target, name, os.getxattr(source, name))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
