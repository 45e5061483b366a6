"""Waiting until a set can serve: probes as soon as they may tell something, exits noticed at once.

Nothing is touched but what is looked at. A replica that ends while it is waited for fails the set at once; one that
never answers well fails it when its own check says so (start period, then its retries), or when the time is up. Where
there is no check, a replica is ready when it has run for ``SETTLED_SECONDS``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from bennu.engine.base import Report
from bennu.engine.clock import believable
from bennu.engine.embedded.chores import Chores
from bennu.engine.embedded.health import Check, HealthState, check_of, due_eagerly
from bennu.engine.embedded.probes import Asked, ask
from bennu.engine.embedded.records import EngineRecords
from bennu.engine.embedded.replicas import Replicas
from bennu.engine.sets import ReplicaObservation, SetSpec
from bennu.errors import BennuError, Failed
from bennu.store.images import Images

SETTLED_SECONDS: Final = 1.0
LONGEST_WAIT_SECONDS: Final = 0.25
SHOWN_NAMES: Final = 3

Look = Callable[[], Sequence[ReplicaObservation]]


class Readiness:
    """One wait for one set: for ``count`` of its replicas, those that ``look`` gives."""

    def __init__(
        self,
        replicas: Replicas,
        records: EngineRecords,
        images: Images,
        spec: SetSpec,
        look: Look,
        *,
        count: int,
    ) -> None:
        self._replicas = replicas
        self._containers = replicas.containers
        self._records = records
        self._spec = spec
        self._look = look
        self._count = count
        self._check = check_of(spec.service, images.get(spec.image).config.config)
        self._states: dict[str, HealthState] = {}
        self._settled: set[str] = set()
        self._probed: set[str] = set()
        self._since = 0.0

    def wait(self, timeout_seconds: float, report: Report, cancel: threading.Event) -> None:
        """Return when every replica is ready. ``Failed`` with what is wrong and the last log lines otherwise."""
        self._since = time.time()
        deadline = time.monotonic() + timeout_seconds
        told = -1
        with Chores[Asked]() as probes:
            while True:
                replicas = self._look()
                self._refuse_ended(replicas)
                self._take(probes)
                pause = self._advance(replicas, probes, deadline)
                ready = sum(self._is_ready(replica) for replica in replicas)
                if ready != told:
                    report(f"{ready} of {self._count} ready")
                    told = ready
                if ready == self._count:
                    return
                self._refuse_unhealthy(replicas)
                self._refuse_delay(replicas, deadline, timeout_seconds, cancel)
                self._pause(replicas, pause, probes.fileno())

    def wait_completed(self, timeout_seconds: float, report: Report, cancel: threading.Event) -> None:
        """Return when every replica has ended with status 0; ``Failed`` when one ends otherwise, or time is up."""
        deadline = time.monotonic() + timeout_seconds
        told = -1
        while True:
            replicas = self._look()
            ended = [replica for replica in replicas if replica.state == "exited"]
            for replica in ended:
                if replica.exit_status:
                    raise self._ended(replica)
            if len(ended) != told:
                report(f"{len(ended)} of {self._count} completed")
                told = len(ended)
            if told == self._count:
                return
            self._refuse_delay(replicas, deadline, timeout_seconds, cancel)
            self._pause(replicas, LONGEST_WAIT_SECONDS, None)

    def _pause(self, replicas: Sequence[ReplicaObservation], seconds: float, wake: int | None) -> None:
        """Wait until a replica ends, a probe has answered, or the time is up."""
        running = [replica.container for replica in replicas if replica.state == "running"]
        if running or wake is not None:
            self._containers.wait_any(running, timeout_seconds=seconds, wake=wake)
        else:
            time.sleep(seconds)

    def _take(self, probes: Chores[Asked]) -> None:
        """Take in what probes have answered."""
        news: dict[str, HealthState] = {}
        for container, asked in probes.results().items():
            if isinstance(asked, BennuError):
                raise asked
            if self._check is not None:
                news[container] = asked.told(self._check, self._states[container])
                self._probed.add(container)
        self._states.update(news)
        self._records.put_health(news)

    def _advance(self, replicas: Sequence[ReplicaObservation], probes: Chores[Asked], deadline: float) -> float:
        """Begin the probes that are due; the seconds until the next ones are."""
        now = time.time()
        running = [replica for replica in replicas if replica.state == "running"]
        if self._check is None:
            settled = (SETTLED_SECONDS + (replica.started or now) for replica in running)
            left = [believable(when, now, SETTLED_SECONDS) - now for when in settled]
            self._settled = {replica.container for replica, rest in zip(running, left, strict=True) if rest <= 0}
            return max(0.01, min([rest for rest in left if rest > 0], default=LONGEST_WAIT_SECONDS))
        self._take_known(running)
        # no probe may keep the wait from ending in time
        check = msgspec.structs.replace(
            self._check, timeout_seconds=min(self._check.timeout_seconds, max(1.0, deadline - time.monotonic()))
        )
        for replica in running:
            if not probes.has(replica.container) and self._is_due(check, replica, now):
                self._begin(probes, check, replica)
        later = [
            self._due(check, replica, now) - now
            for replica in running
            if not self._is_ready(replica) and not probes.has(replica.container)
        ]
        return max(0.01, min([*later, LONGEST_WAIT_SECONDS]))

    def _begin(self, probes: Chores[Asked], check: Check, replica: ReplicaObservation) -> None:
        record = self._containers.resolve(replica.container)
        state = self._states[replica.container]
        probes.begin(replica.container, lambda: ask(self._containers, record, replica, check, state))

    def _take_known(self, running: list[ReplicaObservation]) -> None:
        unknown = [replica for replica in running if replica.container not in self._states]
        known = self._records.health(replica.container for replica in unknown)
        for replica in unknown:
            started = replica.started or time.time()
            state = known.get(replica.container)
            if state is None or state.started != started:
                state = HealthState(started=started)
            self._states[replica.container] = state
        believed = [one.container for one in unknown if self._is_fresh(self._states[one.container])]
        self._probed.update(believed[1:])

    def _is_fresh(self, state: HealthState) -> bool:
        """A replica of a kept set that the agent has found healthy a moment ago: of these one is asked again."""
        if self._check is None or state.verdict != "healthy" or state.failures or state.last is None:
            return False
        return time.time() - state.last < self._check.interval_seconds + self._check.timeout_seconds

    def _is_due(self, check: Check, replica: ReplicaObservation, now: float) -> bool:
        if replica.container not in self._probed:
            return True
        return not self._is_ready(replica) and self._due(check, replica, now) <= now

    def _due(self, check: Check, replica: ReplicaObservation, now: float) -> float:
        when = due_eagerly(check, self._states[replica.container], self._since)
        return believable(when, now, check.longest_seconds)

    def _is_ready(self, replica: ReplicaObservation) -> bool:
        if replica.state != "running":
            return False
        if self._check is None:
            return replica.container in self._settled
        state = self._states.get(replica.container)
        if state is None or replica.container not in self._probed:
            return False
        return state.verdict == "healthy" and not state.failures

    # what is wrong

    def _refuse_ended(self, replicas: Sequence[ReplicaObservation]) -> None:
        for replica in replicas:
            if replica.state == "exited":
                raise self._ended(replica)

    def _refuse_unhealthy(self, replicas: Sequence[ReplicaObservation]) -> None:
        for replica in replicas:
            state = self._states.get(replica.container)
            if self._check is None or state is None or replica.container not in self._probed:
                continue
            if state.verdict == "unhealthy":
                raise self._unhealthy(replica, self._check, state)

    def _refuse_delay(
        self, replicas: Sequence[ReplicaObservation], deadline: float, timeout_seconds: float, cancel: threading.Event
    ) -> None:
        if cancel.is_set():
            raise Failed(f"set {self._spec.id}: cancelled while waiting for it", status=137)
        if time.monotonic() > deadline:
            raise self._late(replicas, timeout_seconds)

    def _ended(self, replica: ReplicaObservation) -> Failed:
        why = f" ({replica.problem})" if replica.problem else ""
        return Failed(
            f"replica {replica.name} of set {replica.set} ended with exit status {replica.exit_status}{why}",
            status=replica.exit_status or 1,
            tail=self._replicas.last_lines(replica),
        )

    def _unhealthy(self, replica: ReplicaObservation, check: Check, state: HealthState) -> Failed:
        waited = time.time() - state.started
        answer = state.answer
        said = answer.output.strip() if answer else ""
        status = answer.status if answer else 1
        return Failed(
            f"replica {replica.name} of set {replica.set} did not become healthy in {waited:.0f} s: "
            f"probe {check.words!r} ended with {status}" + (f": {said.splitlines()[-1]}" if said else ""),
            None,
            command=check.test if isinstance(check.test, tuple) else (check.words,),
            status=status,
            tail=self._replicas.last_lines(replica),
        )

    def _late(self, replicas: Sequence[ReplicaObservation], timeout_seconds: float) -> Failed:
        waiting = [replica for replica in replicas if not self._is_ready(replica)]
        missing = self._count - len(replicas)
        more = f" and {len(waiting) - SHOWN_NAMES} more" if len(waiting) > SHOWN_NAMES else ""
        names = ", ".join(replica.name for replica in waiting[:SHOWN_NAMES]) + more
        names = names or f"{missing} replicas that are not there"
        state = self._states.get(waiting[0].container) if waiting else None
        problem = f" ({state.problem})" if state is not None and state.problem else ""
        return Failed(
            f"set {self._spec.id}: {names} not ready after {timeout_seconds:g} s{problem}",
            "--timeout gives it longer",
            status=124,
            tail=self._replicas.last_lines(waiting[0]) if waiting else (),
        )
