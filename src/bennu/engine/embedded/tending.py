"""What the agent does for a project: replicas that ended come back, sick ones leave the traffic, the switch is right.

Only active sets are restarted; kept sets that are warm are watched, so that a rollback knows whom it can trust; a
candidate is its rollout's affair. ``tend`` does what is due and says when it wants to be called again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec

from bennu.compose.model import Restart, Service
from bennu.engine.base import Observation, ReplicaObservation, Report, SetObservation
from bennu.engine.embedded.health import Check, HealthState, after, check_of, due, due_eagerly
from bennu.engine.embedded.probes import probe
from bennu.engine.embedded.records import EngineRecords
from bennu.engine.embedded.replicas import Replicas
from bennu.engine.embedded.traffic import Traffic
from bennu.errors import BennuError
from bennu.store.images import Images

FIRST_DELAY_SECONDS: Final = 0.1
LONGEST_DELAY_SECONDS: Final = 60.0
STABLE_SECONDS: Final = 10.0
IDLE_SECONDS: Final = 30.0
RECOVERY_SECONDS: Final = 1.0
PARALLEL: Final = 8


class Restarts(msgspec.Struct):
    """How often a replica came back in a row, and when it may next (Unix seconds)."""

    count: int = 0
    not_before: float = 0.0


class Tending:
    """The care for all projects; remembers restarts between calls."""

    def __init__(
        self,
        replicas: Replicas,
        records: EngineRecords,
        traffic: Traffic,
        images: Images,
        observe: Callable[[str], Observation],
    ) -> None:
        self._replicas = replicas
        self._records = records
        self._traffic = traffic
        self._images = images
        self._observe = observe
        self._restarts: dict[str, Restarts] = {}

    def tend(self, project: str, now: float, report: Report) -> float:
        """Do what is due; the seconds until something is due again."""
        observation = self._observe(project)
        stopped = {name for name, record in self._records.sets(project).items() if record.stopped}
        later = [IDLE_SECONDS]
        trouble: list[BennuError] = []
        for found in observation.sets.values():
            is_active = observation.active.get(found.spec.service.name) == found.id
            try:
                if is_active and found.id not in stopped and not self._is_job(found, observation):
                    later.append(self._restart(found, now, report))
                if is_active or found.released is not None:
                    later.append(self._watch(found, now))
            except BennuError as error:  # one set's trouble must not keep the others and the switch from their care
                trouble.append(error)
        self._steer(project)
        self._traffic.switch(project).tend()
        if trouble:
            raise trouble[0]
        return max(0.0, min(later))

    def _steer(self, project: str) -> None:
        """Tell the switch of every active set's replicas, as they are now."""
        observation = self._observe(project)
        for name in observation.active.values():
            found = observation.sets.get(name)
            if found is not None and self._traffic.is_served(found.spec):
                self._traffic.put_active(found.spec, found.replicas, _ready(found))
        self._traffic.align(project)

    # restarts

    def _restart(self, found: SetObservation, now: float, report: Report) -> float:
        """Bring back what ended, all at once; the seconds until more is due."""
        gone = {replica.container: replica for replica in found.replicas if self._has_to_come_back(found, replica)}
        due = [name for name, replica in gone.items() if self._is_due(name, replica.started, now)]
        if len(found.replicas) < found.spec.replicas and self._is_due(found.id, None, now):
            due.append(found.id)
        if due:
            with ThreadPoolExecutor(min(PARALLEL, len(due)), thread_name_prefix="bennu-restart") as pool:
                for line in pool.map(lambda name: self._bring_back(found, gone.get(name)), due):
                    report(line)
            return RECOVERY_SECONDS
        return min((self._restarts[name].not_before - now for name in gone), default=IDLE_SECONDS)

    def _is_due(self, name: str, started: float | None, now: float) -> bool:
        """Whether its turn has come; then it has been counted."""
        memory = self._restarts.setdefault(name, Restarts())
        if started is not None and now - started > STABLE_SECONDS + memory.count:
            memory.count = 0
        if memory.not_before > now:
            return False
        memory.count += 1
        memory.not_before = now + min(FIRST_DELAY_SECONDS * 2**memory.count, LONGEST_DELAY_SECONDS)
        return True

    def _bring_back(self, found: SetObservation, replica: ReplicaObservation | None) -> str:
        """Start a replica again, or make those that are missing; what is to be said about it."""
        name = f"set {found.id}" if replica is None else replica.name
        try:
            if replica is None:
                return f"{name} had lost replicas: {self._replicas.complete(found.spec)} were made again"
            self._replicas.revive(found.spec, replica)
        except BennuError as error:
            return f"{name} could not be started again: {error.message}"
        return (
            f"{name} {'was sick' if replica.state == 'running' else f'ended with {replica.exit_status}'} and was"
            " started again"
        )

    def _has_to_come_back(self, found: SetObservation, replica: ReplicaObservation) -> bool:
        policy = found.spec.service.restart
        if replica.state == "created":
            return True
        if replica.state == "running":
            return replica.health == "unhealthy" and _restarts(policy, 1, 0)
        memory = self._restarts.get(replica.container, Restarts())
        return replica.state == "exited" and _restarts(policy, replica.exit_status or 0, memory.count)

    def _is_job(self, found: SetObservation, observation: Observation) -> bool:
        name = found.spec.service.name
        every: list[Service] = [other.spec.service for other in observation.sets.values()]
        return any(
            service.depends_on[name].condition == "service_completed_successfully"
            for service in every
            if name in service.depends_on
        )

    # health

    def _watch(self, found: SetObservation, now: float) -> float:
        check = check_of(found.spec.service, self._images.get(found.spec.image).config.config)
        running = [replica for replica in found.replicas if replica.state == "running"]
        if check is None or not running:
            return IDLE_SECONDS
        known = self._records.health(replica.container for replica in running)
        states = {replica.container: _state(known.get(replica.container), replica, now) for replica in running}
        wanted = [replica for replica in running if when(check, states[replica.container]) <= now]

        def ask(replica: ReplicaObservation) -> tuple[str, HealthState]:
            began = time.time()
            record = self._replicas.containers.resolve(replica.container)
            answer = probe(self._replicas.containers, record, replica.address, check)
            return replica.container, after(check, states[replica.container], answer, began)

        if wanted:
            with ThreadPoolExecutor(min(PARALLEL, len(wanted)), thread_name_prefix="bennu-probe") as pool:
                answered = dict(pool.map(ask, wanted))
            states.update(answered)
            self._records.put_health(answered)
        return max(0.0, min(when(check, state) for state in states.values()) - time.time())


def _state(known: HealthState | None, replica: ReplicaObservation, now: float) -> HealthState:
    started = replica.started if replica.started is not None else now
    return known if known is not None and known.started == started else HealthState(started=started)


def when(check: Check, state: HealthState) -> float:
    """When the agent probes next: one that came back is waited for, as it gets no requests until it is healthy."""
    return due_eagerly(check, state) if state.verdict == "starting" else due(check, state)


def _ready(found: SetObservation) -> dict[str, bool]:
    """Who takes requests: all that are ready; if none is, all that run, since a guess beats a refusal."""
    ready = {replica.container: replica.is_ready for replica in found.replicas}
    if any(ready.values()):
        return ready
    return {replica.container: replica.state == "running" for replica in found.replicas}


def _restarts(policy: Restart | None, exit_status: int, count: int) -> bool:
    """Whether a replica that ended comes back; without a word in the file it does: a fleet's servers are to run."""
    if policy is None:
        return True
    if policy.max_attempts is not None and count >= policy.max_attempts:
        return False
    match policy.condition:
        case "no":
            return False
        case "on-failure":
            return exit_status != 0
        case _:
            return True
