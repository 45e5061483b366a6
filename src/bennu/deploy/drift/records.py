"""What is remembered of drift: the last look at each project, since when each finding is known, what the host was like.

Owns the tables ``drift_findings``, ``drift_looks`` and ``drift_baselines``. A finding that a look does not find any
more is forgotten; the baseline is renewed with each revision, and when a person accepts what is.
"""

from __future__ import annotations

from collections.abc import Sequence
from sqlite3 import Row

import msgspec

from bennu.compose.struct import Value
from bennu.deploy.drift.comparison import Baseline, Drift
from bennu.digest import sha256_hex
from bennu.store.database import Database


class Look(Value, frozen=True, kw_only=True, omit_defaults=True):
    """What the last look at a project found. ``taken`` in Unix seconds."""

    project: str
    taken: float
    drifts: tuple[Drift, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def own(self) -> tuple[Drift, ...]:
        """Those that count: not in a held replica."""
        return tuple(drift for drift in self.drifts if not drift.held)


class DriftRecords:
    """The tables of drift of one root."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, project: str, drifts: Sequence[Drift], notes: Sequence[str], taken: float) -> tuple[Look, Look]:
        """Remember a look: what it found with the time when it was found first, and of that what is new."""
        known = {row["id"]: row["first_seen"] for row in self._rows(project)}
        found = {identity(drift): drift for drift in drifts}
        dated = {
            name: msgspec.structs.replace(drift, first_seen=known.get(name, taken)) for name, drift in found.items()
        }
        with self._database.transaction(durable=False) as rows:
            rows.execute("DELETE FROM drift_findings WHERE project = ?", (project,))
            rows.executemany(
                "INSERT INTO drift_findings (project, id, first_seen, last_seen, body) VALUES (?, ?, ?, ?, ?)",
                [
                    (project, name, drift.first_seen, taken, msgspec.json.encode(drift).decode())
                    for name, drift in dated.items()
                ],
            )
            rows.execute(
                "INSERT OR REPLACE INTO drift_looks (project, taken, notes) VALUES (?, ?, ?)",
                (project, taken, msgspec.json.encode(list(notes)).decode()),
            )
        whole = Look(project=project, taken=taken, drifts=tuple(dated.values()), notes=tuple(notes))
        news = tuple(drift for name, drift in dated.items() if name not in known)
        return whole, Look(project=project, taken=taken, drifts=news)

    def last(self, project: str) -> Look | None:
        """The last look, whoever took it; None where nobody has."""
        row = self._database.one("SELECT * FROM drift_looks WHERE project = ?", (project,))
        if row is None:
            return None
        drifts = tuple(msgspec.json.decode(one["body"], type=Drift) for one in self._rows(project))
        notes = msgspec.json.decode(row["notes"], type=tuple[str, ...])
        return Look(project=project, taken=row["taken"], drifts=drifts, notes=notes)

    def baseline(self, project: str, revision: int) -> Baseline | None:
        """What a revision was first seen with; None where it has not been looked at."""
        row = self._database.one(
            "SELECT body FROM drift_baselines WHERE project = ? AND revision = ?", (project, revision)
        )
        return None if row is None else msgspec.json.decode(row["body"], type=Baseline)

    def keep_baseline(self, project: str, revision: int, baseline: Baseline, now: float) -> None:
        """From now on a revision is compared with this."""
        with self._database.transaction(durable=False) as rows:
            rows.execute(
                "INSERT OR REPLACE INTO drift_baselines (project, revision, body, recorded) VALUES (?, ?, ?, ?)",
                (project, revision, msgspec.json.encode(baseline).decode(), now),
            )

    def forget(self, project: str) -> None:
        """Forget everything about a project that is no more."""
        with self._database.transaction(durable=False) as rows:
            for table in ("drift_findings", "drift_looks", "drift_baselines"):
                rows.execute(f"DELETE FROM {table} WHERE project = ?", (project,))  # noqa: S608 - names from above

    def projects(self) -> tuple[str, ...]:
        """The projects that anything is remembered of."""
        return tuple(row["project"] for row in self._database.query("SELECT project FROM drift_looks ORDER BY project"))

    def _rows(self, project: str) -> list[Row]:
        return self._database.query("SELECT * FROM drift_findings WHERE project = ? ORDER BY rowid", (project,))


def identity(drift: Drift) -> str:
    """What makes a finding the same at the next look: what, where and which."""
    return sha256_hex(f"{drift.kind}\0{drift.subject}\0{drift.field}\0{drift.held}".encode())[:24]
