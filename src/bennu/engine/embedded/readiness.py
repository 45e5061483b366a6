"""Waiting until a set can serve: probes as soon as they may tell something, exits noticed at once.

Nothing is touched but what is looked at. A replica that ends while it is waited for fails the set at once; one that
never answers well fails it when its own check says so (start period, then its retries), or when the time is up. Where
there is no check, a replica is ready when it has run for ``SETTLED_SECONDS``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from bennu.engine.base import ReplicaObservation, Report, SetSpec
from bennu.engine.embedded.health import Check, HealthState, after, check_of, due_eagerly
from bennu.engine.embedded.probes import probe
from bennu.engine.embedded.records import EngineRecords
from bennu.errors import Failed
from bennu.runtime import logs
from bennu.runtime.containers import Containers
from bennu.store.images import Images

SETTLED_SECONDS: Final = 1.0
LONGEST_WAIT_SECONDS: Final = 0.25
PARALLEL: Final = 8
TAIL_LINES: Final = 10

Look = Callable[[], list[ReplicaObservation]]


class Readiness:
    """One wait for one set."""

    def __init__(
        self, containers: Containers, records: EngineRecords, images: Images, spec: SetSpec, look: Look
    ) -> None:
        self._containers = containers
        self._records = records
        self._spec = spec
        self._look = look
        self._check = check_of(spec.service, images.get(spec.image).config.config)
        self._states: dict[str, HealthState] = {}
        self._settled: set[str] = set()
        self._probed: set[str] = set()

    def wait(self, timeout_seconds: float, report: Report, cancel: threading.Event) -> None:
        """Return when every replica is ready. ``Failed`` with what is wrong and the last log lines otherwise."""
        began = time.time()
        with ThreadPoolExecutor(PARALLEL, thread_name_prefix="bennu-probe") as pool:
            while True:
                replicas = self._look()
                self._refuse_ended(replicas)
                pause = self._advance(replicas, pool)
                ready = sum(self._is_ready(replica) for replica in replicas)
                report(f"{ready} of {self._spec.replicas} ready")
                if ready == self._spec.replicas:
                    return
                self._refuse_unhealthy(replicas)
                if cancel.is_set():
                    raise Failed(f"set {self._spec.id}: cancelled while waiting until it is ready", status=137)
                if time.time() - began > timeout_seconds:
                    raise self._late(replicas, timeout_seconds)
                self._containers.wait_any([replica.container for replica in replicas], timeout_seconds=pause)

    def wait_completed(self, timeout_seconds: float, report: Report, cancel: threading.Event) -> None:
        """Return when every replica has ended with status 0; ``Failed`` when one ends otherwise, or time is up."""
        began = time.time()
        while True:
            replicas = self._look()
            ended = [replica for replica in replicas if replica.state == "exited"]
            for replica in ended:
                if replica.exit_status:
                    raise self._ended(replica)
            report(f"{len(ended)} of {self._spec.replicas} completed")
            if len(ended) == self._spec.replicas:
                return
            if cancel.is_set():
                raise Failed(f"set {self._spec.id}: cancelled while waiting until it has completed", status=137)
            if time.time() - began > timeout_seconds:
                raise self._late(replicas, timeout_seconds)
            running = [replica.container for replica in replicas if replica.state != "exited"]
            self._containers.wait_any(running, timeout_seconds=LONGEST_WAIT_SECONDS)

    def _advance(self, replicas: list[ReplicaObservation], pool: ThreadPoolExecutor) -> float:
        """Do the probes that are due; the seconds until the next ones are."""
        now = time.time()
        running = [replica for replica in replicas if replica.state == "running"]
        if self._check is None:
            left = [SETTLED_SECONDS - (now - (replica.started or now)) for replica in running]
            self._settled = {replica.container for replica, rest in zip(running, left, strict=True) if rest <= 0}
            return max(0.01, min([rest for rest in left if rest > 0], default=LONGEST_WAIT_SECONDS))
        self._take_known(running)
        due = [replica for replica in running if self._is_due(self._check, replica, now)]
        answered = list(pool.map(self._probe, due))
        self._states.update(answered)
        self._probed.update(replica.container for replica in due)
        self._records.put_health(dict(answered))
        later = [
            due_eagerly(self._check, self._states[replica.container]) - time.time()
            for replica in running
            if not self._is_ready(replica)
        ]
        return max(0.01, min([*later, LONGEST_WAIT_SECONDS]))

    def _take_known(self, running: list[ReplicaObservation]) -> None:
        unknown = [replica for replica in running if replica.container not in self._states]
        known = self._records.health(replica.container for replica in unknown)
        for replica in unknown:
            started = replica.started or time.time()
            state = known.get(replica.container)
            if state is None or state.started != started:
                state = HealthState(started=started)
            self._states[replica.container] = state

    def _is_due(self, check: Check, replica: ReplicaObservation, now: float) -> bool:
        # what was healthy before, a kept set's replica, is asked once more before it is believed
        if replica.container not in self._probed:
            return True
        return not self._is_ready(replica) and due_eagerly(check, self._states[replica.container]) <= now

    def _probe(self, replica: ReplicaObservation) -> tuple[str, HealthState]:
        assert self._check is not None
        now = time.time()
        record = self._containers.resolve(replica.container)
        answer = probe(self._containers, record, replica.address, self._check)
        state = self._states[replica.container]
        return replica.container, after(self._check, state, answer, now)

    def _is_ready(self, replica: ReplicaObservation) -> bool:
        if replica.state != "running":
            return False
        if self._check is None:
            return replica.container in self._settled
        return replica.container in self._probed and self._states[replica.container].verdict == "healthy"

    # what is wrong

    def _refuse_ended(self, replicas: list[ReplicaObservation]) -> None:
        for replica in replicas:
            if replica.state == "exited":
                raise self._ended(replica)

    def _refuse_unhealthy(self, replicas: list[ReplicaObservation]) -> None:
        for replica in replicas:
            state = self._states.get(replica.container)
            if state is not None and state.verdict == "unhealthy" and self._check is not None:
                raise self._unhealthy(replica, self._check, state)

    def _ended(self, replica: ReplicaObservation) -> Failed:
        why = f" ({replica.problem})" if replica.problem else ""
        return Failed(
            f"replica {replica.name} of set {replica.set} ended with exit status {replica.exit_status}{why}",
            status=replica.exit_status or 1,
            tail=self._tail(replica),
        )

    def _unhealthy(self, replica: ReplicaObservation, check: Check, state: HealthState) -> Failed:
        waited = time.time() - state.started
        answer = state.answer
        said = answer.output.strip() if answer else ""
        status = answer.status if answer else 1
        return Failed(
            f"replica {replica.name} of set {replica.set} did not become healthy in {waited:.0f} s: "
            f"probe {check.words!r} ended with {status}" + (f": {said.splitlines()[-1]}" if said else ""),
            "`bennu logs` of a replica shows more while it runs; the last lines are above",
            command=check.test if isinstance(check.test, tuple) else (check.words,),
            status=status,
            tail=self._tail(replica),
        )

    def _late(self, replicas: list[ReplicaObservation], timeout_seconds: float) -> Failed:
        waiting = [replica for replica in replicas if not self._is_ready(replica)]
        missing = self._spec.replicas - len(replicas)
        names = ", ".join(replica.name for replica in waiting) or f"{missing} replicas that are not there"
        state = self._states.get(waiting[0].container) if waiting else None
        problem = f" ({state.problem})" if state is not None and state.problem else ""
        return Failed(
            f"set {self._spec.id}: {names} not ready after {timeout_seconds:g} s{problem}",
            "--timeout gives it longer",
            status=124,
            tail=self._tail(waiting[0]) if waiting else (),
        )

    def _tail(self, replica: ReplicaObservation) -> tuple[str, ...]:
        place = self._containers.place(self._containers.resolve(replica.container))
        lines = logs.read(place, tail=TAIL_LINES)
        return tuple(f"{replica.name} | {line.data.decode(errors='replace').rstrip()}" for line in lines)
