"""The history of a project: its releases and revisions, in the store's database. Appended to, never rewritten.

A revision is *rolling* while a process carries its plan out, then *active*, and *superseded* by the next; or *failed*
(it was reverted) or *stuck* (it could not be). ``down`` ends the active one. A rolling revision whose process is dead
is what ``apply.recover`` takes up. At most one revision of a project is active and one rolling: the schema itself
says so.

A failed revision is *bad* where its release is to blame, and not somebody who interrupted it or a process that died:
no rollback comes to a release whose last verdict was bad, unless it is named and has served before.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal

import msgspec

from bennu.compose.canonical import canonical_json
from bennu.compose.struct import Value
from bennu.deploy import release as releases
from bennu.deploy.planning.plan import Plan
from bennu.deploy.policy import Origin, Policy
from bennu.deploy.release import Release
from bennu.digest import Digest
from bennu.engine.sets import SetId
from bennu.errors import Conflict, NotFound
from bennu.store.database import Database

Kind = Literal["apply", "rollback", "reprovision"]
RevisionState = Literal["rolling", "active", "superseded", "failed", "stuck", "ended"]
Figures = Mapping[str, Mapping[str, float]]
"""What was measured in a rollout: service or set -> ``gap_seconds``, ``sessions_left`` and so on."""
SERVED: Final = frozenset({"active", "superseded", "ended"})
"""The states of revisions that had the traffic and kept it."""
SAVED_SECONDS: Final = 7 * 86400.0
"""So long the images of a saved plan are kept for it."""


class Source(Value, frozen=True, kw_only=True, omit_defaults=True):
    """The saved plan that a revision carried out: the file's name as it was given, the plan's digest, who made it."""

    file: str
    digest: Digest
    author: str


class Revision(Value, frozen=True, kw_only=True, omit_defaults=True):
    """One activation. ``origin`` is the revision whose release it is: itself, or the one that a rollback went back to.

    Times are Unix seconds; ``phases`` gives the seconds that each state of the rollout took, ``figures`` what was
    measured on the way. ``bad``: it failed, and its release is to blame. ``source``: the saved plan that it came from.
    """

    project: str
    number: int
    kind: Kind
    release: Digest
    origin: int
    sets: dict[str, SetId]
    state: RevisionState
    author: str
    started: float
    finished: float | None = None
    phases: dict[str, float] = {}
    reason: str | None = None
    figures: dict[str, dict[str, float]] = {}
    bad: bool = False
    source: Source | None = None
    origin_of_release: Origin | None = None
    """Where the release came from: a directory, or a commit."""

    @property
    def what(self) -> str:
        """``apply``, ``rollback to 3``."""
        return f"rollback to {self.origin}" if self.kind == "rollback" else self.kind

    @property
    def seconds(self) -> float | None:
        """How long it took; None while it is under way."""
        return None if self.finished is None else max(0.0, self.finished - self.started)  # the clock may have jumped


class History:
    """Access to the revisions of all projects."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(
        self,
        release: Release,
        plan: Plan,
        *,
        kind: Kind,
        origin: int | None,
        author: str,
        now: float,
        source: Source | None = None,
    ) -> Revision:
        """Record that a plan is being carried out. ``Conflict`` if another one of the project already is."""
        digest = release.digest
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO releases (digest, project, body, created) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (digest, release.project, releases.encode(release).decode(), now),
            )
            row = connection.execute(
                "SELECT COALESCE(MAX(number), 0) AS last FROM revisions WHERE project = ?", (release.project,)
            ).fetchone()
            number = row["last"] + 1
            try:
                connection.execute(
                    "INSERT INTO revisions"
                    " (project, number, kind, release, origin, sets, state, plan, author, started, source)"
                    " VALUES (?, ?, ?, ?, ?, ?, 'rolling', ?, ?, ?, ?)",
                    (
                        release.project,
                        number,
                        kind,
                        digest,
                        origin if origin is not None else number,
                        msgspec.json.encode(plan.target, order="deterministic").decode(),
                        canonical_json(plan).decode(),
                        author,
                        now,
                        None if source is None else msgspec.json.encode(source).decode(),
                    ),
                )
            except sqlite3.IntegrityError as error:
                raise Conflict(f"project {release.project!r} has a rollout under way") from error
        return self.revision(release.project, number)

    def finish(
        self,
        revision: Revision,
        state: RevisionState,
        *,
        now: float,
        phases: dict[str, float],
        reason: str | None,
        figures: Figures | None = None,
        bad: bool = False,
    ) -> None:
        """Record how a rollout ended. Becoming active supersedes the revision that was, and its plan's policy holds."""
        where = (revision.project, revision.number)
        with self._database.transaction() as connection:
            if state == "active":
                connection.execute(
                    "UPDATE revisions SET state = 'superseded' WHERE project = ? AND state = 'active'",
                    (revision.project,),
                )
            connection.execute(
                "UPDATE revisions SET state = ?, finished = ?, phases = ?, reason = ?, figures = ?, bad = ?"
                " WHERE project = ? AND number = ?",
                (
                    state,
                    now,
                    msgspec.json.encode(phases).decode(),
                    reason,
                    msgspec.json.encode(figures or {}).decode(),
                    int(bad),
                    *where,
                ),
            )
            if state == "active":
                connection.execute(
                    "INSERT OR REPLACE INTO policies (project, body) SELECT project, json_extract(plan, '$.policy')"
                    " FROM revisions WHERE project = ? AND number = ? AND json_extract(plan, '$.policy') IS NOT NULL",
                    where,
                )

    def end(self, project: str) -> None:
        """The project has been taken down: no revision of it is active or rolling any more."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE revisions SET state = 'ended' WHERE project = ? AND state IN ('active', 'rolling')", (project,)
            )

    def policy(self, project: str) -> Policy | None:
        """How the project is looked after: the policy of what was applied last; None if nothing ever was."""
        row = self._database.one("SELECT body FROM policies WHERE project = ?", (project,))
        return None if row is None else msgspec.json.decode(row["body"], type=Policy)

    def set_policy(self, project: str, policy: Policy) -> None:
        """For a fleet file that differs in nothing else."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO policies (project, body) VALUES (?, ?)",
                (project, msgspec.json.encode(policy).decode()),
            )

    def revision(self, project: str, number: int) -> Revision:
        """One revision; ``NotFound``."""
        row = self._database.one("SELECT * FROM revisions WHERE project = ? AND number = ?", (project, number))
        if row is None:
            raise NotFound(f"revision {number} of project {project!r} does not exist", "`bennu releases` lists them")
        return _revision(row)

    def revisions(self, project: str) -> tuple[Revision, ...]:
        """All revisions of a project, newest first."""
        rows = self._database.query("SELECT * FROM revisions WHERE project = ? ORDER BY number DESC", (project,))
        return tuple(_revision(row) for row in rows)

    def projects(self) -> tuple[str, ...]:
        """The names of all projects that have a history."""
        return tuple(row["project"] for row in self._database.query("SELECT DISTINCT project FROM revisions"))

    def active(self, project: str) -> Revision | None:
        """The active revision, or None."""
        row = self._database.one("SELECT * FROM revisions WHERE project = ? AND state = 'active'", (project,))
        return None if row is None else _revision(row)

    def rolling(self, project: str) -> tuple[Revision, Plan] | None:
        """The revision that is being carried out, with its plan; its process may be dead."""
        row = self._database.one("SELECT * FROM revisions WHERE project = ? AND state = 'rolling'", (project,))
        return None if row is None else (_revision(row), msgspec.json.decode(row["plan"], type=Plan))

    def plan(self, project: str, number: int) -> Plan:
        """The plan that a revision carried out; ``NotFound``."""
        self.revision(project, number)
        row = self._database.one("SELECT plan FROM revisions WHERE project = ? AND number = ?", (project, number))
        assert row is not None
        return msgspec.json.decode(row["plan"], type=Plan)

    def last_number(self, project: str) -> int:
        """The number of the newest revision, whatever its state; 0 if there is none. Plans are bound to it."""
        row = self._database.one("SELECT MAX(number) AS last FROM revisions WHERE project = ?", (project,))
        return 0 if row is None or row["last"] is None else int(row["last"])

    def release(self, digest: Digest) -> Release:
        """A recorded release; ``NotFound``."""
        row = self._database.one("SELECT body FROM releases WHERE digest = ?", (digest,))
        if row is None:
            raise NotFound(f"release {digest!r} does not exist", "`bennu releases` lists them")
        return releases.decode(row["body"])

    def rollback_target(self, project: str, number: int | None = None, *, same: bool = False) -> Revision:
        """The revision that a rollback goes back to: the named one, else the newest good one before the active one's.

        ``same``: what runs now may be named, since something else than the release goes back.

        ``Conflict`` for a revision whose release never served or already serves; ``NotFound`` if there is none to go
        back to.
        """
        revisions, active = self.revisions(project), self.active(project)
        if number is not None:
            return self._named_target(self.revision(project, number), None if same else active, revisions)
        if active is None:
            raise NotFound(f"project {project!r} has no active revision", "`bennu apply` starts it")
        skipped: Revision | None = None
        for candidate in revisions:
            if (
                candidate.number < active.origin
                and candidate.state == "superseded"
                and candidate.release != active.release
            ):
                if last_verdict(candidate.release, revisions).bad:
                    skipped = skipped or candidate
                    continue
                return candidate if candidate.origin == candidate.number else self.revision(project, candidate.origin)
        if skipped is not None:
            failed = last_verdict(skipped.release, revisions)
            raise NotFound(
                f"project {project!r} has no good earlier revision to go back to: the release of revision "
                f"{skipped.number} failed as revision {failed.number} ({failed.reason or failed.state})",
                f"`bennu rollback {skipped.number}` tries it all the same",
            )
        raise NotFound(
            f"project {project!r} has no earlier revision to go back to",
            "`bennu history` lists all; `bennu rollback REVISION` names one",
        )

    def _named_target(self, chosen: Revision, active: Revision | None, revisions: Sequence[Revision]) -> Revision:
        number, project = chosen.number, chosen.project
        if active is not None and chosen.release == active.release:
            raise Conflict(f"revision {number} of project {project!r} is what runs now")
        if not any(each.release == chosen.release and each.state in SERVED for each in revisions):
            bad = "is bad and" if chosen.bad else "has"
            raise Conflict(
                f"revision {number} of project {project!r} {bad} never served ({chosen.reason or chosen.state})",
                "`bennu releases` lists those that did",
            )
        return self.revision(project, chosen.origin)

    def kept_sets(self, project: str, keep: int, *, besides: Digest | None = None) -> frozenset[SetId]:
        """The sets of the last ``keep`` releases that served: what may come back.

        The active release is not counted, nor is ``besides``: the one that is about to be.
        """
        active = self.active(project)
        seen: list[Digest] = []
        sets: set[SetId] = set()
        for revision in self.revisions(project):
            current = {besides, active.release if active is not None else None}
            if revision.state != "superseded" or revision.release in current:
                continue
            if revision.release not in seen:
                if len(seen) == keep:
                    break
                seen.append(revision.release)
            sets.update(revision.sets.values())
        return frozenset(sets)

    def last_uses(self) -> Iterator[tuple[Release, float]]:
        """Every release that there is, with when a revision of it last began or ended (Unix seconds)."""
        rows = self._database.query(
            "SELECT r.body, MAX(MAX(v.started, COALESCE(v.finished, 0))) AS last FROM releases r"
            " JOIN revisions v ON v.release = r.digest GROUP BY r.digest"
        )
        for row in rows:
            yield releases.decode(row["body"]), row["last"]

    def marker(self) -> tuple[int, float]:
        """Changes whenever a revision of any project begins or ends."""
        row = self._database.one("SELECT COUNT(*) AS many, COALESCE(MAX(finished), 0) AS last FROM revisions")
        return (0, 0.0) if row is None else (row["many"], row["last"])

    def save_plan(self, digest: Digest, plan: Plan, images: Iterable[Digest], now: float) -> None:
        """Remember that a plan was saved to a file, so that its images stay for it; forget those that are void."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM saved_plans WHERE created < ?", (now - SAVED_SECONDS,))
            connection.execute(
                "DELETE FROM saved_plans WHERE project = ? AND revision != ?", (plan.project, plan.revision)
            )
            connection.execute(
                "INSERT OR REPLACE INTO saved_plans (digest, project, revision, images, created)"
                " VALUES (?, ?, ?, ?, ?)",
                (digest, plan.project, plan.revision, msgspec.json.encode(sorted(set(images))).decode(), now),
            )

    def saved_images(self, now: float) -> dict[Digest, tuple[Digest, ...]]:
        """The images of saved plans that could still be applied, by the plans' digests: roots for garbage
        collection.
        """
        rows = self._database.query(
            "SELECT * FROM saved_plans p WHERE created >= ? AND revision ="
            " (SELECT COALESCE(MAX(number), 0) FROM revisions r WHERE r.project = p.project)",
            (now - SAVED_SECONDS,),
        )
        return {Digest(row["digest"]): msgspec.json.decode(row["images"], type=tuple[Digest, ...]) for row in rows}

    def images(self, kept: Iterable[Revision]) -> frozenset[Digest]:
        """The manifest digests that these revisions need: roots for garbage collection."""
        digests = {revision.release for revision in kept}
        return frozenset(entry.image for digest in digests for entry in self.release(digest).services.values())


def described(revision: Revision) -> str:
    """``revision 4 (apply, active) by root@host, pid 7 (bennu apply) at 2026-05-01 12:00:00``."""
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(revision.started))
    return f"revision {revision.number} ({revision.what}, {revision.state}) by {revision.author} at {at}"


class _OfPolicy(Value, frozen=True, kw_only=True):
    origin: Origin | None = None


class _OfPlan(Value, frozen=True, kw_only=True):
    """As much of a plan as its origin takes."""

    policy: _OfPolicy | None = None


def _origin(plan: str) -> Origin | None:
    policy = msgspec.json.decode(plan, type=_OfPlan).policy
    return None if policy is None else policy.origin


def last_verdict(release: Digest, revisions: Sequence[Revision]) -> Revision:
    """The revision, newest first, in which a release was last found good or bad; interrupted ones say nothing."""
    of_it = [each for each in revisions if each.release == release]
    return next((each for each in of_it if each.bad or each.state in SERVED), of_it[0])


def _revision(row: sqlite3.Row) -> Revision:
    return Revision(
        project=row["project"],
        number=row["number"],
        kind=row["kind"],
        release=Digest(row["release"]),
        origin=row["origin"],
        sets=msgspec.json.decode(row["sets"], type=dict[str, SetId]),
        state=row["state"],
        author=row["author"],
        started=row["started"],
        finished=row["finished"],
        phases=msgspec.json.decode(row["phases"], type=dict[str, float]),
        reason=row["reason"],
        figures=msgspec.json.decode(row["figures"], type=dict[str, dict[str, float]]),
        bad=bool(row["bad"]),
        origin_of_release=_origin(row["plan"]),
        source=None if row["source"] is None else msgspec.json.decode(row["source"], type=Source),
    )
