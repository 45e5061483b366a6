"""Held replicas on this host: set aside, kept out of the way, ended. ``engine.actions`` says what that means.

A hold is nothing but the container's own record: one transaction gives it another name and other labels, and from then
on it is no replica of its set, whatever is done to that. The same transaction makes its root writable for every later
start; the mount that is there now is changed in its own mount namespace first, so that where the kernel refuses,
nothing has happened. All else follows from the record, and whoever comes next, ``tend`` included, completes it. The
upper directory is the container's own, so what it writes reaches nobody else.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from bennu.engine.actions import AwaitReady, EndHold, HoldReplica, Receipt
from bennu.engine.base import HeldFiles, HeldProcess, Report
from bennu.engine.embedded.proving import Proving
from bennu.engine.embedded.records import EngineRecords
from bennu.engine.embedded.replicas import Replicas, jobs_of
from bennu.engine.embedded.routing import held_server, server_of, takes_requests
from bennu.engine.embedded.traffic import Traffic
from bennu.engine.sets import HoldObservation, Observation, ReplicaObservation, SetObservation, SetSpec
from bennu.errors import BennuError, Conflict, Failed, NotFound
from bennu.host import cgroups, files, process
from bennu.runtime import options as labels
from bennu.runtime.places import Place
from bennu.runtime.resolve import INIT_TARGET, working_directory
from bennu.runtime.status import read_started

_KERNEL_PLACES: Final = ("/proc", "/sys", "/dev", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", INIT_TARGET)
_OUTSIDE: Final = {"in", "leaving"}


class Holding:
    """The holds of all projects of one root."""

    def __init__(
        self,
        replicas: Replicas,
        records: EngineRecords,
        traffic: Traffic,
        proving: Proving,
        look: Callable[[str], Observation],
    ) -> None:
        self._settings = replicas.containers.settings
        self._replicas = replicas
        self._containers = replicas.containers
        self._records = records
        self._traffic = traffic
        self._proving = proving
        self._look = look

    # actions

    def execute(self, action: HoldReplica | EndHold, report: Report, cancel: threading.Event) -> Receipt:
        """Begin, complete or end a hold."""
        match action:
            case HoldReplica():
                return self._hold(action, report, cancel)
            case EndHold():
                return self._end(action, cancel)

    def _hold(self, action: HoldReplica, report: Report, cancel: threading.Event) -> Receipt:
        """Set a replica aside and put a fresh one in its place."""
        name = f"{action.service}.{action.index}"
        held = self._look(action.project).hold(name)
        if held is None:
            self._set_aside(action)
            held = self._find(action.project, name)
        else:
            self._containers.make_writable(held.replica.container)
        self._steer(action.project)
        if held.in_set:
            return Receipt(summary=f"{name} is held in its place: nothing can stand in for it")
        found = self._look(action.project).active_set(action.service)
        if found is None or found.id != held.replica.set:
            return Receipt(summary=f"{name} is held")
        report(f"a fresh {name} is started in its place")
        self._replace(found.spec)
        self._steer(action.project)
        if held.traffic == "leaving":
            self._await(found.spec, action, report, cancel)
            self._move(held, "out")
            self._steer(action.project)
        where = "beside a fresh one" if action.in_traffic else "out of the traffic; a fresh one stands in for it"
        return Receipt(summary=f"{name} is held, {where}")

    def _end(self, action: EndHold, cancel: threading.Event) -> Receipt:
        """Take a held replica away, with all that it wrote."""
        name = f"{action.service}.{action.index}"
        held = self._look(action.project).hold(name)
        if held is None:
            return Receipt(summary=f"{name} is not held")
        record = self._records.sets(action.project).get(held.replica.set)
        spec = None if record is None else record.spec
        if held.in_set or held.traffic in _OUTSIDE:
            with self._replicas.changing_duties(action.project):  # nobody must bring it back from here on
                self._move(held, "stopped")
            self._steer(action.project)
        if spec is not None and held.replica.state == "running" and self._traffic.is_served(spec):
            server = server_of(spec, action.index) if held.in_set else held_server(spec, action.index)
            self._traffic.drain_server(spec, server, action.drain_seconds, cancel)
        self._destroy(held)
        if held.in_set and spec is not None:
            self._replace(spec)
            self._steer(action.project)
        return Receipt(summary=f"{name} is destroyed with all that it had written")

    def step_aside(self, spec: SetSpec) -> None:
        """What a set's held replicas do before it is stopped or removed: they leave it, and stay."""
        for held in self._proving.holds(spec):
            if held.in_set or spec.service.writes_shared_state:
                self._move(held, "stopped")
                self._stop(held)
            elif held.traffic == "leaving":
                self._move(held, "out")

    def remove_all(self, project: str) -> int:
        """Remove every held replica of a project; how many there were."""
        holds = self._look(project).holds
        for held in holds:
            self._destroy(held)
        return len(holds)

    # what the agent does

    def tend(self, observation: Observation, report: Report) -> None:
        """Finish what a dead process left, and bring back what a reboot took."""
        for held in observation.holds:
            if held.traffic == "leaving" and not self._is_needed(observation, held):
                self._move(held, "out")
                report(f"{held.name} is held and out of the traffic")
            if self._lost_its_host(held):
                report(self._restarted(held))

    def _restarted(self, held: HoldObservation) -> str:
        try:
            self._containers.start(held.replica.container)
        except BennuError as error:  # and the start has left its mark: it is not tried again and again
            again = f"`bennu start {held.name}-held` tries again"
            return f"{held.name} is held and cannot be started: {error.message}; {again}"
        return f"{held.name} is held and was started again after a reboot"

    @staticmethod
    def _is_needed(observation: Observation, held: HoldObservation) -> bool:
        """Nobody else of its set, which has the traffic, is ready."""
        found = observation.active_set(held.replica.service)
        if found is None or found.id != held.replica.set:
            return False
        return not any(replica.is_ready for replica in found.replicas)

    def _lost_its_host(self, held: HoldObservation) -> bool:
        if held.in_set or held.traffic == "stopped" or held.replica.state != "exited":
            return False
        place = Place(self._settings, held.replica.container)
        started = read_started(place)
        return started is not None and (started.boot != process.boot_id() or not place.bundle.exists())

    # what it has

    def files(self, project: str, service: str, index: int) -> HeldFiles:
        """Where a held replica's files are."""
        held = self._find(project, f"{service}.{index}")
        record = self._containers.resolve(held.replica.container)
        snapshot = self._containers.snapshots.stat(record.snapshot)
        if snapshot is None:
            raise Conflict(f"{held.name}: its image {record.image_name!r} is not whole any more")
        covered = {*_KERNEL_PLACES, *(mount.target for mount in record.mounts)}
        return HeldFiles(
            upper=self._containers.place(record).upper,
            lower=self._containers.snapshots.mounts(snapshot),
            covered=frozenset({*covered, working_directory(record.config, record.options)}),
            image=record.manifest,
            image_name=record.image_name,
            user=record.config.user,
        )

    def processes(self, project: str, service: str, index: int) -> tuple[HeldProcess, ...]:
        """What runs in a held replica."""
        held = self._look(project).hold(f"{service}.{index}")
        if held is None:
            return ()
        found = []
        for pid in sorted(cgroups.processes(Place(self._settings, held.replica.container).cgroup)):
            started = process.start_time(pid)
            words = process.command_line(pid)
            if started is not None and words:
                found.append(HeldProcess(pid, started, words))
        return tuple(found)

    # parts

    def _set_aside(self, action: HoldReplica) -> None:
        observation = self._look(action.project)
        found, replica = _replica(observation, action)
        alone = found.spec.service.writes_shared_state and found.spec.replicas == 1
        _refuse(found, replica, observation, alone=alone, in_traffic=action.in_traffic)
        others = any(one.is_ready for one in found.replicas if one.index != action.index)
        needed = self._traffic.is_served(found.spec) and not others and replica.state == "running"
        traffic = "in" if action.in_traffic else "leaving" if needed else "out"
        with self._replicas.changing_duties(action.project):
            self._containers.make_writable(replica.container)
            record = self._containers.resolve(replica.container)
            given = {**record.options.labels, labels.HELD: found.id, labels.HELD_TRAFFIC: traffic}
            options = msgspec.structs.replace(record.options, readonly=False)
            name = record.name
            if not alone:
                del given[labels.SET]
                name = f"{action.project}-{replica.name}-held"
                own = self._hosts_path(action.project, replica.container)
                if record.options.hosts_file is not None:
                    files.write_atomic(own, Path(record.options.hosts_file).read_bytes(), durable=False)
                    options = msgspec.structs.replace(options, hosts_file=str(own))
            self._containers.revise(record.id, msgspec.structs.replace(options, labels=given), name)

    def _move(self, held: HoldObservation, traffic: str) -> None:
        """Note where a held replica stands to the traffic; ``stopped`` also takes it out of its set."""
        with suppress(NotFound):
            record = self._containers.resolve(held.replica.container)
            given = {**record.options.labels, labels.HELD_TRAFFIC: traffic}
            name = record.name
            if traffic == "stopped" and given.pop(labels.SET, None) is not None:
                name = f"{given[labels.PROJECT]}-{held.name}-held"
            self._containers.revise(record.id, msgspec.structs.replace(record.options, labels=given), name)

    def _replace(self, spec: SetSpec) -> None:
        with self._replicas.changing_duties(spec.project):  # the agent misses it too, and must not make it at once
            record = self._records.sets(spec.project).get(spec.id)
            active = self._records.active(spec.project).get(spec.service.name)
            if record is not None and not record.stopped and active == spec.id:
                self._replicas.complete(spec)

    def _await(self, spec: SetSpec, action: HoldReplica, report: Report, cancel: threading.Event) -> None:
        awaited = AwaitReady(set=spec.id, timeout_seconds=action.timeout_seconds)
        try:
            self._proving.await_replica(awaited, spec, action.index, report, cancel)
        except Failed as error:
            name = f"{action.service}.{action.index}"
            error.message = f"{name} is held, and keeps the traffic until its replacement is ready: {error.message}"
            raise

    def _steer(self, project: str) -> None:
        observation = self._look(project)
        for name in observation.active.values():
            found = observation.sets.get(name)
            if found is not None and self._traffic.is_served(found.spec):
                ready = takes_requests(found.replicas, self._records.leaving(time.time()))
                self._traffic.put_active(found.spec, found.replicas, ready, observation.holds)
        self._traffic.align(project)

    def _find(self, project: str, name: str) -> HoldObservation:
        held = self._look(project).hold(name)
        if held is None:
            raise NotFound(f"replica {name!r} of project {project!r} is not held", "`bennu hold ls` lists the holds")
        return held

    def _stop(self, held: HoldObservation) -> None:
        with suppress(NotFound):
            if held.replica.state == "paused":
                self._containers.unpause(held.replica.container)
            self._containers.stop(held.replica.container)

    def _destroy(self, held: HoldObservation) -> None:
        self._stop(held)
        with suppress(NotFound):
            record = self._containers.resolve(held.replica.container)
            self._hosts_path(record.labels[labels.PROJECT], record.id).unlink(missing_ok=True)
            self._containers.remove(record.id, force=True, volumes=True)

    def _hosts_path(self, project: str, container: str) -> Path:
        return self._settings.projects / project / "hosts" / f"held-{container[:12]}"


def _replica(observation: Observation, action: HoldReplica) -> tuple[SetObservation, ReplicaObservation]:
    found = observation.active_set(action.service)
    if found is None:
        raise NotFound(f"service {action.service!r} of project {action.project!r} has no active set")
    for replica in found.replicas:
        if replica.index == action.index:
            return found, replica
    there = ", ".join(replica.name for replica in found.replicas)
    raise NotFound(f"replica '{action.service}.{action.index}' does not exist", f"there are {there}" if there else None)


def _refuse(
    found: SetObservation, replica: ReplicaObservation, observation: Observation, *, alone: bool, in_traffic: bool
) -> None:
    if replica.service in jobs_of(observation):
        raise Conflict(f"{replica.name} is a job, which ends by itself", "hold a replica of a service that goes on")
    if alone and not in_traffic:
        raise Conflict(
            f"{replica.name} is alone to write a volume: a fresh replica beside it would write it too",
            "--in-traffic holds it in its place",
        )
    assert found.id == replica.set
