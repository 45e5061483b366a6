"""What runs of a project: containers as the kernel has them, with what is remembered of their sets and health."""

from __future__ import annotations

from bennu.engine.base import Observation, ReplicaObservation, SetId, SetObservation, SetSpec
from bennu.engine.embedded.health import HealthState, check_of
from bennu.engine.embedded.records import EngineRecords
from bennu.runtime import options as labels
from bennu.runtime.containers import Container, Containers
from bennu.runtime.networks import Networks
from bennu.switch.switch import Switch


def replicas_of(
    containers: Containers, networks: Networks, records: EngineRecords, project: str, set_id: SetId | None = None
) -> dict[SetId, list[ReplicaObservation]]:
    """The replicas of a project, or of one set of it, by set and in order of their index."""
    wanted = {labels.PROJECT: project} | ({} if set_id is None else {labels.SET: set_id})
    found = containers.list(wanted)
    health = records.health(container.id for container in found)
    specs = {name: record.spec for name, record in records.sets(project).items()}
    by_set: dict[SetId, list[ReplicaObservation]] = {}
    for container in found:
        name = SetId(container.record.labels.get(labels.SET, ""))
        if name in specs:
            replica = _replica(container, specs[name], networks, health.get(container.id))
            by_set.setdefault(name, []).append(replica)
    for members in by_set.values():
        members.sort(key=lambda replica: replica.index)
    return by_set


def observe(
    containers: Containers, networks: Networks, records: EngineRecords, switch: Switch, project: str
) -> Observation:
    """The project as it is."""
    replicas = replicas_of(containers, networks, records, project)
    status = switch.status()
    sessions = {one.set: one.sessions for one in status.sets}
    sets = {
        name: SetObservation(
            spec=record.spec,
            replicas=tuple(replicas.get(name, ())),
            sessions=sessions.get(name, 0),
            released=record.released,
        )
        for name, record in records.sets(project).items()
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
