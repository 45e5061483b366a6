"""Commits that were to be deployed, by a push or by following a repository: which were tried, and what became of them.

A commit that has failed is known by that: ``bennu follow`` never tries it again. A commit that a push has deployed has
*landed* when the branch is at it; between the two another push of the same branch has to wait and see.
"""

from __future__ import annotations

import sqlite3
from typing import Literal

from bennu.compose.struct import Value
from bennu.store.database import Database

CommitState = Literal["trying", "deployed", "landed", "failed"]


class Tried(Value, frozen=True, kw_only=True, omit_defaults=True):
    """One commit of a source (``REPOSITORY#REFERENCE``). ``parent``: what the reference was at before it."""

    source: str
    commit: str
    state: CommitState
    tried: float
    parent: str | None = None
    reason: str | None = None


class Commits:
    """Access to the commits of all sources."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, source: str, commit: str, now: float, *, parent: str | None = None) -> None:
        """It is being tried; what is known of an earlier try is forgotten."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO commits (source, commit_id, parent, state, tried)"
                " VALUES (?, ?, ?, 'trying', ?)",
                (source, commit, parent, now),
            )

    def end(self, source: str, commit: str, state: CommitState, reason: str | None = None) -> None:
        """What became of it."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE commits SET state = ?, reason = ? WHERE source = ? AND commit_id = ?",
                (state, reason, source, commit),
            )

    def forget(self, source: str, commit: str) -> None:
        """As if it had never been tried: it was not its fault."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM commits WHERE source = ? AND commit_id = ?", (source, commit))

    def get(self, source: str, commit: str) -> Tried | None:
        """What is known of a commit."""
        row = self._database.one("SELECT * FROM commits WHERE source = ? AND commit_id = ?", (source, commit))
        return None if row is None else _tried(row)

    def last(self, source: str) -> Tried | None:
        """The commit that was tried last."""
        row = self._database.one("SELECT * FROM commits WHERE source = ? ORDER BY tried DESC LIMIT 1", (source,))
        return None if row is None else _tried(row)


def _tried(row: sqlite3.Row) -> Tried:
    return Tried(
        source=row["source"],
        commit=row["commit_id"],
        state=row["state"],
        tried=row["tried"],
        parent=row["parent"],
        reason=row["reason"],
    )
