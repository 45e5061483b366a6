"""An engine that only remembers: the contract of ``engine.base`` in a few tables, for tests of what stands on it.

Nothing runs and no time passes; a replica does what ``behave`` says of its set. It is held to the contract by the
same suite as the real ones, ``tests/conformance/test_engine.py``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import msgspec

from bennu.engine import sets
from bennu.engine.actions import (
    Action,
    Activate,
    AwaitReady,
    Deactivate,
    Drain,
    EndHold,
    FreezeSet,
    HoldReplica,
    Prepare,
    Propose,
    Receipt,
    RemoveProject,
    RemoveSet,
    RemoveSnapshots,
    RemoveStray,
    RenewReplica,
    RenewSurroundings,
    RestoreVolumes,
    ResumeWriters,
    SnapshotVolumes,
    StartSet,
    StopSet,
    TryCanaries,
    Validate,
    WatchSet,
)
from bennu.engine.base import Capabilities, HeldFiles, HeldProcess, Report
from bennu.engine.sets import (
    HoldObservation,
    Observation,
    ReplicaObservation,
    ReplicaState,
    SetId,
    SetObservation,
    SetSpec,
)
from bennu.engine.snapshots import VolumeChanges, VolumeCost, VolumeSnapshot
from bennu.engine.survey import Facts, Survey
from bennu.errors import Conflict, Failed, NotFound, Unsupported
from tests.engine_memory_data import MemoryData

Behaviour = Literal["good", "sick", "crash", "done", "ill"]
"""Serves well; runs and never answers a probe; ends with status 3 at once; ends with status 0 (a job); serves well
until it is watched."""


@dataclass(frozen=True)
class Replica:
    state: ReplicaState
    exit_status: int | None = None
    healthy: bool = False
    restarts: int = 0


@dataclass
class Kept:
    spec: SetSpec
    replicas: dict[int, Replica] = field(default_factory=dict)
    released: float | None = None
    stopped: bool = False
    sessions: int = 0


@dataclass
class Held:
    spec: SetSpec
    index: int
    replica: Replica
    traffic: Literal["in", "leaving", "out", "stopped"]
    in_set: bool = False


@dataclass
class Deployed:
    services: set[str] = field(default_factory=set)
    sets: dict[SetId, Kept] = field(default_factory=dict)
    active: dict[str, SetId] = field(default_factory=dict)
    candidates: dict[str, SetId] = field(default_factory=dict)
    holds: dict[str, Held] = field(default_factory=dict)
    shares: dict[str, tuple[SetId, int]] = field(default_factory=dict)


class MemoryEngine:
    """``behave`` says how the replicas of a set do; ``volumes`` are the volumes that there are, with their projects.

    ``done`` lists every action that was executed. ``sessions`` of a set can be set: drains then run out of time.
    """

    def __init__(
        self, behave: Callable[[SetSpec], Behaviour] = lambda _: "good", clock: Callable[[], float] = time.time
    ) -> None:
        self.behave = behave
        self.volumes: dict[str, str] = {}
        self.data = MemoryData(self.volumes, clock)
        self.done: list[Action] = []
        self.deployed: dict[str, Deployed] = {}
        self._clock = clock
        self._lock = threading.RLock()

    def capabilities(self) -> Capabilities:
        return Capabilities(name="memory", freezes=True, holds_in_place=True, shares_namespaces=False, hosts="one")

    def projects(self) -> tuple[str, ...]:
        return tuple(sorted(self.deployed))

    def observe(self, project: str) -> Observation:
        with self._lock:
            found = self.deployed.get(project, Deployed())
            return Observation(
                project=project,
                sets={name: self._observed(kept, found.shares) for name, kept in sorted(found.sets.items())},
                active=dict(found.active),
                switch_running=bool(found.active),
                holds=tuple(
                    HoldObservation(
                        replica=msgspec.structs.replace(
                            self._replica(held.spec, held.index, held.replica),
                            container=f"{name}-held" if not held.in_set else f"{held.spec.id}.{held.index}",
                        ),
                        traffic=held.traffic,
                        in_set=held.in_set,
                    )
                    for name, held in sorted(found.holds.items())
                ),
            )

    def survey(self, project: str, *, deep: bool = False) -> Survey:
        del deep
        with self._lock:
            found = self.deployed.get(project, Deployed())
            facts = [
                Facts(
                    kind="replica",
                    subject=service,
                    want={f"{service}.{index}": "a replica" for index, _ in self._all(found.sets[name])},
                    have={f"{service}.{index}": "a replica" for index in found.sets[name].replicas},
                )
                for service, name in sorted(found.active.items())
                if not found.sets[name].stopped
            ]
            return Survey(project=project, taken=self._clock(), facts=tuple(facts), active=dict(found.active))

    def facts(self, project: str) -> sets.Facts:
        return self.observe(project).facts

    def execute(self, action: Action, report: Report, cancel: threading.Event) -> Receipt:
        with self._lock:
            self.done.append(action)
            match action:
                case Prepare():
                    self._prepare(action)
                case StartSet():
                    if cancel.is_set():
                        raise Failed("cancelled", status=137)
                    self._start(action.spec, action.count)
                case AwaitReady():
                    self._await(action, report, cancel)
                case TryCanaries():
                    self._try(action, cancel)
                case Propose() | Validate() | WatchSet():
                    self._prove(action)
                case Activate():
                    self._activate(action)
                case RenewReplica():
                    return self._renew(action)
                case Drain():
                    return self._drain(action)
                case HoldReplica():
                    self._hold(action)
                case EndHold():
                    self._end_hold(action)
                case SnapshotVolumes() | ResumeWriters() | RestoreVolumes() | RemoveSnapshots():
                    return self.data.execute(action, self._writers)
                case _:
                    self._take_away(action)
        return Receipt(summary="done")

    def _take_away(
        self,
        action: Deactivate | FreezeSet | StopSet | RemoveSet | RemoveProject | RenewSurroundings | RemoveStray,
    ) -> None:
        match action:
            case FreezeSet():
                self._freeze(action.set)
            case Deactivate():
                self._deactivate(action.project, action.services)
            case StopSet():
                self._stop(action.set)
            case RemoveSet():
                self._remove(action.set)
            case RemoveProject():
                self.deployed.pop(action.project, None)
                if action.volumes:
                    for name in [name for name, owner in self.volumes.items() if owner == action.project]:
                        del self.volumes[name]
                        self.data.forget(name)

    def assess(self, volumes: Sequence[str]) -> tuple[VolumeCost, ...]:
        there = [name for name in volumes if name in self.volumes]
        return tuple(VolumeCost(volume=name, method="copy", files=1, size_bytes=1, seconds=0.1) for name in there)

    def snapshots(self, project: str) -> tuple[VolumeSnapshot, ...]:
        return tuple(one for one in self.data.taken.values() if one.project == project)

    def changes(self, snapshot: str) -> VolumeChanges:
        return self.data.changes(snapshot)

    def _writers(self, volume: str) -> list[SetId]:
        """The sets that run and have a volume mounted to write."""
        return [
            name
            for found in self.deployed.values()
            for name, kept in found.sets.items()
            if any(one.state == "running" for one in kept.replicas.values())
            and any(
                mount.source in kept.spec.volumes and kept.spec.volumes[mount.source].name == volume
                for mount in kept.spec.service.mounts
                if mount.source is not None and not mount.read_only
            )
        ]

    def tend(self, project: str, now: float) -> float:
        del now
        with self._lock:
            found = self.deployed.get(project, Deployed())
            for name in found.active.values():
                kept = found.sets[name]
                if kept.stopped or self._is_job(found, kept.spec.service.name):
                    continue
                for index, one in self._all(kept):
                    if one is None or one.state != "running":
                        restarts = 0 if one is None else one.restarts + 1
                        healthy = self.behave(kept.spec) in {"good", "ill"}
                        kept.replicas[index] = replace(self._fresh(kept.spec), restarts=restarts, healthy=healthy)
        return 30.0

    def watch(self, timeout_seconds: float, wake: int) -> None:
        del timeout_seconds, wake

    def halt(self) -> int:
        count = 0
        with self._lock:
            for kept in (each for found in self.deployed.values() for each in found.sets.values()):
                for index, one in kept.replicas.items():
                    if one.state in {"running", "paused"}:
                        kept.replicas[index] = replace(one, state="exited", exit_status=0)
                        count += 1
        return count

    def logs(
        self, project: str, *, service: str | None, set_id: SetId | None, index: int | None, tail: int
    ) -> Iterator[str]:
        for name, kept in self.deployed.get(project, Deployed()).sets.items():
            if service in {None, kept.spec.service.name} and set_id in {None, name} and tail:
                yield from (f"{kept.spec.service.name}.{n} | ready" for n in kept.replicas if index in {None, n})

    # what tests do to it

    def crash(self, project: str, service: str, index: int, status: int = 137) -> None:
        """A replica of the active set ends."""
        found = self.deployed[project]
        kept = found.sets[found.active[service]]
        kept.replicas[index] = replace(kept.replicas[index], state="exited", exit_status=status)

    def lose(self, project: str, service: str, index: int) -> None:
        """A replica of the active set is gone without a trace."""
        found = self.deployed[project]
        del found.sets[found.active[service]].replicas[index]

    # actions

    def _prepare(self, action: Prepare) -> None:
        for volume in action.volumes.values():
            if volume.external and volume.name not in self.volumes:
                raise NotFound(f"external volume {volume.name!r} does not exist")
            self.volumes.setdefault(volume.name, action.project)
        self.deployed.setdefault(action.project, Deployed()).services |= action.services.keys()

    def _prove(self, action: Propose | Validate | WatchSet) -> None:
        match action:
            case Propose():
                found = self.deployed[action.project]
                found.candidates = {spec.service.name: spec.id for spec in action.specs}
                for spec in action.specs:
                    found.sets.setdefault(spec.id, Kept(spec))
            case Validate():
                kept = self._find(action.set)
                version = kept.spec.service.environment.get("VERSION", "")
                wanted = [part for one in action.validations if one.http for part in one.http.contains]
                if not all(part in version for part in wanted):
                    raise Failed(
                        f"validation 1 of {len(action.validations)} of set {action.set}: was answered 200 without"
                    )
            case WatchSet():
                self._look(self._find(action.set), "while it was watched")

    def _look(self, kept: Kept, when: str) -> None:
        if self.behave(kept.spec) == "ill":
            raise Failed(f"replica 1 of set {kept.spec.id} fell ill {when}")
        for index, one in sorted(kept.replicas.items()):
            if one.state == "exited":
                raise Failed(f"replica {index} of set {kept.spec.id} ended {when}")

    def _try(self, action: TryCanaries, cancel: threading.Event) -> None:
        found = self.deployed.get(action.project, Deployed())
        tried = {trial.set: self._find(trial.set) for trial in action.trials}
        for trial in action.trials:
            service = tried[trial.set].spec.service.name
            if found.active.get(service) != trial.old:
                raise Conflict(f"set {trial.old!r} of service {service!r} is not active", "make a new plan")
        found.shares = {tried[one.set].spec.service.name: (one.set, one.canary.percent) for one in action.trials}
        try:
            for kept in tried.values():
                self._look(kept, "as a canary")
            if cancel.is_set():
                raise Failed("cancelled", status=137)
        except Failed:
            found.shares = {}
            raise

    def _freeze(self, name: SetId) -> None:
        for found in self.deployed.values():
            if name in found.active.values():
                raise Conflict(f"set {name!r} is active", "activate another set first")
            if name in found.sets:
                self._end_share(found, name)
                kept = found.sets[name]
                kept.replicas = {
                    index: replace(one, state="paused", healthy=False) if one.state == "running" else one
                    for index, one in kept.replicas.items()
                }

    @staticmethod
    def _end_share(found: Deployed, name: SetId) -> None:
        found.shares = {service: share for service, share in found.shares.items() if share[0] != name}

    def _start(self, spec: SetSpec, count: int) -> None:
        if spec.project not in self.deployed:
            raise NotFound(f"project {spec.project!r} is not prepared")
        kept = self.deployed[spec.project].sets.setdefault(spec.id, Kept(spec))
        kept.stopped = False
        for index, one in self._all(kept)[:count]:
            if one is not None and one.state == "paused":
                kept.replicas[index] = replace(one, state="running")
            elif one is None or one.state != "running":
                kept.replicas[index] = self._fresh(spec)

    def _await(self, action: AwaitReady, report: Report, cancel: threading.Event) -> None:
        kept = self._find(action.set)
        ended = [(index, one) for index, one in kept.replicas.items() if one.state == "exited"]
        bad = [(index, one) for index, one in ended if one.exit_status or not action.completed]
        if bad:
            index, one = bad[0]
            name = f"{kept.spec.service.name}.{index}"
            raise Failed(
                f"replica {name} of set {kept.spec.id} ended with exit status {one.exit_status}",
                status=one.exit_status or 1,
                tail=(f"{name} | its last words",),
            )
        if cancel.is_set():
            raise Failed("cancelled", status=137)
        count = kept.spec.replicas if action.first is None else action.first
        waiting = len(ended) < count if action.completed else self.behave(kept.spec) == "sick"
        if waiting:
            raise Failed(
                f"replica {kept.spec.service.name}.1 of set {kept.spec.id} did not become healthy in"
                f" {action.timeout_seconds:g} s: probe 'is-ready' ended with 1: no",
                command=("CMD", "is-ready"),
                status=1,
                tail=(f"{kept.spec.service.name}.1 | its last words",),
            )
        kept.replicas = {
            index: replace(one, healthy=one.state == "running") for index, one in sorted(kept.replicas.items())
        }
        report(f"{count} of {count} ready")

    def _renew(self, action: RenewReplica) -> Receipt:
        kept = self._find(action.set)
        if not 1 <= action.index <= kept.spec.replicas:
            raise NotFound(f"set {action.set!r} has no replica {action.index}")
        fresh = self._fresh(kept.spec)
        kept.replicas[action.index] = fresh
        if fresh.state != "running" or self.behave(kept.spec) == "sick":
            raise Failed(f"replica {kept.spec.service.name}.{action.index} of set {action.set} is not ready")
        kept.replicas[action.index] = replace(fresh, healthy=True)
        return Receipt(summary="made again from the image", figures={"sessions_left": 0.0})

    def _activate(self, action: Activate) -> None:
        found = self.deployed[action.project]
        missing = [name for name in action.sets.values() if name not in found.sets]
        if missing:
            raise NotFound(f"set {missing[0]!r} of project {action.project!r} does not exist")
        self._deactivate(action.project, [s for s, name in action.sets.items() if found.active.get(s) != name])
        for service, name in action.sets.items():
            found.shares.pop(service, None)
            found.active[service] = name
            found.sets[name].released = None

    def _deactivate(self, project: str, services: list[str] | tuple[str, ...]) -> None:
        found = self.deployed.get(project, Deployed())
        for service in services:
            name = found.active.pop(service, None)
            if name is not None:
                found.sets[name].released = self._clock()

    def _hold(self, action: HoldReplica) -> None:
        found = self.deployed.get(action.project, Deployed())
        name = f"{action.service}.{action.index}"
        if name in found.holds:
            return
        if action.service not in found.active:
            raise NotFound(f"service {action.service!r} has no active set")
        kept = found.sets[found.active[action.service]]
        if action.index not in kept.replicas:
            raise NotFound(f"replica {name!r} does not exist")
        if self._is_job(found, action.service):
            raise Conflict(f"{name} is a job, which ends by itself")
        alone = kept.spec.service.writes_shared_state and kept.spec.replicas == 1
        if alone and not action.in_traffic:
            raise Conflict(f"{name} is alone to write a volume: a fresh replica beside it would write it too")
        traffic: Literal["in", "out"] = "in" if action.in_traffic else "out"
        found.holds[name] = Held(kept.spec, action.index, kept.replicas[action.index], traffic, alone)
        if not alone:
            kept.replicas[action.index] = replace(self._fresh(kept.spec), healthy=self.behave(kept.spec) == "good")

    def _end_hold(self, action: EndHold) -> None:
        found = self.deployed.get(action.project, Deployed())
        held = found.holds.pop(f"{action.service}.{action.index}", None)
        if held is not None and held.in_set:
            kept = found.sets[held.spec.id]
            kept.replicas[held.index] = replace(self._fresh(held.spec), healthy=self.behave(held.spec) == "good")

    def _step_aside(self, found: Deployed, name: SetId) -> None:
        for held in found.holds.values():
            if held.spec.id == name and (held.in_set or held.spec.service.writes_shared_state):
                held.traffic, held.replica = "stopped", Replica("exited", exit_status=0)
                if held.in_set:
                    held.in_set = False
                    del found.sets[name].replicas[held.index]

    def held_files(self, project: str, service: str, index: int) -> HeldFiles:
        raise Unsupported("nothing that is only remembered has files")

    def held_processes(self, project: str, service: str, index: int) -> tuple[HeldProcess, ...]:
        return ()

    def _drain(self, action: Drain) -> Receipt:
        left = float(self._find(action.set).sessions)
        return Receipt(summary=f"{left:g} sessions left", figures={"sessions_left": left})

    def _stop(self, name: SetId) -> None:
        for found in self.deployed.values():
            if name in found.sets:
                self._step_aside(found, name)
                self._end_share(found, name)
                kept = found.sets[name]
                kept.stopped = True
                kept.replicas = {
                    index: replace(one, state="exited", exit_status=one.exit_status if one.state == "exited" else 0)
                    for index, one in kept.replicas.items()
                }

    def _remove(self, name: SetId) -> None:
        for found in self.deployed.values():
            if name in found.active.values():
                raise Conflict(f"set {name!r} is active", "activate another set first")
            if name in found.sets:
                self._step_aside(found, name)
            self._end_share(found, name)
            found.sets.pop(name, None)

    def _find(self, name: SetId) -> Kept:
        for found in self.deployed.values():
            if name in found.sets:
                return found.sets[name]
        raise NotFound(f"set {name!r} does not exist")

    def _fresh(self, spec: SetSpec) -> Replica:
        match self.behave(spec):
            case "crash":
                return Replica("exited", exit_status=3)
            case "done":
                return Replica("exited", exit_status=0)
            case _:
                return Replica("running")

    @staticmethod
    def _all(kept: Kept) -> list[tuple[int, Replica | None]]:
        return [(index, kept.replicas.get(index)) for index in range(1, kept.spec.replicas + 1)]

    @staticmethod
    def _is_job(found: Deployed, service: str) -> bool:
        return any(
            dependency.condition == "service_completed_successfully"
            for kept in found.sets.values()
            for name, dependency in kept.spec.service.depends_on.items()
            if name == service
        )

    def _observed(self, kept: Kept, shares: dict[str, tuple[SetId, int]]) -> SetObservation:
        return SetObservation(
            spec=kept.spec,
            sessions=kept.sessions,
            released=kept.released,
            share=dict(shares.values()).get(kept.spec.id, 0),
            replicas=tuple(self._replica(kept.spec, index, one) for index, one in sorted(kept.replicas.items())),
        )

    @staticmethod
    def _replica(spec: SetSpec, index: int, one: Replica) -> ReplicaObservation:
        has_check = spec.service.healthcheck is not None or spec.service.x_bennu.probe is not None
        return ReplicaObservation(
            service=spec.service.name,
            set=spec.id,
            index=index,
            container=f"{spec.id}.{index}",
            state=one.state,
            health=("healthy" if one.healthy else "starting") if has_check else "none",
            address=f"10.0.0.{index}" if one.state == "running" else None,
            exit_status=one.exit_status,
            restarts=one.restarts,
            created=1.0,
            started=1.0,
        )
