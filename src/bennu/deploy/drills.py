"""Drills: what came of making services again from scratch, with today's packages or from the image they had.

A drill that fails changes nothing that runs: it is a finding. The last rebuild that went through, switch and all, is
what "proven rebuildable" means.
"""

from __future__ import annotations

import sqlite3

from bennu.compose.struct import Value
from bennu.deploy.reprovision import Attempt
from bennu.store.database import Database


class Drill(Value, frozen=True, kw_only=True, omit_defaults=True):
    """One reprovisioning of one service. ``rebuild``: its image was built from scratch for it. ``revision``: the one
    that it was, if it came so far. ``reason``: why it failed.
    """

    project: str
    service: str
    rebuild: bool
    started: float
    finished: float
    ok: bool
    author: str
    revision: int | None = None
    reason: str | None = None


class Drills:
    """Access to the drills of all projects."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, drill: Drill) -> None:
        """Append one."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO drills (project, service, rebuild, started, finished, ok, author, revision, reason)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    drill.project,
                    drill.service,
                    int(drill.rebuild),
                    drill.started,
                    drill.finished,
                    int(drill.ok),
                    drill.author,
                    drill.revision,
                    drill.reason,
                ),
            )

    def drills(self, project: str, *, limit: int = 100) -> tuple[Drill, ...]:
        """The last drills of a project, newest first."""
        rows = self._database.query(
            "SELECT * FROM drills WHERE project = ? ORDER BY number DESC LIMIT ?", (project, limit)
        )
        return tuple(map(_drill, rows))

    def attempts(self, project: str) -> dict[str, Attempt]:
        """What came of the last reprovisioning of each service, from the image or rebuilt.

        A rebuild that failed and was made good by a set from the image counts as that.
        """
        rows = self._database.query(
            "SELECT service, MAX(finished) AS finished, SUM(NOT ok) AS failures FROM drills d WHERE project = ?"
            " AND number >= COALESCE((SELECT MAX(number) FROM drills g"
            " WHERE g.project = d.project AND g.service = d.service AND g.ok), 0) GROUP BY service",
            (project,),
        )
        return {row["service"]: Attempt(finished=row["finished"], failures=row["failures"]) for row in rows}

    def proven(self, project: str) -> float | None:
        """When a service of the project was last rebuilt from scratch and put into service (Unix seconds)."""
        row = self._database.one(
            "SELECT MAX(finished) AS last FROM drills WHERE project = ? AND rebuild AND ok", (project,)
        )
        return None if row is None else row["last"]


def _drill(row: sqlite3.Row) -> Drill:
    return Drill(
        project=row["project"],
        service=row["service"],
        rebuild=bool(row["rebuild"]),
        started=row["started"],
        finished=row["finished"],
        ok=bool(row["ok"]),
        author=row["author"],
        revision=row["revision"],
        reason=row["reason"],
    )
