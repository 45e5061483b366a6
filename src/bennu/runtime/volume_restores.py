"""Putting the data of a snapshot back into a volume, at one stroke, so that it can be undone at one stroke.

``stage`` makes a copy of the snapshot beside the volume, in the place of a snapshot to be; ``swap`` exchanges the two
directories (renameat2 with RENAME_EXCHANGE): what the volume held lies there then, and *is* a snapshot, with no byte
copied. ``back`` exchanges them again. Which of the two is in the volume is said by an attribute of the staged
directory, which only root sees, and not by a row: so it is right after a crash at any point. Whoever has the volume
mounted goes on with the directory that was there, so all of them have to be stopped before.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from bennu.errors import NotFound
from bennu.host import syscalls
from bennu.host.files import sync_directory
from bennu.runtime.volume_snapshots import ID_BYTES, Snapshot, VolumeSnapshots, copy_of, measured, remove_copy
from bennu.runtime.volumes import Volume, Volumes
from bennu.store.database import Database

MARK: Final = "trusted.bennu.staged"


class Restore(msgspec.Struct, frozen=True, kw_only=True):
    """Data that are being put back: ``id`` is that of the snapshot which the present data become."""

    id: str
    volume: str
    project: str
    revision: int
    rollout: int
    snapshot: str


class VolumeRestores:
    """The restores of all volumes of one root. Safe to repeat after a crash."""

    def __init__(self, volumes: Volumes, snapshots: VolumeSnapshots, database: Database) -> None:
        self._volumes = volumes
        self._snapshots = snapshots
        self._database = database

    def stage(
        self,
        volume: str,
        snapshot: str,
        *,
        project: str,
        revision: int,
        rollout: int,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        """Make the data of a snapshot ready beside a volume. ``NotFound`` for a snapshot that is gone."""
        source = self._snapshots.get(snapshot)
        with self._snapshots.locked(volume) as directory:
            found = self._find(volume)
            if found is not None and found.rollout == rollout and found.snapshot == snapshot:
                return
            if found is not None and not self._is_swapped(found) and not self._snapshots.is_known(found.id):
                remove_copy(directory / found.id)
            made = Restore(
                id=os.urandom(ID_BYTES).hex(),
                volume=volume,
                project=project,
                revision=revision,
                rollout=rollout,
                snapshot=snapshot,
            )
            part = directory / f"{made.id}.part"
            copy_of(self._snapshots.path(source), part, stopped=stopped)
            os.setxattr(part, MARK, made.id.encode())
            os.rename(part, directory / made.id)
            sync_directory(directory)
            with self._database.transaction() as rows:
                rows.execute(
                    "INSERT OR REPLACE INTO volume_restores (id, volume, body) VALUES (?, ?, ?)",
                    (made.id, volume, msgspec.json.encode(made).decode()),
                )

    def swap(self, volume: str, *, rollout: int) -> None:
        """Put what was staged into the volume. ``NotFound`` where nothing was."""
        found = self._find(volume)
        if found is None or found.rollout != rollout:
            raise NotFound(f"no data are ready to be put back into volume {volume!r}")
        with self._snapshots.locked(volume) as directory:
            if not self._is_swapped(found):
                self._exchange(volume, directory / found.id)
            size = measured(directory / found.id)
            self._snapshots.add(
                Snapshot(
                    id=found.id,
                    volume=volume,
                    project=found.project,
                    revision=found.revision,
                    rollout=found.rollout,
                    method="swap",
                    consistency="stopped",
                    files=size.files,
                    size_bytes=size.size_bytes,
                    seconds=0.0,
                    created=time.time(),
                )
            )

    def back(self, volume: str, *, rollout: int) -> bool:
        """Undo what this rollout has staged or swapped; whether there was anything."""
        found = self._find(volume)
        if found is None or found.rollout != rollout:
            return False
        with self._snapshots.locked(volume) as directory:
            self._snapshots.forget(found.id)
            if self._is_swapped(found):
                self._exchange(volume, directory / found.id)
            remove_copy(directory / found.id)
            with self._database.transaction() as rows:
                rows.execute("DELETE FROM volume_restores WHERE id = ?", (found.id,))
        return True

    def unfinished(self, project: str, rollout: int) -> tuple[str, ...]:
        """The volumes that a rollout has staged data for."""
        every = (_restore(row) for row in self._database.query("SELECT body FROM volume_restores"))
        return tuple(one.volume for one in every if (one.project, one.rollout) == (project, rollout))

    def _find(self, volume: str) -> Restore | None:
        row = self._database.one("SELECT body FROM volume_restores WHERE volume = ?", (volume,))
        return None if row is None else _restore(row)

    def _is_swapped(self, restore: Restore) -> bool:
        with suppress(OSError):
            return os.getxattr(self._data(restore.volume), MARK) == restore.id.encode()
        return False

    def _data(self, volume: str) -> Path:
        return self._volumes.place(volume) / "_data"

    def _exchange(self, volume: str, other: Path) -> None:
        exchange(self._data(volume), other)


def exchange(data: Path, other: Path) -> None:
    """Two directories take each other's places at one stroke, and that is on the disk."""
    syscalls.exchange(data, other)
    sync_directory(data.parent)
    sync_directory(other.parent)


def replace_data(volume: Volume, fresh: Path) -> None:
    """``fresh`` becomes what a volume holds; what it held takes the place of ``fresh``."""
    exchange(volume.path, fresh)


def _restore(row: sqlite3.Row) -> Restore:
    return msgspec.json.decode(row["body"], type=Restore)
