"""Containers as they are recorded: one row each, with its labels, and how a name or a piece of an ID finds it.

A row says what was asked for and never whether it runs: that is ``status``'s business, and it asks the kernel. The row
is the first thing of a container and the last: what has no row is rubbish.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from bennu.errors import AlreadyExists, Conflict, Invalid, NotFound
from bennu.oci.image_config import ContainerConfig
from bennu.runtime.options import ContainerOptions, MountOption
from bennu.runtime.volumes import Volumes
from bennu.store.base import SnapshotId
from bennu.store.database import Database

ID_BYTES: Final = 32
SHORT: Final = 12
_NAME: Final = r"[a-zA-Z0-9][a-zA-Z0-9_.-]+"  # re keeps what it has compiled


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A container: its image, its options, complete with the mounts that the image adds. ``created``: Unix seconds.

    ``image_name`` is what the user called the image; ``manifest`` is None for a bare tree.
    """

    id: str
    name: str
    image_name: str
    manifest: str | None
    snapshot: SnapshotId
    config: ContainerConfig
    options: ContainerOptions
    created: float

    @property
    def short(self) -> str:
        """The first digits of the ID, for people and for names on the host."""
        return self.id[:SHORT]

    @property
    def labels(self) -> Mapping[str, str]:
        """The image's labels and the container's own, which win."""
        return {**self.config.labels, **self.options.labels}

    @property
    def mounts(self) -> tuple[MountOption, ...]:
        """All mounts; every volume has its name."""
        return self.options.mounts

    @property
    def is_volatile(self) -> bool:
        """Nobody misses its own files after a crash of the host, so no write waits for the disk."""
        return self.options.auto_remove or self.options.readonly

    @property
    def hostname(self) -> str:
        """The container's host name; the host's own where it shares the host's network and was given none."""
        if self.options.hostname is not None:
            return self.options.hostname
        return os.uname().nodename if self.options.network == "host" else self.short


Alias = Callable[[str], str | None]
"""The ID of the container that upper floors know by a name of their own (``web.2``), or None."""


class Records:
    """The tables ``containers`` and ``container_labels``. ``alias`` is asked where no container has a name."""

    def __init__(self, database: Database, volumes: Volumes) -> None:
        self._database = database
        self._volumes = volumes
        self.alias: Alias | None = None

    def add(self, record: Record) -> None:
        """Record a container, its labels and its claims on volumes. ``AlreadyExists`` if the name is taken."""
        try:
            with self._database.transaction() as rows:
                rows.execute(
                    "INSERT INTO containers (id, name, manifest, snapshot, body, transient, created)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (
                        record.id,
                        record.name,
                        record.manifest,
                        record.snapshot,
                        _body(record),
                        int(record.options.auto_remove),
                        record.created,
                    ),
                )
                rows.executemany(
                    "INSERT INTO container_labels (container, name, value) VALUES (?, ?, ?)",
                    [(record.id, name, value) for name, value in record.labels.items()],
                )
                self._volumes.claim(rows, record.id, record.mounts)
        except sqlite3.IntegrityError as error:
            if self.by_name(record.name) is None:
                raise Conflict(f"container {record.name!r}: a volume was removed meanwhile", "try again") from error
            raise AlreadyExists(
                f"container name {record.name!r} is in use", f"`bennu rm {record.name}` frees it, or choose another"
            ) from error

    def rename(self, container_id: str, name: str) -> None:
        """Give a container another name. ``AlreadyExists`` if it is taken."""
        found = self.get(container_id)
        if found is None:
            raise NotFound(f"container {container_id!r} does not exist")
        body = _body(msgspec.structs.replace(found, name=check_name(name)))
        try:
            with self._database.transaction() as rows:
                rows.execute("UPDATE containers SET name = ?, body = ? WHERE id = ?", (name, body, container_id))
        except sqlite3.IntegrityError as error:
            raise AlreadyExists(f"container name {name!r} is in use") from error

    def revise(self, container_id: str, name: str, options: ContainerOptions) -> Record:
        """Give a container another name and other options, whose mounts are the same, all at once.

        ``AlreadyExists`` if the name is taken, ``NotFound`` if the container is gone.
        """
        found = self.get(container_id)
        if found is None:
            raise NotFound(f"container {container_id!r} does not exist")
        record = msgspec.structs.replace(found, name=check_name(name), options=options)
        try:
            with self._database.transaction() as rows:
                rows.execute(
                    "UPDATE containers SET name = ?, body = ?, transient = ? WHERE id = ?",
                    (name, _body(record), int(options.auto_remove), container_id),
                )
                rows.execute("DELETE FROM container_labels WHERE container = ?", (container_id,))
                rows.executemany(
                    "INSERT INTO container_labels (container, name, value) VALUES (?, ?, ?)",
                    [(container_id, label, value) for label, value in record.labels.items()],
                )
        except sqlite3.IntegrityError as error:
            if self.by_name(name) is None:
                raise NotFound(f"container {container_id!r} does not exist") from error
            raise AlreadyExists(f"container name {name!r} is in use") from error
        return record

    def forget(self, container_id: str) -> None:
        """Delete a container's row. Not an error if it is gone."""
        with self._database.transaction() as rows:
            rows.execute("DELETE FROM containers WHERE id = ?", (container_id,))

    def get(self, container_id: str) -> Record | None:
        """The container of a whole ID."""
        row = self._database.one("SELECT body FROM containers WHERE id = ?", (container_id,))
        return None if row is None else _record(row)

    def by_name(self, name: str) -> Record | None:
        """The container of a name."""
        row = self._database.one("SELECT body FROM containers WHERE name = ?", (name,))
        return None if row is None else _record(row)

    def resolve(self, text: str) -> Record:
        """The container of a whole ID, a name, or the beginning of one ID. ``NotFound``; ``Conflict`` if several."""
        row = self._database.one(
            "SELECT body FROM containers WHERE id = ? OR name = ? ORDER BY id = ? DESC LIMIT 1", (text, text, text)
        )
        if row is not None:
            return _record(row)
        known = self.alias(text) if self.alias is not None else None
        found = self.get(known) if known is not None else None
        if found is not None:
            return found
        rows = []
        if re.fullmatch(r"[0-9a-f]{1,64}", text):
            upper = text + "g"  # sorts after every hexadecimal digit
            rows = self._database.query(
                "SELECT body FROM containers WHERE id > ? AND id < ? ORDER BY id LIMIT 2", (text, upper)
            )
        if not rows:
            raise NotFound(f"container {text!r} does not exist", "`bennu ps --all` lists the containers")
        if len(rows) > 1:
            raise Conflict(f"container {text!r} could be several", "give more digits of its ID")
        return _record(rows[0])

    def walk(self, labels: Mapping[str, str] | None = None) -> tuple[Record, ...]:
        """The containers that have all these labels, the oldest first."""
        wanted = dict(labels or {})
        where = " AND ".join(
            "id IN (SELECT container FROM container_labels WHERE name = ? AND value = ?)" for _ in wanted
        )
        sql = f"SELECT body FROM containers {'WHERE ' + where if where else ''} ORDER BY created, id"  # noqa: S608
        values = [part for pair in wanted.items() for part in pair]
        return tuple(map(_record, self._database.query(sql, values)))

    def transient(self) -> tuple[Record, ...]:
        """The containers that are to be removed once they have ended."""
        return tuple(map(_record, self._database.query("SELECT body FROM containers WHERE transient")))

    def ids(self) -> frozenset[str]:
        """The IDs of all containers."""
        return frozenset(row["id"] for row in self._database.query("SELECT id FROM containers"))


def check_name(name: str) -> str:
    """A container's name as Docker allows it; ``Invalid`` otherwise."""
    if not re.fullmatch(_NAME, name):
        raise Invalid(
            f"container name {name!r} is not allowed",
            "two or more letters, digits, '_', '.' and '-', beginning with a letter or a digit",
        )
    return name


def _body(record: Record) -> str:
    return msgspec.json.encode(record).decode()


def _record(row: sqlite3.Row) -> Record:
    return msgspec.json.decode(row["body"], type=Record)
