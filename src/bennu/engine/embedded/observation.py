"""What runs of a project: containers as the kernel has them, with what is remembered of their sets and health."""

from __future__ import annotations

from collections.abc import Mapping

from bennu.engine.embedded.health import HealthState, check_of
from bennu.engine.embedded.records import EngineRecords
from bennu.engine.sets import Observation, ReplicaObservation, SetId, SetObservation, SetSpec
from bennu.runtime import options as labels
from bennu.runtime.containers import Container, Containers
from bennu.runtime.networks import Networks
from bennu.switch.switch import Switch, SwitchStatus


def replicas_of(
    containers: Containers,
    networks: Networks,
    records: EngineRecords,
    specs: Mapping[SetId, SetSpec],
    wanted: Mapping[str, str],
) -> dict[SetId, tuple[ReplicaObservation, ...]]:
    """The replicas of these sets, in order of their index; ``wanted``: the labels that all of them have."""
    found = containers.list(wanted)
    health = records.health(container.id for container in found)
    by_set: dict[SetId, list[ReplicaObservation]] = {}
    for container in found:
        name = SetId(container.record.labels.get(labels.SET, ""))
        if name in specs:
            replica = _replica(container, specs[name], networks, health.get(container.id))
            by_set.setdefault(name, []).append(replica)
    return {name: tuple(sorted(members, key=lambda replica: replica.index)) for name, members in by_set.items()}


def replicas_of_set(
    containers: Containers, networks: Networks, records: EngineRecords, spec: SetSpec
) -> tuple[ReplicaObservation, ...]:
    """The replicas of one set, in order of their index."""
    wanted = {labels.PROJECT: spec.project, labels.SET: spec.id}
    return replicas_of(containers, networks, records, {spec.id: spec}, wanted).get(spec.id, ())


def observe(
    containers: Containers, networks: Networks, records: EngineRecords, project: str, switch: Switch | None = None
) -> Observation:
    """The project as it is. Without ``switch`` nothing is said of sessions: asking for them costs the most."""
    known = records.sets(project)
    specs = {name: record.spec for name, record in known.items()}
    replicas = replicas_of(containers, networks, records, specs, {labels.PROJECT: project})
    status = switch.status() if switch is not None else SwitchStatus(running=False, draining=0, sets=())
    sessions = {one.set: one.sessions for one in status.sets}
    sets = {
        name: SetObservation(
            spec=record.spec,
            replicas=replicas.get(name, ()),
            sessions=sessions.get(name, 0),
            released=record.released,
        )
        for name, record in known.items()
    }
    return Observation(project=project, sets=sets, active=records.active(project), switch_running=status.running)


def _replica(container: Container, spec: SetSpec, networks: Networks, health: HealthState | None) -> ReplicaObservation:
    status, record = container.status, container.record
    alive = status.is_alive
    current = health if health is not None and health.started == status.started and alive else None
    plugs = networks.attachments(record.id) if alive else ()
    problem = current.problem if current is not None and current.verdict != "healthy" else None
    return ReplicaObservation(
        service=spec.service.name,
        set=spec.id,
        index=int(record.labels.get(labels.REPLICA, "0")),
        container=record.id,
        state="exited" if status.state == "dead" else status.state,
        health="none"
        if check_of(spec.service, record.config) is None
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
