"""The outbox: calls of hooks that are still owed, so that no event is lost with the process that had to tell it.

A call is written down before it is tried and struck out when it has gone through. While a process tries, the call is
due only after the longest that this can take; so the agent, which takes up whatever is due, comes to it when that
process is dead or has given up. A call that the agent gives up too stays, due never, until somebody looks.
"""

from __future__ import annotations

import sqlite3

import msgspec

from bennu.compose.extension import Hook
from bennu.compose.struct import Value
from bennu.deploy.telling.hooks import Event
from bennu.store.database import Database

KEPT = 100
"""Calls that were given up, in all projects; the oldest go."""


class Call(Value, frozen=True, kw_only=True, omit_defaults=True):
    """One hook that one event is owed to. ``due`` in Unix seconds; None: given up. ``failures`` are the agent's."""

    number: int
    event: Event
    hook: Hook
    directory: str
    created: float
    due: float | None
    failures: int = 0
    problem: str | None = None


class Outbox:
    """Access to the calls of all projects."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, event: Event, hook: Hook, directory: str, *, now: float, due: float) -> int:
        """Write a call down; its number."""
        with self._database.transaction() as connection:
            row = connection.execute(
                "INSERT INTO hook_calls (project, event, hook, directory, created, due) VALUES (?, ?, ?, ?, ?, ?)"
                " RETURNING number",
                (event.project, _json(event), _json(hook), directory, now, due),
            ).fetchone()
        return int(row["number"])

    def done(self, number: int) -> None:
        """It has gone through."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM hook_calls WHERE number = ?", (number,))

    def failed(self, number: int, problem: str, *, due: float | None, failures: int = 0) -> None:
        """It has not. ``due``: when it is to be tried again; None: never."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE hook_calls SET problem = ?, due = ?, failures = ? WHERE number = ?",
                (problem, due, failures, number),
            )
            connection.execute(
                "DELETE FROM hook_calls WHERE due IS NULL AND number NOT IN"
                " (SELECT number FROM hook_calls WHERE due IS NULL ORDER BY number DESC LIMIT ?)",
                (KEPT,),
            )

    def claim(self, number: int, *, now: float, due: float) -> bool:
        """Take a call that is due; False if somebody else has."""
        with self._database.transaction() as connection:
            changed = connection.execute(
                "UPDATE hook_calls SET due = ? WHERE number = ? AND due <= ?", (due, number, now)
            )
            return changed.rowcount == 1

    def due(self, now: float) -> tuple[Call, ...]:
        """The calls whose time has come, oldest first."""
        rows = self._database.query("SELECT * FROM hook_calls WHERE due <= ? ORDER BY number", (now,))
        return tuple(map(_call, rows))

    def next_due(self) -> float | None:
        """When the next call is due, in Unix seconds."""
        row = self._database.one("SELECT MIN(due) AS first FROM hook_calls")
        return None if row is None else row["first"]

    def calls(self, project: str) -> tuple[Call, ...]:
        """All that is owed to a project's hooks, and what was given up, oldest first."""
        rows = self._database.query("SELECT * FROM hook_calls WHERE project = ? ORDER BY number", (project,))
        return tuple(map(_call, rows))

    def forget(self, project: str) -> int:
        """Strike out all calls of a project; how many."""
        with self._database.transaction() as connection:
            return connection.execute("DELETE FROM hook_calls WHERE project = ?", (project,)).rowcount


def _json(value: Value) -> str:
    return msgspec.json.encode(value).decode()


def _call(row: sqlite3.Row) -> Call:
    return Call(
        number=row["number"],
        event=msgspec.json.decode(row["event"], type=Event),
        hook=msgspec.json.decode(row["hook"], type=Hook),
        directory=row["directory"],
        created=row["created"],
        due=row["due"],
        failures=row["failures"],
        problem=row["problem"],
    )
