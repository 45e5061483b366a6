"""``bennu status``: one screen on a project: its sets, active and kept, and its replicas."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bennu.cli.command import PROJECT, Arguments, Command, option
from bennu.cli.context import Context
from bennu.cli.fleet import project_name
from bennu.cli.human import duration
from bennu.cli.output import table
from bennu.digest import short

if TYPE_CHECKING:
    from bennu.deploy.history import Revision
    from bennu.engine.sets import Observation, ReplicaObservation, SetObservation

COMMAND = Command(
    "status",
    "Show a project: sets, replicas, health, revision",
    (*PROJECT, option("--format", metavar="FORMAT", help="json, or text", choices=("json", "text"), default="text")),
    description="Exits with 1 if a replica of an active set is not ready or the switch does not run.",
)


def run(args: Arguments, context: Context) -> int:
    """Observe and print."""
    from bennu.deploy.agent import running
    from bennu.wiring import Fleet

    name = project_name(args, context)
    with Fleet(context.settings) as fleet:
        observation = fleet.engine.observe(name)
        revision = fleet.history.active(name)
        rolling = fleet.history.rolling(name)
    agent = running(context.settings)
    if args.format == "json":
        from bennu.compose.canonical import canonical_json

        context.print(canonical_json(observation).decode())
    else:
        for line in _head(name, observation, revision, agent):
            context.print(line)
        if rolling is not None:
            context.print(f"Rolling:   revision {rolling[0].number} by {rolling[0].author}")
        if observation.sets:
            context.stdout.write("\n" + _sets(observation, time.time()) + "\n" + _replicas(observation, time.time()))
    return 0 if is_well(observation) else 1


def is_well(observation: Observation) -> bool:
    """Every active set is whole and ready; true of a project that is not there."""
    active = [observation.active_set(service) for service in observation.active]
    return all(found is not None and _is_fine(found) for found in active)


def _is_fine(found: SetObservation) -> bool:
    done = [r for r in found.replicas if r.state == "exited" and r.exit_status == 0]
    return found.is_ready or len(done) == found.spec.replicas


def _head(name: str, observation: Observation, revision: Revision | None, agent: str | None) -> list[str]:
    lines = [f"Project:   {name}"]
    if revision is not None:
        age = duration(time.time() - (revision.finished or revision.started))
        lines.append(f"Revision:  {revision.number} ({revision.kind}, release {short(revision.release)}, for {age})")
    else:
        lines.append("Revision:  none is active")
    if observation.sets:
        lines.append(f"Switch:    {_switch(observation)}")
    lines.append(f"Agent:     {agent or 'not running'}")
    return lines


def _switch(observation: Observation) -> str:
    if observation.switch_running:
        return "running"
    services = [found.spec.service for found in observation.sets.values()]
    return "not running" if any(one.ports or one.expose for one in services) else "not needed, no service has ports"


def _sets(observation: Observation, now: float) -> str:
    rows = []
    for found in sorted(observation.sets.values(), key=lambda s: (s.spec.service.name, s.released is not None, s.id)):
        service = found.spec.service.name
        active = observation.active.get(service) == found.id
        ready = sum(replica.is_ready for replica in found.replicas)
        oldest = min((replica.created for replica in found.replicas), default=now)
        rows.append(
            [
                service,
                found.id,
                _role(found, is_active=active),
                "-" if active else found.temperature,
                f"{ready}/{found.spec.replicas}",
                str(found.sessions),
                duration(now - oldest),
                f"{found.spec.image_name} ({short(found.spec.image)})",
            ]
        )
    return table(["SERVICE", "SET", "ROLE", "TEMPERATURE", "READY", "SESSIONS", "AGE", "IMAGE"], rows)


def _role(found: SetObservation, *, is_active: bool) -> str:
    if is_active:
        return "active"
    if found.share:
        return f"canary {found.share}%"
    return "kept" if found.released is not None else "candidate"


def _replicas(observation: Observation, now: float) -> str:
    rows = []
    for service, name in sorted(observation.active.items()):
        found = observation.sets.get(name)
        rows += [_replica(replica, now) for replica in (found.replicas if found else ())]
        if found is None:
            rows.append([service, "missing", "", "", "", f"set {name} is gone: `bennu apply` brings it back"])
    return table(["REPLICA", "STATE", "HEALTH", "ADDRESS", "RESTARTS", "PROBLEM"], rows)


def _replica(replica: ReplicaObservation, now: float) -> list[str]:
    state: str = replica.state
    if replica.state == "running" and replica.started is not None:
        state = f"up {duration(now - replica.started)}"
    elif replica.state == "exited":
        state = f"exited ({replica.exit_status})"
    return [
        replica.name,
        state,
        "-" if replica.health == "none" else replica.health,
        replica.address or "-",
        str(replica.restarts),
        (replica.problem or "").splitlines()[0] if replica.problem else "",
    ]
