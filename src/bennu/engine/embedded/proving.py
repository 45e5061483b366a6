"""Whether a set is good enough: ready, valid, well under traffic. Waits that change nothing but, for canaries, shares.

``readiness``, ``validating``, ``canarying`` and ``watching`` know how each is found out; here they get what they look
at.
"""

from __future__ import annotations

import threading

from bennu.engine.actions import AwaitReady, Receipt, Validate, WatchSet
from bennu.engine.base import Report
from bennu.engine.embedded import observation
from bennu.engine.embedded.canarying import Canarying
from bennu.engine.embedded.judging import described
from bennu.engine.embedded.measuring import Measurement
from bennu.engine.embedded.readiness import Readiness
from bennu.engine.embedded.records import EngineRecords
from bennu.engine.embedded.replicas import Replicas
from bennu.engine.embedded.traffic import Traffic
from bennu.engine.embedded.validating import Validating
from bennu.engine.embedded.watching import watch
from bennu.engine.embedded.wellness import Wellness
from bennu.engine.sets import HoldObservation, ReplicaObservation, SetSpec
from bennu.errors import NotFound
from bennu.store.images import Images


class Proving:
    """The proofs of all sets of one root."""

    def __init__(self, replicas: Replicas, records: EngineRecords, images: Images, traffic: Traffic) -> None:
        self._replicas = replicas
        self._records = records
        self._images = images
        self._traffic = traffic
        self.canarying = Canarying(traffic, self._wellness)

    def execute(
        self, action: AwaitReady | Validate | WatchSet, spec: SetSpec, report: Report, cancel: threading.Event
    ) -> Receipt:
        """Prove a set. ``Failed`` with what is wrong and the last log lines."""
        match action:
            case AwaitReady():
                return self._await(action, spec, report, cancel)
            case Validate():
                return self._validate(action, spec, report, cancel)
            case WatchSet():
                return self._watch(action, spec, report, cancel)

    def look(self, spec: SetSpec) -> tuple[ReplicaObservation, ...]:
        """The replicas of a set as they are."""
        containers = self._replicas.containers
        return observation.replicas_of_set(containers, containers.networks, self._records, spec)

    def holds(self, spec: SetSpec) -> tuple[HoldObservation, ...]:
        """The held replicas that were made for a set, as they are."""
        containers = self._replicas.containers
        return observation.holds_of_set(containers, containers.networks, self._records, spec)

    def _await(self, action: AwaitReady, spec: SetSpec, report: Report, cancel: threading.Event) -> Receipt:
        count = spec.replicas if action.first is None else min(action.first, spec.replicas)

        def look() -> tuple[ReplicaObservation, ...]:
            return tuple(replica for replica in self.look(spec) if replica.index <= count)

        waiting = Readiness(self._replicas, self._records, self._images, spec, look, count=count)
        if action.completed:
            waiting.wait_completed(action.timeout_seconds, report, cancel)
            return Receipt(summary="completed")
        waiting.wait(action.timeout_seconds, report, cancel)
        return Receipt(summary=f"all {count} ready" if count > 1 else "ready")

    def await_replica(
        self, action: AwaitReady, spec: SetSpec, index: int, report: Report, cancel: threading.Event
    ) -> None:
        """Wait until one replica is ready, whatever the others do."""

        def look() -> tuple[ReplicaObservation, ...]:
            return tuple(replica for replica in self.look(spec) if replica.index == index)

        waiting = Readiness(self._replicas, self._records, self._images, spec, look, count=1)
        waiting.wait(action.timeout_seconds, report, cancel)

    def _validate(self, action: Validate, spec: SetSpec, report: Report, cancel: threading.Event) -> Receipt:
        server = next((replica for replica in self.look(spec) if replica.state == "running"), None)
        if server is None:
            raise NotFound(f"set {spec.id!r} has no replica that runs", "start it first")
        Validating(self._replicas, self._images, spec, server).check(action.validations, report, cancel)
        count = len(action.validations)
        return Receipt(summary=f"{count} {'validation' if count == 1 else 'validations'} passed")

    def _watch(self, action: WatchSet, spec: SetSpec, report: Report, cancel: threading.Event) -> Receipt:
        measured = Measurement(self._traffic.switch(spec.project).measure)
        seen = watch(action, self._wellness(spec, "while it was watched"), measured, report, cancel)
        figures = {"answers": float(seen.answers), "errors": float(seen.failures)}
        return Receipt(summary=f"well; {described(seen)}", figures=figures)

    def _wellness(self, spec: SetSpec, when: str) -> Wellness:
        return Wellness(lambda: self.look(spec), self._replicas.last_lines, when)
