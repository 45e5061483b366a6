"""One look at a project: its revision, its sets and their traffic, its replicas, what is held, what comes next. Pure.

``Overview`` holds what was seen; ``document`` is what ``bennu status --format json`` prints, described in
docs/planning.md. What people read is ``cli.status_text``'s.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from bennu.compose.struct import Value
from bennu.deploy.drift.records import Look
from bennu.deploy.history import Revision
from bennu.deploy.hold.lease import Lease
from bennu.deploy.upkeep import Outlook
from bennu.engine.sets import Observation, ReplicaObservation, SetObservation

VERSION: Final = 1
Role = Literal["active", "canary", "kept", "candidate"]


class Overview(Value, frozen=True, kw_only=True, omit_defaults=True):
    """What was seen at ``now`` (Unix seconds). ``agent``: who it is, None if none runs."""

    observation: Observation
    now: float
    revision: Revision | None = None
    rolling: Revision | None = None
    agent: str | None = None
    outlook: Outlook = Outlook()
    drift: Look | None = None
    """The last look for drift, None where nobody has looked yet."""
    unheard: int = 0
    """Calls of hooks that did not go through."""
    leases: tuple[Lease, ...] = ()
    """Until when replicas are held, and why."""

    @property
    def is_well(self) -> bool:
        """Every active set is whole and ready; true of a project that is not there."""
        active = [self.observation.active_set(service) for service in self.observation.active]
        return all(found is not None and _is_fine(found) for found in active)

    @property
    def needs_switch(self) -> bool:
        """A service has ports, so that HAProxy has to run."""
        services = [found.spec.service for found in self.observation.sets.values()]
        return any(one.ports or one.expose for one in services)

    def role(self, found: SetObservation) -> Role:
        """What a set is to its service."""
        if self.observation.active.get(found.spec.service.name) == found.id:
            return "active"
        if found.share:
            return "canary"
        return "kept" if found.released is not None else "candidate"

    @property
    def sets(self) -> tuple[SetObservation, ...]:
        """All sets: by service, the active one first, then those that lost the traffic last."""
        order = {"active": 0, "canary": 1, "candidate": 2, "kept": 3}
        return tuple(
            sorted(
                self.observation.sets.values(),
                key=lambda found: (
                    found.spec.service.name, order[self.role(found)], -(found.released or 0.0), found.id,
                ),
            )
        )  # fmt: skip

    def lease(self, replica: str) -> Lease | None:
        """The lease of a held replica; None where nobody has one, as of one that is being begun."""
        return next((one for one in self.leases if one.replica == replica), None)

    def age_seconds(self, found: SetObservation) -> float:
        """The age of its oldest replica."""
        return max(0.0, self.now - min((replica.created for replica in found.replicas), default=self.now))


def document(seen: Overview) -> dict[str, Any]:
    """The overview as plain values."""
    observation, revision = seen.observation, seen.revision
    due = next((one for one in seen.outlook.due if one.at is not None), None)
    return {
        "format": "bennu status",
        "version": VERSION,
        "project": observation.project,
        "now": seen.now,
        "well": seen.is_well,
        "revision": None if revision is None else _revision(revision),
        "rolling": None if seen.rolling is None else _revision(seen.rolling),
        "switch": {"running": observation.switch_running, "needed": seen.needs_switch},
        "agent": seen.agent,
        "sets": [_set(seen, found) for found in seen.sets],
        "replicas": [
            _replica(replica)
            for found in seen.sets
            if seen.role(found) == "active"
            for replica in found.replicas
        ],
        "holds": [
            {
                "replica": hold.name,
                "traffic": hold.traffic,
                "in_set": hold.in_set,
                "set": hold.replica.set,
                **_lease(seen.lease(hold.name)),
            }
            for hold in observation.holds
        ],
        "next_reprovision": None if due is None else {"service": due.service, "set": due.set, "at": due.at},
        "drift": None if seen.drift is None else {"count": len(seen.drift.own), "looked": seen.drift.taken},
        "proven_rebuildable": seen.outlook.proven,
        "unheard": seen.unheard,
    }  # fmt: skip


def _is_fine(found: SetObservation) -> bool:
    done = [one for one in found.replicas if one.state == "exited" and one.exit_status == 0]
    return found.is_ready or len(done) == found.spec.replicas


def _revision(revision: Revision) -> dict[str, Any]:
    return {
        "number": revision.number,
        "kind": revision.kind,
        "state": revision.state,
        "release": revision.release,
        "author": revision.author,
        "started": revision.started,
        "finished": revision.finished,
    }


def _lease(lease: Lease | None) -> dict[str, Any]:
    return {
        "until": None if lease is None else lease.until,
        "left_seconds": None if lease is None else lease.left_seconds,
        "reason": None if lease is None else lease.reason,
        "author": None if lease is None else lease.author,
        "renewals": None if lease is None else lease.renewals,
    }


def _set(seen: Overview, found: SetObservation) -> dict[str, Any]:
    return {
        "set": found.id,
        "service": found.spec.service.name,
        "role": seen.role(found),
        "temperature": found.temperature,
        "share_percent": found.share,
        "replicas": found.spec.replicas,
        "ready": sum(replica.is_ready for replica in found.replicas),
        "image": found.spec.image,
        "image_name": found.spec.image_name,
        "age_seconds": round(seen.age_seconds(found), 3),
        "released": found.released,
        "sessions": found.sessions,
        "requests": found.traffic.requests,
        "failures": found.traffic.failures,
        "requests_per_second": found.traffic.per_second,
    }


def _replica(replica: ReplicaObservation) -> dict[str, Any]:
    return {
        "replica": replica.name,
        "set": replica.set,
        "state": replica.state,
        "health": replica.health,
        "address": replica.address,
        "exit_status": replica.exit_status,
        "restarts": replica.restarts,
        "created": replica.created,
        "started": replica.started,
        "problem": replica.problem,
    }
