"""The holds of all projects, and the journal of what drifted in each, in the store's database.

At most one hold of a replica's name lives in a project; the schema says so. Ended ones stay, the newest few of each
project, so that people can read what was found. The journal has one line for each thing, with when it was first and
last seen to change and how often: a log that grows for a week is one line.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Literal

import msgspec

from bennu.compose.struct import Value
from bennu.deploy.hold.lease import Hold
from bennu.errors import Conflict, NotFound
from bennu.store.database import Database

ENDED_KEPT: Final = 50
MOST_LINES: Final = 20_000
"""Of one hold's journal: what is new beyond that is counted in a single line."""

Kind = Literal["event", "package", "file", "process", "more"]


class Line(Value, frozen=True, kw_only=True, omit_defaults=True):
    """A line of the journal. ``what``: a path, a package, a command line, an event; ``detail`` is what became of it.

    Times are Unix seconds: of when it was noticed, which is a little after it happened.
    """

    kind: Kind
    what: str
    detail: str = ""
    first: float = 0.0
    last: float = 0.0
    count: int = 1


class Holds:
    """The tables ``holds``, ``hold_journal`` and ``hold_looks``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, hold: Hold) -> Hold:
        """Record a hold that is about to begin; with its number. ``Conflict`` if the replica is held already."""
        try:
            with self._database.transaction() as rows:
                number = rows.execute(
                    "INSERT INTO holds (project, service, position, body) VALUES (?, ?, ?, ?)",
                    (hold.project, hold.service, hold.index, _body(hold)),
                ).lastrowid
        except sqlite3.IntegrityError as error:
            raise Conflict(
                f"{hold.name} of project {hold.project!r} is held already",
                f"`bennu hold show {hold.name}`; `bennu hold --renew {hold.name}` gives it more time",
            ) from error
        assert number is not None
        return msgspec.structs.replace(hold, id=number)

    def change(self, hold: Hold, change: Callable[[Hold], Hold], *, durable: bool = True) -> Hold | None:
        """Change a hold as it stands now, at once; what it has become. None, and nothing, if it does not live."""
        with self._database.transaction(durable=durable) as rows:
            row = rows.execute("SELECT * FROM holds WHERE id = ? AND ended IS NULL", (hold.id,)).fetchone()
            if row is None:
                return None
            current = _hold(row)
            changed = change(current)
            if changed != current:
                rows.execute("UPDATE holds SET body = ? WHERE id = ?", (_body(changed), hold.id))
            return changed

    def end(self, hold: Hold, outcome: str, now: float) -> bool:
        """Record that a hold is over. What was said of its end before stays, and so does what is ended already.

        Whether this was its end.
        """
        with self._database.transaction() as rows:
            row = rows.execute("SELECT * FROM holds WHERE id = ? AND ended IS NULL", (hold.id,)).fetchone()
            if row is None:
                return False
            found = _hold(row)
            ended = msgspec.structs.replace(found, ended=now, outcome=found.outcome or outcome)
            rows.execute("UPDATE holds SET body = ?, ended = ? WHERE id = ?", (_body(ended), now, hold.id))
            rows.execute("DELETE FROM hold_looks WHERE hold = ?", (hold.id,))
            rows.execute(
                "DELETE FROM holds WHERE project = ? AND ended IS NOT NULL AND id NOT IN"
                " (SELECT id FROM holds WHERE project = ? AND ended IS NOT NULL ORDER BY ended DESC LIMIT ?)",
                (hold.project, hold.project, ENDED_KEPT),
            )
            return True

    def forget(self, hold: Hold) -> None:
        """Forget a hold that never came to be."""
        with self._database.transaction() as rows:
            rows.execute("DELETE FROM holds WHERE id = ?", (hold.id,))

    def find(self, project: str, service: str, index: int) -> Hold:
        """The living hold of a replica; ``NotFound``."""
        row = self._database.one(
            "SELECT * FROM holds WHERE project = ? AND service = ? AND position = ? AND ended IS NULL",
            (project, service, index),
        )
        if row is None:
            raise NotFound(f"{service}.{index} of project {project!r} is not held", "`bennu hold ls` lists the holds")
        return _hold(row)

    def latest(self, project: str, service: str, index: int) -> Hold:
        """The hold of a replica that lives, else the last that ended; ``NotFound``."""
        row = self._database.one(
            "SELECT * FROM holds WHERE project = ? AND service = ? AND position = ? ORDER BY id DESC LIMIT 1",
            (project, service, index),
        )
        if row is None:
            raise NotFound(
                f"{service}.{index} of project {project!r} has not been held", "`bennu hold ls --all` lists the holds"
            )
        return _hold(row)

    def living(self, project: str | None = None) -> tuple[Hold, ...]:
        """The holds that live, of one project or of all, by name."""
        rows = self._database.query(
            "SELECT * FROM holds WHERE ended IS NULL AND (? IS NULL OR project = ?)"
            " ORDER BY project, service, position",
            (project, project),
        )
        return tuple(map(_hold, rows))

    def all(self, project: str) -> tuple[Hold, ...]:
        """All holds of a project that are remembered, the newest first."""
        rows = self._database.query("SELECT * FROM holds WHERE project = ? ORDER BY id DESC", (project,))
        return tuple(map(_hold, rows))

    def end_all(self, project: str, outcome: str, now: float) -> None:
        """A project is gone with all that was held in it."""
        for hold in self.living(project):
            self.end(hold, outcome, now)

    # the journal

    def note(self, hold: Hold, lines: Iterable[Line], now: float) -> None:
        """Add to a hold's journal what was noticed now. What is in it already has changed again."""
        with self._database.transaction(durable=False) as rows:
            if rows.execute("SELECT 1 FROM holds WHERE id = ?", (hold.id,)).fetchone() is None:
                return
            taken = rows.execute("SELECT count(*) FROM hold_journal WHERE hold = ?", (hold.id,)).fetchone()[0]
            for line in lines:
                again = rows.execute(
                    "UPDATE hold_journal SET detail = ?, last = ?, count = count + 1"
                    " WHERE hold = ? AND kind = ? AND what = ?",
                    (line.detail, now, hold.id, line.kind, line.what),
                ).rowcount
                if not again:
                    _insert(rows, hold, line if taken < MOST_LINES else _MORE, now)
                    taken += 1

    def journal(self, hold: Hold) -> tuple[Line, ...]:
        """A hold's journal, in the order in which things were first noticed."""
        rows = self._database.query("SELECT * FROM hold_journal WHERE hold = ? ORDER BY first, rowid", (hold.id,))
        return tuple(
            Line(
                kind=row["kind"],
                what=row["what"],
                detail=row["detail"],
                first=row["first"],
                last=row["last"],
                count=row["count"],
            )
            for row in rows
        )

    def last_look(self, hold: Hold) -> dict[str, str] | None:
        """What the last look at a held replica found, as whoever looked has it; None if nobody has."""
        row = self._database.one("SELECT body FROM hold_looks WHERE hold = ?", (hold.id,))
        return None if row is None else msgspec.json.decode(zlib.decompress(row["body"]), type=dict[str, str])

    def put_look(self, hold: Hold, found: Mapping[str, str]) -> None:
        """Remember a look."""
        body = zlib.compress(msgspec.json.encode(found), 1)
        with self._database.transaction(durable=False) as rows:
            rows.execute(
                "INSERT OR REPLACE INTO hold_looks (hold, body) SELECT id, ? FROM holds WHERE id = ?", (body, hold.id)
            )


_MORE: Final = Line(kind="more", what="", detail="more changes than are journalled")


def _insert(rows: sqlite3.Connection, hold: Hold, line: Line, now: float) -> None:
    rows.execute(
        "INSERT INTO hold_journal (hold, kind, what, detail, first, last, count) VALUES (?, ?, ?, ?, ?, ?, 1)"
        " ON CONFLICT (hold, kind, what) DO UPDATE SET last = excluded.last, count = count + 1",
        (hold.id, line.kind, line.what, line.detail, now, now),
    )


def _body(hold: Hold) -> str:
    return msgspec.json.encode(hold).decode()


def _hold(row: sqlite3.Row) -> Hold:
    return msgspec.structs.replace(msgspec.json.decode(row["body"], type=Hold), id=row["id"])
