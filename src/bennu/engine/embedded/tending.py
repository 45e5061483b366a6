"""What the agent does for a project: replicas that ended come back, sick ones leave the traffic, the switch is right.

Only active sets are restarted, and never jobs, nor what was stopped on purpose; kept sets that are warm are probed, so
that a rollback knows whom it can trust; a candidate is its rollout's affair until it has a share of the traffic. A sick
replica gets no requests at once, and is replaced by a fresh one when it has stayed sick for ``SICK_SECONDS``, one of a
set at a time. ``tend`` begins what is due, waits a moment for it, and says when it wants to be called again; what takes
longer announces itself at ``descriptor``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from typing import Final

import msgspec

from bennu.engine.base import Report
from bennu.engine.clock import believable
from bennu.engine.embedded.chores import Chores
from bennu.engine.embedded.health import Check, HealthState, check_of, due, due_eagerly
from bennu.engine.embedded.holding import Holding
from bennu.engine.embedded.probes import ask
from bennu.engine.embedded.records import EngineRecords
from bennu.engine.embedded.replicas import Replicas, jobs_of
from bennu.engine.embedded.restarts import Attempts, after_attempt, after_end, comes_back, longest_delay
from bennu.engine.embedded.routing import takes_requests
from bennu.engine.embedded.traffic import Traffic
from bennu.engine.sets import HoldObservation, Observation, ReplicaObservation, SetObservation
from bennu.errors import BennuError
from bennu.runtime import options as labels
from bennu.store.images import Images

SICK_SECONDS: Final = 15.0
IDLE_SECONDS: Final = 30.0
LOGS_SECONDS: Final = 10.0
AGAIN_SECONDS: Final = 0.05
SETTLE_SECONDS: Final = 0.25

Done = HealthState | str
"""What a chore gives: the health of the replica that was probed, or a line about what was brought back."""


class Tending:
    """The care for all projects; remembers between calls what was tried."""

    def __init__(
        self,
        replicas: Replicas,
        records: EngineRecords,
        traffic: Traffic,
        images: Images,
        look: Callable[[str], Observation],
        *,
        holding: Holding,
    ) -> None:
        self._replicas = replicas
        self._records = records
        self._traffic = traffic
        self._images = images
        self._look = look
        self._holding = holding
        self._attempts: dict[str, Attempts] = {}
        self._chores: dict[str, Chores[Done]] = {}

    def descriptor(self, project: str) -> int:
        """What can be read when something that ``tend`` began for a project has come to its end."""
        return self._chores_of(project).fileno()

    def forget_all_but(self, projects: Collection[str]) -> None:
        """Let go of what was kept for projects that are no more."""
        for project in self._chores.keys() - set(projects):
            self._chores.pop(project).close()

    def tend(self, project: str, now: float, report: Report) -> float:
        """Do what is due; the seconds until something is due again."""
        chores = self._chores_of(project)
        self._take(chores, report)
        observation = self._look(project)
        if observation.holds:
            self._holding.tend(observation, report)
        self._steer(observation)
        later, trouble = self._begin_all(observation, chores, now)
        chores.settle(SETTLE_SECONDS)
        if self._take(chores, report):
            self._steer(self._look(project))
            later = min(later, AGAIN_SECONDS)
        self._traffic.switch(project).tend()
        running = [one for one in _everyone(observation) if one.state == "running"]
        for replica in running:
            self._replicas.rotate_log(replica)
        if trouble:
            raise trouble[0]
        return max(0.0, min(later, LOGS_SECONDS if running else later))

    def _begin_all(self, observation: Observation, chores: Chores[Done], now: float) -> tuple[float, list[BennuError]]:
        stopped = {name for name, record in self._records.sets(observation.project).items() if record.stopped}
        health = self._records.health(one.container for one in _everyone(observation))
        jobs = jobs_of(observation)
        canaries = self._traffic.canaries(observation.project)
        later = [IDLE_SECONDS]
        trouble: list[BennuError] = []
        for found in observation.sets.values():
            is_active = observation.active.get(found.spec.service.name) == found.id
            try:
                if is_active and found.id not in stopped and found.spec.service.name not in jobs:
                    later.append(self._restart(_spared(found, observation.holds), health, chores, now))
                if is_active or found.released is not None or found.id in canaries:
                    later.append(self._watch(_joined(found, observation.holds), health, chores, now))
            except BennuError as error:  # one set's trouble must not keep the others from their care
                trouble.append(error)
        return min(later), trouble

    def _take(self, chores: Chores[Done], report: Report) -> bool:
        """Take in what has been done; whether anything was."""
        results = chores.results()
        states = {key.partition(" ")[0]: result for key, result in results.items() if isinstance(result, HealthState)}
        self._records.put_health(states)
        for result in results.values():
            if isinstance(result, BennuError):
                report(result.message)
            elif isinstance(result, str) and result:
                report(result)
        return bool(results)

    def _steer(self, observation: Observation) -> None:
        """Tell the switch of every active set's replicas, as they are now."""
        for name in observation.active.values():
            found = observation.sets.get(name)
            if found is not None and self._traffic.is_served(found.spec):
                leaving = self._records.leaving(time.time())
                ready = takes_requests(found.replicas, leaving)
                self._traffic.put_active(found.spec, found.replicas, ready, observation.holds)
        self._traffic.align(observation.project)

    def _chores_of(self, project: str) -> Chores[Done]:
        if project not in self._chores:
            self._chores[project] = Chores()
        return self._chores[project]

    # restarts

    def _restart(
        self, found: SetObservation, health: Mapping[str, HealthState], chores: Chores[Done], now: float
    ) -> float:
        """Begin to bring back what has to be; the seconds until more is due."""
        later = IDLE_SECONDS
        longest = SICK_SECONDS + longest_delay(found.spec.service.restart)
        turns = {
            one.container: None if turn is None else believable(turn, now, longest)
            for one in found.replicas
            for turn in (self._turn(found, one, health.get(one.container), now),)
        }
        is_replacing = any(one.state == "running" and chores.has(one.container) for one in found.replicas)
        for replica in found.replicas:
            turn = turns[replica.container]
            if turn is None or chores.has(replica.container):
                continue
            if turn > now or (replica.state == "running" and is_replacing):
                later = min(later, max(turn - now, AGAIN_SECONDS))
                continue
            is_replacing |= replica.state == "running"
            self._count(found, replica.container, now)
            self._begin(chores, found, replica)
        if len(found.replicas) < found.spec.replicas and not is_replacing:
            later = min(later, self._complete(found, chores, now))
        return later

    def _begin(self, chores: Chores[Done], found: SetObservation, replica: ReplicaObservation) -> None:
        chores.begin(replica.container, lambda: self._bring_back(found, replica))

    def _complete(self, found: SetObservation, chores: Chores[Done], now: float) -> float:
        """Begin to make replicas that are gone without a trace."""
        attempts = self._attempts.get(found.id, Attempts())
        turn = believable(attempts.not_before, now, longest_delay(found.spec.service.restart))
        if turn > now or chores.has(found.id):
            return max(turn - now, AGAIN_SECONDS)
        self._count(found, found.id, now)
        chores.begin(found.id, lambda: self._make_missing(found))
        return IDLE_SECONDS

    def _count(self, found: SetObservation, key: str, now: float) -> None:
        self._attempts[key] = after_attempt(self._attempts.get(key, Attempts()), now, found.spec.service.restart)

    def _turn(
        self, found: SetObservation, replica: ReplicaObservation, health: HealthState | None, now: float
    ) -> float | None:
        """When a replica has to be brought back (Unix seconds); None if it has not."""
        policy = found.spec.service.restart
        attempts = self._attempts.get(replica.container, Attempts())
        if replica.state == "running":
            if replica.health != "unhealthy" or not comes_back(policy, 1, 0):
                return None
            since = health.since if health is not None and health.since is not None else now
            return max(since + SICK_SECONDS, attempts.not_before)
        if replica.state == "exited":
            ended = self._replicas.containers.inspect(replica.container).status.finished
            attempts = after_end(
                attempts, started=replica.started, ended=now if ended is None else ended, policy=policy
            )
            self._attempts[replica.container] = attempts
            if not comes_back(policy, replica.exit_status or 0, attempts.count):
                return None
        return None if replica.state == "paused" else attempts.not_before

    def _bring_back(self, found: SetObservation, replica: ReplicaObservation) -> str:
        """Start a replica again, a sick one as a fresh container; what is to be said about it."""
        if replica.state == "running":
            if self._is_held(replica):
                return ""
            self._replicas.containers.stop(replica.container)
        with self._replicas.on_duty(found.spec.project):
            if not self._is_wanted(found) or (replica.state == "running" and self._is_held(replica)):
                return ""
            try:
                if replica.state == "running":
                    self._replicas.renew(found.spec, replica)
                    return f"{replica.name} was sick ({replica.problem}) and begins anew"
                current = self._replicas.containers.inspect(replica.container)
                if current.status.is_alive or labels.SET not in current.record.labels:
                    return ""  # somebody was just about to start it, or holds it
                self._replicas.revive(found.spec, replica)
            except BennuError as error:
                return error.message if replica.name in error.message else f"{replica.name}: {error.message}"
        why = "was not running" if replica.exit_status is None else f"ended with {replica.exit_status}"
        return f"{replica.name} {why} and was started again"

    def _make_missing(self, found: SetObservation) -> str:
        with self._replicas.on_duty(found.spec.project):
            if not self._is_wanted(found):
                return ""
            made = self._replicas.complete(found.spec)
        return f"set {found.id} had lost replicas: {made} made again" if made else ""

    def _is_held(self, replica: ReplicaObservation) -> bool:
        """Somebody holds it since it was looked at: it is not to be replaced any more."""
        return labels.HELD in self._replicas.containers.resolve(replica.container).labels

    def _is_wanted(self, found: SetObservation) -> bool:
        record = self._records.sets(found.spec.project).get(found.id)
        is_active = self._records.active(found.spec.project).get(found.spec.service.name) == found.id
        return is_active and record is not None and not record.stopped

    # health

    def _watch(
        self, found: SetObservation, health: Mapping[str, HealthState], chores: Chores[Done], now: float
    ) -> float:
        """Begin the probes that are due; the seconds until the next ones are."""
        check = check_of(found.spec.service, self._images.get(found.spec.image).config.config)
        later = IDLE_SECONDS
        for replica in found.replicas if check is not None else ():
            key = f"{replica.container} probe"
            if replica.state != "running" or chores.has(key):
                continue
            assert check is not None
            state = _state(health.get(replica.container), replica, now)
            when = _when(check, state, now)
            if when > now:
                later = min(later, when - now)
            else:
                self._probe(chores, key, replica, check, state)
        return later

    def _probe(
        self, chores: Chores[Done], key: str, replica: ReplicaObservation, check: Check, state: HealthState
    ) -> None:
        containers = self._replicas.containers
        record = containers.resolve(replica.container)
        chores.begin(key, lambda: ask(containers, record, replica, check, state).told(check, state))


def _everyone(observation: Observation) -> list[ReplicaObservation]:
    members = [one for found in observation.sets.values() for one in found.replicas]
    return members + [held.replica for held in observation.holds if not held.in_set]


def _spared(found: SetObservation, holds: Collection[HoldObservation]) -> SetObservation:
    """A set whose held replicas are not sick, whatever their probes say: nobody replaces them."""
    held = {one.replica.container for one in holds if one.in_set}
    if not held:
        return found
    replicas = (msgspec.structs.replace(r, health="none") if r.container in held else r for r in found.replicas)
    return msgspec.structs.replace(found, replicas=tuple(replicas))


def _joined(found: SetObservation, holds: Collection[HoldObservation]) -> SetObservation:
    """A set with the held replicas that get requests beside it: they are probed as its own are."""
    held = tuple(one.replica for one in holds if one.is_server and one.replica.set == found.id)
    return msgspec.structs.replace(found, replicas=(*found.replicas, *held)) if held else found


def _state(known: HealthState | None, replica: ReplicaObservation, now: float) -> HealthState:
    started = replica.started if replica.started is not None else now
    return known if known is not None and known.started == started else HealthState(started=started)


def _when(check: Check, state: HealthState, now: float) -> float:
    """When the agent probes next: one that came back is waited for, as it gets no requests until it is healthy."""
    when = due_eagerly(check, state) if state.verdict == "starting" else due(check, state)
    return believable(when, now, check.longest_seconds)
