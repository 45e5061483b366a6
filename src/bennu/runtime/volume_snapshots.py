"""Snapshots of volumes: taken by the cheapest means that the file system has, kept beside the volume, removed by id.

One lies in ``volumes/<name>/snapshots/<id>`` and has a row once it is whole and on the disk; what has no row is
rubbish of a process that died. A subvolume of btrfs is snapshotted at one stroke; elsewhere files are cloned (xfs,
btrfs, bcachefs, ZFS with block cloning) or copied, in two runs where writers have to wait: ``ahead`` while they still
write, ``finish`` when they do not. Snapshots are never hard links: databases write their files in place. Next:
``volume_restores`` puts one back; ``host.tree_copy`` has the theory of the two runs.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

import msgspec

from bennu.errors import Conflict, NotFound, Unavailable, Unsupported
from bennu.host import btrfs
from bennu.host.files import remove_tree, sync_directory, sync_file_system
from bennu.host.tree_copy import TreeCopy, can_share
from bennu.runtime.volumes import Volume, Volumes
from bennu.store.database import Database

Method = Literal["subvolume", "reflink", "copy", "swap"]

ID_BYTES: Final = 6
PART: Final = ".part"
REPLACED: Final = ".replaced"
"""What a volume held before an archive was restored, as long as somebody who runs has it mounted."""
PROBE_BYTES: Final = 16 << 20
LEAST_BYTES: Final = 4 << 20
"""A snapshot of less than this says nothing of the rate at which data are copied."""
SPARE_BYTES: Final = 64 << 20
FILE_SECONDS: Final[dict[Method, float]] = {"subvolume": 0.0, "swap": 0.0, "reflink": 0.00008, "copy": 0.00012}
FIXED_SECONDS: Final[dict[Method, float]] = {"subvolume": 0.05, "swap": 0.0, "reflink": 0.02, "copy": 0.02}
SHARED_BYTES_PER_SECOND: Final = float(20 << 30)
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_RATES: dict[int, float] = {}


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot as it is recorded; see ``engine.snapshots.VolumeSnapshot`` for the words."""

    id: str
    volume: str
    project: str
    revision: int
    rollout: int
    method: Method
    consistency: str
    files: int
    size_bytes: int
    seconds: float
    created: float


class Size(msgspec.Struct, frozen=True):
    """What a directory holds: entries, and bytes on the disk."""

    files: int
    size_bytes: int


class Cost(msgspec.Struct, frozen=True):
    """What a snapshot would take."""

    method: Method
    size: Size
    seconds: float


class Draft:
    """A snapshot that is being taken. ``ahead`` may be called first; then ``finish`` once; or ``drop``."""

    def __init__(self, volume: Volume, directory: Path, method: Method, lock: int, stopped: Callable[[], bool]) -> None:
        self.id = os.urandom(ID_BYTES).hex()
        self.volume = volume
        self.method = method
        self.seconds = 0.0
        self._directory = directory
        self._lock = lock
        self._part = directory / (self.id + PART)
        self._copy: TreeCopy | None = None
        if method != "subvolume":
            self._part.mkdir(mode=0o700)
            self._copy = TreeCopy(volume.path, self._part, share=method == "reflink", stopped=stopped)

    def ahead(self) -> int:
        """Copy what there is, while it is being written, and have it on the disk; the bytes that were copied."""
        if self.method != "copy" or self._copy is None:
            return 0
        began = time.monotonic()
        done = self._copy.run()
        sync_file_system(self._part)
        self.seconds += time.monotonic() - began
        return done.size_bytes

    def take(self) -> None:
        """Take what the volume holds now, while nobody writes."""
        began = time.monotonic()
        if self._copy is not None:
            self._copy.run()
        elif not btrfs.snapshot_subvolume(self.volume.path, self._part):
            raise Unsupported(f"volume {self.volume.name!r}: btrfs made no snapshot of {str(self.volume.path)!r}")
        self.seconds += time.monotonic() - began

    def keep(self) -> Path:
        """Have it on the disk under its name."""
        sync_file_system(self._part)
        path = self._directory / self.id
        os.rename(self._part, path)
        sync_directory(self._directory)
        return path

    def release(self) -> None:
        """Let go of the lock."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def drop(self) -> None:
        """It is not wanted after all."""
        remove_copy(self._part)
        self.release()


class VolumeSnapshots:
    """The snapshots of all volumes of one root."""

    def __init__(self, volumes: Volumes, database: Database) -> None:
        self._volumes = volumes
        self._database = database

    def method(self, volume: Volume) -> Method:
        """How a volume would be snapshotted. ``Unsupported`` for one that is no directory of the store."""
        if volume.options:
            raise Unsupported(
                f"volume {volume.name!r} cannot be snapshotted: it is on {volume.options.get('device')!r}",
                "take it out of `x-bennu.snapshot`, and snapshot it where it lies",
            )
        if btrfs.is_subvolume(volume.path):
            return "subvolume"
        return "reflink" if can_share(self.directory(volume.name)) else "copy"

    def directory(self, name: str) -> Path:
        """Where the snapshots of a volume lie; made if it is missing."""
        path = self._volumes.place(name) / "snapshots"
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path

    def path(self, snapshot: Snapshot) -> Path:
        """What a snapshot holds."""
        return self._volumes.place(snapshot.volume) / "snapshots" / snapshot.id

    def cost(self, volume: Volume) -> Cost:
        """What a snapshot would take, at the rate of earlier ones, or else at one that is measured now."""
        method, size = self.method(volume), measured(volume.path)
        if method == "subvolume":
            return Cost(method, size, FIXED_SECONDS[method])
        rate = self._rate(volume) if method == "copy" else SHARED_BYTES_PER_SECOND
        seconds = FIXED_SECONDS[method] + size.files * FILE_SECONDS[method] + size.size_bytes / rate
        return Cost(method, size, seconds)

    def _rate(self, volume: Volume) -> float:
        """Bytes a second that a copy makes here."""
        device = os.stat(volume.path).st_dev
        if device not in _RATES:
            row = self._database.one(
                "SELECT SUM(size_bytes) AS size, SUM(seconds) AS seconds FROM (SELECT size_bytes, seconds"
                " FROM volume_snapshots WHERE method = 'copy' AND size_bytes > ? ORDER BY created DESC LIMIT 5)",
                (LEAST_BYTES,),
            )
            known = row is not None and row["seconds"]
            _RATES[device] = row["size"] / row["seconds"] if row and known else _probed(self.directory(volume.name))
        return _RATES[device]

    def begin(self, volume: Volume, *, stopped: Callable[[], bool] = lambda: False) -> Draft:
        """Begin a snapshot; what a dead process had begun of the same volume goes.

        ``Conflict`` where another one is being taken, ``Unavailable`` where the disk has no room for a copy.
        """
        method, directory = self.method(volume), self.directory(volume.name)
        lock = _lock(directory, volume.name)
        try:
            self._sweep(volume.name, directory)
            if method == "copy":
                _refuse_full(volume, directory)
            return Draft(volume, directory, method, lock, stopped)
        except BaseException:
            os.close(lock)
            raise

    def record(self, draft: Draft, *, project: str, revision: int, rollout: int, consistency: str) -> Snapshot:
        """Keep a draft that was taken: from here on it is a snapshot."""
        path = draft.keep()
        size = measured(path)
        made = Snapshot(
            id=draft.id,
            volume=draft.volume.name,
            project=project,
            revision=revision,
            rollout=rollout,
            method=draft.method,
            consistency=consistency,
            files=size.files,
            size_bytes=size.size_bytes,
            seconds=draft.seconds,
            created=time.time(),
        )
        self.add(made)
        draft.release()
        return made

    def add(self, snapshot: Snapshot) -> None:
        """Record a snapshot whose directory is there. It takes the place of another of the same rollout and volume."""
        row = msgspec.structs.asdict(snapshot)
        with self._database.transaction() as rows:
            rows.execute(
                f"INSERT OR REPLACE INTO volume_snapshots ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})",  # noqa: S608
                tuple(row.values()),
            )

    def walk(self, project: str | None = None) -> tuple[Snapshot, ...]:
        """All snapshots, or those of a project, the oldest first."""
        rows = self._database.query("SELECT * FROM volume_snapshots ORDER BY created, id")
        return tuple(_snapshot(row) for row in rows if project in {None, row["project"]})

    def get(self, identity: str) -> Snapshot:
        """A snapshot by its id. ``NotFound``."""
        row = self._database.one("SELECT * FROM volume_snapshots WHERE id = ?", (identity,))
        if row is None:
            raise NotFound(f"snapshot {identity!r} does not exist", "`bennu volume snapshots` lists them")
        return _snapshot(row)

    def is_known(self, identity: str) -> bool:
        """Whether there is a snapshot of an id."""
        return self._database.one("SELECT 1 FROM volume_snapshots WHERE id = ?", (identity,)) is not None

    def of_rollout(self, project: str, rollout: int, volume: str) -> Snapshot | None:
        """What a rollout has taken of a volume."""
        row = self._database.one(
            "SELECT * FROM volume_snapshots WHERE project = ? AND rollout = ? AND volume = ?",
            (project, rollout, volume),
        )
        return None if row is None else _snapshot(row)

    def remove(self, identity: str) -> bool:
        """Remove a snapshot; whether it was there. A removal that was killed is finished by the next ``begin``."""
        row = self._database.one("SELECT * FROM volume_snapshots WHERE id = ?", (identity,))
        if row is None:
            return False
        self.forget(identity)
        remove_copy(self.path(_snapshot(row)))
        return True

    def forget(self, identity: str) -> None:
        """Take a snapshot's row away."""
        with self._database.transaction() as rows:
            rows.execute("DELETE FROM volume_snapshots WHERE id = ?", (identity,))

    def sweep(self, is_used: Callable[[str], bool]) -> int:
        """Remove what dead processes have left; how many there were. Work under way is spared, and what was replaced
        under somebody who runs: ``is_used`` says of a volume whether anybody does.
        """
        count = 0
        for volume in self._volumes.walk():
            directory = self._volumes.place(volume.name) / "snapshots"
            if not directory.is_dir():
                continue
            try:
                lock = _lock(directory, volume.name)
            except Conflict:
                continue
            try:
                spared = REPLACED if is_used(volume.name) else None
                count += self._sweep(volume.name, directory, spared)
            finally:
                os.close(lock)
        return count

    def _sweep(self, name: str, directory: Path, spared: str | None = REPLACED) -> int:
        rows = self._database.query("SELECT id FROM volume_snapshots WHERE volume = ?", (name,))
        restores = self._database.query("SELECT id FROM volume_restores WHERE volume = ?", (name,))
        known = {row["id"] for row in (*rows, *restores)}
        stray = [entry for entry in os.listdir(directory) if entry not in known]
        stray = [entry for entry in stray if spared is None or not entry.endswith(spared)]
        for entry in stray:
            remove_copy(directory / entry)
        return len(stray)

    @contextmanager
    def locked(self, name: str) -> Iterator[Path]:
        """Nobody else takes or sweeps snapshots of a volume for the block; the directory where they lie."""
        directory = self.directory(name)
        lock = _lock(directory, name)
        try:
            yield directory
        finally:
            os.close(lock)


def copy_of(source: Path, target: Path, *, stopped: Callable[[], bool] = lambda: False) -> None:
    """A copy of a snapshot at ``target``, by the cheapest means, and on the disk."""
    if not (btrfs.is_subvolume(source) and btrfs.snapshot_subvolume(source, target)):
        if not btrfs.make_subvolume(target):
            target.mkdir(mode=0o700)
        TreeCopy(source, target, share=can_share(target.parent), stopped=stopped).run()
    sync_file_system(target)


def remove_copy(path: Path) -> None:
    """Remove a snapshot's directory; not an error if it is not there."""
    if not path.exists() or not btrfs.remove_subvolume(path):
        remove_tree(path)


def measured(directory: Path) -> Size:
    """What is in a directory; hard links count once, and of what vanishes meanwhile nothing is said."""
    files = size = 0
    seen: set[tuple[int, int]] = set()
    pending = [os.fspath(directory)]
    while pending:
        try:
            entries = list(os.scandir(pending.pop()))
        except (FileNotFoundError, NotADirectoryError):
            continue
        for entry in entries:
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            files += 1
            if stat.S_ISDIR(status.st_mode):
                pending.append(entry.path)
            elif status.st_nlink > 1:
                if (status.st_dev, status.st_ino) in seen:
                    continue
                seen.add((status.st_dev, status.st_ino))
            size += status.st_blocks * 512
    return Size(files, size)


def _probed(directory: Path) -> float:
    """Bytes a second that can be written there, as they come to the disk."""
    fd = os.open(directory, os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
    try:
        block = os.urandom(1 << 20)
        began = time.monotonic()
        for _ in range(PROBE_BYTES // len(block)):
            os.write(fd, block)
        os.fdatasync(fd)
        return PROBE_BYTES / max(time.monotonic() - began, 1e-6)
    finally:
        os.close(fd)


def _refuse_full(volume: Volume, directory: Path) -> None:
    free, size = os.statvfs(directory), measured(volume.path).size_bytes
    available = free.f_bavail * free.f_frsize
    if available < size + SPARE_BYTES:
        raise Unavailable(
            f"volume {volume.name!r} cannot be snapshotted: a copy takes {size >> 20} MiB and the disk has"
            f" {available >> 20} MiB",
            "make room (`bennu system df`, `bennu gc`), or take it out of `x-bennu.snapshot`",
        )


def _lock(directory: Path, name: str) -> int:
    fd = os.open(directory, _DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(fd)
        raise Conflict(f"volume {name!r} is being snapshotted by another process", "wait for it") from error
    return fd


def _snapshot(row: sqlite3.Row) -> Snapshot:
    return msgspec.convert(dict(row), Snapshot)
