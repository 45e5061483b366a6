"""Operations: work under way on the store (a build, a load), recorded so that garbage collection spares what it makes.

Whoever stores blobs or snapshots and only later names them does so inside ``Operations.under_way``. What was stored or
touched since the oldest living operation began is no rubbish; ``horizon`` is that moment. An operation whose process is
dead counts for nothing, so a kill -9 needs no clearing up. See ``gc`` next.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import msgspec

from bennu.host.process import boot_id, is_alive, start_time
from bennu.store.database import Database

_SLACK_SECONDS: Final = 0.02  # time stamps of files come from the last timer tick, up to 10 ms ago


class Operation(msgspec.Struct, frozen=True):
    """One piece of work: what it is, for people; its process; when it began (Unix seconds)."""

    what: str
    pid: int
    started: float


class Operations:
    """The work under way on one root, in all processes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @contextmanager
    def under_way(self, what: str) -> Iterator[None]:
        """Record work for as long as the block runs."""
        with self._database.transaction(durable=False) as rows:  # dead after a power cut, known or not
            number = rows.execute(
                "INSERT INTO operations (what, owner, boot, started) VALUES (?, ?, ?, ?)",
                (what, f"{os.getpid()}:{start_time(os.getpid())}", boot_id(), time.time()),
            ).lastrowid
        try:
            yield
        finally:
            with self._database.transaction(durable=False) as rows:
                rows.execute("DELETE FROM operations WHERE id = ?", (number,))

    def walk(self) -> list[Operation]:
        """What is under way now, the oldest first; the dead ones are forgotten on the way."""
        alive: list[Operation] = []
        dead: list[tuple[int]] = []
        boot = boot_id()
        for row in self._database.query("SELECT * FROM operations ORDER BY started"):
            pid, _, started = row["owner"].partition(":")
            if row["boot"] == boot and is_alive(int(pid), int(started)):
                alive.append(Operation(row["what"], int(pid), row["started"]))
            else:
                dead.append((row["id"],))
        if dead:
            with self._database.transaction() as rows:
                rows.executemany("DELETE FROM operations WHERE id = ?", dead)
        return alive

    def horizon(self) -> float:
        """What was stored or touched since this moment (Unix seconds) may belong to work under way."""
        return min((operation.started for operation in self.walk()), default=time.time()) - _SLACK_SECONDS
