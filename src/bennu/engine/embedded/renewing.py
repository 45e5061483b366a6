"""Burning one replica and making it again from the image, while the others of its set serve.

The replica is marked as leaving first, so that the agent gives it no traffic either; the mark goes with its container,
and is void after a while should this process die. Removal and remaking happen while nobody else may bring anything
back; a death in between leaves a set that the agent completes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from bennu.engine.actions import AwaitReady, Receipt, RenewReplica
from bennu.engine.base import Report
from bennu.engine.embedded.proving import Proving
from bennu.engine.embedded.records import EngineRecords
from bennu.engine.embedded.replicas import Replicas
from bennu.engine.embedded.routing import takes_requests
from bennu.engine.embedded.traffic import Traffic
from bennu.engine.sets import ReplicaObservation, SetSpec
from bennu.errors import Conflict, NotFound
from bennu.switch import drain

SPARE_SECONDS: Final = 60.0
"""What a stop may take after the drain before the mark is void."""


class Renewing:
    """The renewal of single replicas of all sets of one root."""

    def __init__(self, replicas: Replicas, records: EngineRecords, traffic: Traffic, proving: Proving) -> None:
        self._replicas = replicas
        self._records = records
        self._traffic = traffic
        self._proving = proving

    def execute(self, action: RenewReplica, spec: SetSpec, report: Report, cancel: threading.Event) -> Receipt:
        """Do it to its end; see ``engine.base.RenewReplica``."""
        if not 1 <= action.index <= spec.replicas:
            raise NotFound(
                f"set {spec.id!r} has no replica {action.index}",
                f"its replicas are {spec.service.name}.1 to {spec.service.name}.{spec.replicas}",
            )
        if any(held.in_set and held.replica.index == action.index for held in self._proving.holds(spec)):
            name = f"{spec.service.name}.{action.index}"
            raise Conflict(f"{name} is held in its place", f"`bennu hold --release {name}` ends the hold")
        old = next((one for one in self._proving.look(spec) if one.index == action.index), None)
        left = 0 if old is None else self._take_out(action, spec, old, report, cancel)
        with self._replicas.changing_duties(spec.project):
            self._replicas.burn(spec, action.index)
        report("made again, waiting until ready")
        awaited = AwaitReady(set=spec.id, timeout_seconds=action.ready_seconds)
        self._proving.await_replica(awaited, spec, action.index, report, cancel)
        self._steer(spec)
        more = f", {left} sessions were cut off" if left else ""
        return Receipt(summary=f"made again from the image{more}", figures={"sessions_left": float(left)})

    def _take_out(
        self, action: RenewReplica, spec: SetSpec, old: ReplicaObservation, report: Report, cancel: threading.Event
    ) -> int:
        """Out of the traffic, and drained; how many sessions are left. Nothing where nobody else could serve."""
        others = [one for one in self._proving.look(spec) if one.index != old.index and one.state == "running"]
        if not others or not self._is_active(spec) or not self._traffic.is_served(spec):
            return 0
        self._records.leave(old.container, time.time() + action.drain_seconds + SPARE_SECONDS)
        try:
            self._steer(spec)
            report("out of the traffic, draining")
            switch = self._traffic.switch(spec.project)
            return drain.wait(_counter(switch.server_sessions, spec, old.index), action.drain_seconds, cancel)
        except BaseException:
            self._records.stay(old.container)
            self._steer(spec)
            raise

    def _steer(self, spec: SetSpec) -> None:
        if self._is_active(spec) and self._traffic.is_served(spec):
            replicas = self._proving.look(spec)
            ready = takes_requests(replicas, self._records.leaving(time.time()))
            self._traffic.put_active(spec, replicas, ready, self._proving.holds(spec))

    def _is_active(self, spec: SetSpec) -> bool:
        return self._records.active(spec.project).get(spec.service.name) == spec.id


def _counter(sessions: Callable[[str], int], spec: SetSpec, index: int) -> Callable[[], int]:
    return lambda: sessions(f"{spec.id}.{index}")
