"""What runs of a project: containers as the kernel has them, with what is remembered of their sets and health."""

from __future__ import annotations

from typing import Literal, cast

from bennu.compose.model import Service
from bennu.engine.embedded.health import HealthState, check_of
from bennu.engine.embedded.records import EngineRecords
from bennu.engine.sets import (
    Facts,
    HoldObservation,
    Observation,
    ReplicaObservation,
    SetId,
    SetObservation,
    SetSpec,
    TrafficObservation,
)
from bennu.runtime import options as labels
from bennu.runtime.containers import Container, Containers
from bennu.runtime.networks import Networks
from bennu.switch.switch import Switch, SwitchStatus


def replicas_of_set(
    containers: Containers, networks: Networks, records: EngineRecords, spec: SetSpec
) -> tuple[ReplicaObservation, ...]:
    """The replicas of one set, in order of their index."""
    found = containers.list({labels.PROJECT: spec.project, labels.SET: spec.id})
    health = records.health(container.id for container in found)
    seen = (_replica(container, spec.service, spec.id, networks, health.get(container.id)) for container in found)
    return tuple(sorted(seen, key=lambda replica: replica.index))


def holds_of_set(
    containers: Containers, networks: Networks, records: EngineRecords, spec: SetSpec
) -> tuple[HoldObservation, ...]:
    """The held replicas that were made for a set."""
    found = containers.list({labels.PROJECT: spec.project, labels.HELD: spec.id})
    health = records.health(container.id for container in found) if found else {}
    return tuple(
        _hold(container, _replica(container, spec.service, spec.id, networks, health.get(container.id)))
        for container in found
    )


def observe(
    containers: Containers, networks: Networks, records: EngineRecords, project: str, switch: Switch | None = None
) -> Observation:
    """The project as it is. Without ``switch`` nothing is said of sessions: asking for them costs the most."""
    known = records.sets(project)
    found = containers.list({labels.PROJECT: project})
    health = records.health(container.id for container in found)
    by_set: dict[str, list[ReplicaObservation]] = {}
    holds: list[HoldObservation] = []
    for container in found:
        given = container.record.labels
        of, held = SetId(given.get(labels.SET, "")), given.get(labels.HELD)
        name = SetId(held or of)
        if name not in known and held is None:
            continue
        service = known[name].spec.service if name in known else None
        replica = _replica(container, service, name, networks, health.get(container.id))
        if of in known:
            by_set.setdefault(of, []).append(replica)
        if held is not None:
            holds.append(_hold(container, replica))
    status = switch.status() if switch is not None else SwitchStatus(running=False, draining=0, sets=())
    sessions = {one.set: one.sessions for one in status.sets}
    shares = {one.set: one.share for one in status.sets}
    traffic = {
        one.set: TrafficObservation(requests=one.requests, failures=one.failures, per_second=one.rate)
        for one in status.sets
    }
    sets = {
        name: SetObservation(
            spec=record.spec,
            replicas=tuple(sorted(by_set.get(name, ()), key=lambda replica: replica.index)),
            sessions=sessions.get(name, 0),
            released=record.released,
            traffic=traffic.get(name, TrafficObservation()),
            share=shares.get(name, 0),
        )
        for name, record in known.items()
    }
    return Observation(
        project=project,
        sets=sets,
        active=records.active(project),
        switch_running=status.running,
        holds=tuple(sorted(holds, key=lambda held: (held.replica.service, held.replica.index))),
    )


def facts(containers: Containers, records: EngineRecords, project: str) -> Facts:
    """The facts of ``observe``, without a look at what runs."""
    sets: dict[SetId, list[int]] = {name: [] for name in records.sets(project)}
    for record in containers.records.walk({labels.PROJECT: project}):
        name = SetId(record.labels.get(labels.SET, ""))
        if name in sets:
            sets[name].append(int(record.labels.get(labels.REPLICA, "0")))
    return Facts(active=records.active(project), sets={name: tuple(sorted(found)) for name, found in sets.items()})


def _hold(container: Container, replica: ReplicaObservation) -> HoldObservation:
    given = container.record.labels
    traffic = given.get(labels.HELD_TRAFFIC, "")
    assert traffic in {"in", "leaving", "out", "stopped"}
    return HoldObservation(
        replica=replica,
        traffic=cast("Literal['in', 'leaving', 'out', 'stopped']", traffic),
        in_set=labels.SET in given,
    )


def _replica(
    container: Container, service: Service | None, name: SetId, networks: Networks, health: HealthState | None
) -> ReplicaObservation:
    """A container as a replica; ``service`` is None where its set is gone, and nobody knows how it is probed."""
    status, record = container.status, container.record
    alive = status.is_alive
    current = health if health is not None and health.started == status.started and alive else None
    plugs = networks.attachments(record.id) if alive else ()
    problem = current.problem if current is not None and current.verdict != "healthy" else None
    return ReplicaObservation(
        service=record.labels.get(labels.SERVICE, ""),
        set=name,
        index=int(record.labels.get(labels.REPLICA, "0")),
        container=record.id,
        state="exited" if status.state == "dead" else status.state,
        health="none"
        if service is None or check_of(service, record.config) is None
        else "starting"
        if current is None
        else current.verdict,
        address=plugs[0].address if plugs else None,
        exit_status=None if alive or status.state == "created" else status.exit_status,
        restarts=status.restarts,
        created=record.created,
        started=status.started,
        problem=problem or status.error or ("out of memory" if status.oom_killed else None),
    )
