"""What the embedded engine remembers, in the store's database: projects, sets, which are active, health, host ports.

That a set is active is decided here, by one transaction for all services that switch together: everything else (the
switch, names) follows, and is brought back to it after a crash.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from bennu.compose.canonical import canonical_json
from bennu.compose.model import Service
from bennu.engine.embedded.health import HealthState
from bennu.engine.sets import SetId, SetSpec
from bennu.errors import Conflict, NotFound
from bennu.store.database import Database


class SetRecord(msgspec.Struct, frozen=True):
    """A set that was started. ``released``: when it lost the traffic (Unix seconds), None if it has it or never had.

    ``stopped``: it was stopped on purpose and not started since.
    """

    spec: SetSpec
    released: float | None
    stopped: bool = False


class EngineRecords:
    """The engine's tables."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def projects(self) -> tuple[str, ...]:
        """The projects that have anything here."""
        return tuple(row["name"] for row in self._database.query("SELECT name FROM engine_projects ORDER BY name"))

    def prepare(self, project: str, services: Mapping[str, Service]) -> None:
        """Remember a project and the services whose names its replicas may use."""
        body = msgspec.json.encode({name: msgspec.to_builtins(one) for name, one in services.items()}).decode()
        with self._database.transaction() as rows:
            rows.execute("INSERT OR REPLACE INTO engine_projects (name, services) VALUES (?, ?)", (project, body))

    def services(self, project: str) -> dict[str, Service]:
        """The services of the last ``prepare``."""
        row = self._database.one("SELECT services FROM engine_projects WHERE name = ?", (project,))
        return {} if row is None else msgspec.json.decode(row["services"], type=dict[str, Service])

    def put_set(self, spec: SetSpec) -> None:
        """Remember a set that is about to start. Of one that is known, only that it is to run."""
        with self._database.transaction() as rows:
            rows.execute(
                "INSERT INTO engine_sets (id, project, service, spec) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (project, id) DO UPDATE SET stopped = 0",
                (spec.id, spec.project, spec.service.name, canonical_json(spec).decode()),
            )

    def mark_stopped(self, spec: SetSpec) -> None:
        """Remember that a set is stopped on purpose: an active one would be brought back otherwise."""
        with self._database.transaction() as rows:
            rows.execute("UPDATE engine_sets SET stopped = 1 WHERE project = ? AND id = ?", (spec.project, spec.id))

    def sets(self, project: str) -> dict[SetId, SetRecord]:
        """All sets of a project."""
        rows = self._database.query("SELECT * FROM engine_sets WHERE project = ? ORDER BY id", (project,))
        return {SetId(row["id"]): _set_record(row) for row in rows}

    def find(self, set_id: SetId, project: str | None = None) -> SetRecord | None:
        """A set by its name; ``Conflict`` where two projects have one of that name and none is said."""
        rows = self._database.query("SELECT * FROM engine_sets WHERE id = ?", (set_id,))
        rows = [row for row in rows if project in {None, row["project"]}]
        if len(rows) > 1:
            raise Conflict(f"set {set_id!r} is in several projects")
        if not rows:
            return None
        return _set_record(rows[0])

    def forget_set(self, spec: SetSpec) -> None:
        """Forget a set. ``Conflict`` while it is active."""
        with self._database.transaction() as rows:
            if rows.execute(
                "SELECT 1 FROM engine_active WHERE project = ? AND id = ?", (spec.project, spec.id)
            ).fetchone():
                raise Conflict(f"set {spec.id!r} is active", "activate another set first")
            rows.execute("DELETE FROM engine_sets WHERE project = ? AND id = ?", (spec.project, spec.id))

    def active(self, project: str) -> dict[str, SetId]:
        """The active set of each service that has one."""
        rows = self._database.query("SELECT service, id FROM engine_active WHERE project = ?", (project,))
        return {row["service"]: SetId(row["id"]) for row in rows}

    def activate(self, project: str, sets: Mapping[str, SetId]) -> None:
        """Make sets active, all at once, and note when those before them lost the traffic. The commit point."""
        now = time.time()
        with self._database.transaction() as rows:
            known = {row["id"] for row in rows.execute("SELECT id FROM engine_sets WHERE project = ?", (project,))}
            for service, name in sets.items():
                if name not in known:
                    raise NotFound(f"set {name!r} of project {project!r} does not exist")
                rows.execute(
                    "UPDATE engine_sets SET released = ? WHERE project = ? AND id != ?"
                    " AND id = (SELECT id FROM engine_active WHERE project = ? AND service = ?)",
                    (now, project, name, project, service),
                )
                rows.execute("UPDATE engine_sets SET released = NULL WHERE project = ? AND id = ?", (project, name))
                rows.execute(
                    "INSERT OR REPLACE INTO engine_active (project, service, id) VALUES (?, ?, ?)",
                    (project, service, name),
                )

    def deactivate(self, project: str, services: Iterable[str]) -> None:
        """No set of these services is active any more."""
        now = time.time()
        with self._database.transaction() as rows:
            for service in services:
                rows.execute(
                    "UPDATE engine_sets SET released = ? WHERE project = ?"
                    " AND id = (SELECT id FROM engine_active WHERE project = ? AND service = ?)",
                    (now, project, project, service),
                )
                rows.execute("DELETE FROM engine_active WHERE project = ? AND service = ?", (project, service))

    def forget(self, project: str) -> None:
        """Forget a project with all that was its own."""
        with self._database.transaction() as rows:
            for table in ("engine_active", "engine_sets", "engine_ports"):
                rows.execute(f"DELETE FROM {table} WHERE project = ?", (project,))  # noqa: S608 - names from above
            rows.execute("DELETE FROM engine_projects WHERE name = ?", (project,))

    def health(self, containers: Iterable[str]) -> dict[str, HealthState]:
        """What is known of the health of containers, by their IDs."""
        wanted = set(containers)
        rows = self._database.query("SELECT container, body FROM engine_health")
        return {
            row["container"]: msgspec.json.decode(row["body"], type=HealthState)
            for row in rows
            if row["container"] in wanted
        }

    def put_health(self, states: Mapping[str, HealthState]) -> None:
        """Remember the health of containers that exist."""
        if not states:
            return
        with self._database.transaction(durable=False) as rows:
            rows.executemany(
                "INSERT OR REPLACE INTO engine_health (container, body) SELECT id, ? FROM containers WHERE id = ?",
                [(msgspec.json.encode(state).decode(), container) for container, state in states.items()],
            )

    def leave(self, container: str, until: float) -> None:
        """Remember that a replica gets no more traffic, since it is about to be removed; until then at most."""
        with self._database.transaction(durable=False) as rows:
            rows.execute(
                "INSERT OR REPLACE INTO engine_leaving (container, until) SELECT id, ? FROM containers WHERE id = ?",
                (until, container),
            )

    def stay(self, container: str) -> None:
        """A replica that was about to be removed stays."""
        with self._database.transaction(durable=False) as rows:
            rows.execute("DELETE FROM engine_leaving WHERE container = ?", (container,))

    def leaving(self, now: float) -> frozenset[str]:
        """The containers of replicas that are about to be removed."""
        rows = self._database.query("SELECT container FROM engine_leaving WHERE until > ?", (now,))
        return frozenset(row["container"] for row in rows)

    def forget_health(self, containers: Iterable[str]) -> None:
        """What was known of the health of containers holds no longer."""
        with self._database.transaction(durable=False) as rows:
            rows.executemany("DELETE FROM engine_health WHERE container = ?", [(one,) for one in containers])

    def host_port(self, project: str, service: str, target: int, protocol: str) -> int | None:
        """The host port that was chosen for a port which is published anywhere."""
        row = self._database.one(
            "SELECT port FROM engine_ports WHERE project = ? AND service = ? AND target = ? AND protocol = ?",
            (project, service, target, protocol),
        )
        return None if row is None else int(row["port"])

    def choose_host_port(self, project: str, service: str, target: int, protocol: str, port: int) -> None:
        """Remember the host port of a port which is published anywhere."""
        with self._database.transaction() as rows:
            rows.execute(
                "INSERT OR REPLACE INTO engine_ports (project, service, target, protocol, port) VALUES (?, ?, ?, ?, ?)",
                (project, service, target, protocol, port),
            )

    def replica(self, name: str) -> str | None:
        """The container that ``web.2`` or ``shop-web.2`` means, of the active set; with ``-held``, the held one.

        ``Conflict`` if it could be several.
        """
        service, _, index = name.removesuffix("-held").rpartition(".")
        if not service or not index.isdigit():
            return None
        rows = self._database.query(_HELD if name.endswith("-held") else _ACTIVE, (index, service, service))
        if len(rows) > 1:
            names = ", ".join(f"{row['project']}-{name}" for row in rows)
            raise Conflict(f"replica {name!r} is in several projects", f"say which: {names}")
        return rows[0]["container"] if rows else None


_ACTIVE: Final = """
SELECT l.container, a.project FROM engine_active a
JOIN container_labels l ON l.name = 'bennu.set' AND l.value = a.id
JOIN container_labels p ON p.container = l.container AND p.name = 'bennu.project' AND p.value = a.project
JOIN container_labels r ON r.container = l.container AND r.name = 'bennu.replica' AND r.value = ?
WHERE a.service = ? OR a.project || '-' || a.service = ?
"""
_HELD: Final = """
SELECT h.container, p.value AS project FROM container_labels h
JOIN container_labels p ON p.container = h.container AND p.name = 'bennu.project'
JOIN container_labels r ON r.container = h.container AND r.name = 'bennu.replica' AND r.value = ?
JOIN container_labels s ON s.container = h.container AND s.name = 'bennu.service'
WHERE h.name = 'bennu.held' AND (s.value = ? OR p.value || '-' || s.value = ?)
"""


def _set_record(row: sqlite3.Row) -> SetRecord:
    return SetRecord(msgspec.json.decode(row["spec"], type=SetSpec), row["released"], bool(row["stopped"]))
