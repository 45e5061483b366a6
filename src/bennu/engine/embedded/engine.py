"""The engine of one host: carries out actions, observes, tends. The contract is ``engine.base``'s."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Final

from bennu.config import Settings
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
from bennu.engine.embedded import observation
from bennu.engine.embedded.holding import Holding
from bennu.engine.embedded.proving import Proving
from bennu.engine.embedded.records import EngineRecords
from bennu.engine.embedded.renewing import Renewing
from bennu.engine.embedded.replicas import Replicas, network_name
from bennu.engine.embedded.surroundings import Surroundings
from bennu.engine.embedded.surveying import Surveying
from bennu.engine.embedded.tending import Tending
from bennu.engine.embedded.traffic import Traffic
from bennu.engine.embedded.volume_data import DataAction, VolumeData
from bennu.engine.sets import Facts, Observation, SetId, SetSpec
from bennu.engine.snapshots import VolumeChanges, VolumeCost, VolumeSnapshot
from bennu.engine.survey import Survey
from bennu.errors import Conflict, NotFound
from bennu.host import files
from bennu.runtime import logs
from bennu.runtime import options as labels
from bennu.runtime.containers import Containers
from bennu.store.database import Database
from bennu.store.images import Images

CAPABILITIES: Final = Capabilities(
    name="embedded", freezes=True, holds_in_place=True, shares_namespaces=True, hosts="one"
)

RECONCILE_SECONDS: Final = 60.0
"""How often the agent makes sure of bridges and rules that may have been taken away by somebody else."""


class EmbeddedEngine:
    """Sets of containers on this host. ``say`` is told what ``tend`` does."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        containers: Containers,
        images: Images,
        *,
        say: Report = lambda _line: None,
    ) -> None:
        self._settings = settings
        self._containers = containers
        self._networks = containers.networks
        self._images = images
        self._say = say
        self.records = EngineRecords(database)
        self.data = VolumeData(containers, database)
        self._replicas = Replicas(settings, containers, self._networks, images)
        self._traffic = Traffic(settings, self.records, self._networks, images)
        self._proving = Proving(self._replicas, self.records, self._images, self._traffic)
        self._renewing = Renewing(self._replicas, self.records, self._traffic, self._proving)
        self._holding = Holding(self._replicas, self.records, self._traffic, self._proving, self._look)
        self._tending = Tending(self._replicas, self.records, self._traffic, images, self._look, holding=self._holding)
        self._surveying = Surveying(
            settings,
            database,
            containers=containers,
            images=images,
            records=self.records,
            replicas=self._replicas,
            traffic=self._traffic,
        )
        self._reconciled = 0.0

    def capabilities(self) -> Capabilities:
        """What this engine can do."""
        return CAPABILITIES

    def projects(self) -> tuple[str, ...]:
        """The projects that have anything here."""
        return self.records.projects()

    def observe(self, project: str) -> Observation:
        """The project as it is now."""
        switch = self._traffic.switch(project)
        return observation.observe(self._containers, self._networks, self.records, project, switch)

    def survey(self, project: str, *, deep: bool = False) -> Survey:
        """The project, looked at closely."""
        return self._surveying.survey(project, deep=deep)

    def facts(self, project: str) -> Facts:
        """What plans of the project stand on now."""
        return observation.facts(self._containers, self.records, project)

    def _look(self, project: str) -> Observation:
        return observation.observe(self._containers, self._networks, self.records, project)

    def execute(self, action: Action, report: Report, cancel: threading.Event) -> Receipt:
        """Do one action to its end."""
        match action:
            case StartSet():
                return self._start(action, report, cancel)
            case AwaitReady() | Validate() | WatchSet():
                return self._proving.execute(action, self._spec(action.set), report, cancel)
            case RenewReplica() | HoldReplica() | EndHold():
                return self._execute_on_one(action, report, cancel)
            case TryCanaries() | Drain() | SnapshotVolumes() | ResumeWriters() | RestoreVolumes() | RemoveSnapshots():
                return self._execute_long(action, report, cancel)
            case Prepare() | Propose() | Activate() | Deactivate():
                return self._execute_quick(action)
            case _:
                return self._take_away(action, report)

    def _execute_long(
        self, action: TryCanaries | Drain | DataAction, report: Report, cancel: threading.Event
    ) -> Receipt:
        """The actions that wait for what clients do, or for the disk."""
        match action:
            case Drain():
                return self._drain(action, cancel)
            case TryCanaries():
                return self._try(action, report, cancel)
            case _:
                return self.data.execute(action, report, cancel)

    def _execute_on_one(
        self, action: RenewReplica | HoldReplica | EndHold, report: Report, cancel: threading.Event
    ) -> Receipt:
        """The actions that are about one replica."""
        if isinstance(action, RenewReplica):
            return self._renewing.execute(action, self._spec(action.set), report, cancel)
        return self._holding.execute(action, report, cancel)

    def _execute_around(self, action: RenewSurroundings | RemoveStray) -> Receipt:
        """The actions that mend what is around replicas."""
        return Surroundings(self._settings, self.records, self._containers, self._traffic).execute(action)

    def _execute_quick(self, action: Prepare | Propose | Activate | Deactivate) -> Receipt:
        """The actions that have nothing to wait for."""
        match action:
            case Prepare():
                return self._prepare(action)
            case Propose():
                return self._propose(action)
            case Activate():
                return self._activate(action)
            case Deactivate():
                return self._deactivate(action)

    def _take_away(
        self, action: FreezeSet | StopSet | RemoveSet | RemoveProject | RenewSurroundings | RemoveStray, report: Report
    ) -> Receipt:
        """The actions that have nothing to wait for but what a replica takes to stop."""
        match action:
            case FreezeSet():
                return self._freeze(action.set)
            case StopSet():
                return self._stop(action.set)
            case RemoveSet():
                return self._remove(action.set)
            case RemoveProject():
                return self._remove_project(action, report)
            case RenewSurroundings() | RemoveStray():
                return self._execute_around(action)

    def assess(self, volumes: Sequence[str]) -> tuple[VolumeCost, ...]:
        """What snapshots of these volumes would cost."""
        return self.data.assess(volumes)

    def snapshots(self, project: str) -> tuple[VolumeSnapshot, ...]:
        """The snapshots of a project's volumes."""
        return self.data.list(project)

    def changes(self, snapshot: str) -> VolumeChanges:
        """What has changed in a volume since a snapshot."""
        return self.data.changes(snapshot)

    def tend(self, project: str, now: float) -> float:
        """Do what is due; the seconds until next time."""
        if abs(now - self._reconciled) > RECONCILE_SECONDS:
            self._networks.reconcile()
            self._reconciled = now
        elif self._networks.get(network_name(project)) is not None:
            self._networks.ensure(network_name(project))
        self.data.release(project, self._say)
        return self._tending.tend(project, now, self._say)

    def watch(self, timeout_seconds: float, wake: int) -> None:
        """Return when a replica or a switch's process ends, when ``wake`` can be read, or when time is up."""
        projects = self.projects()
        ids = [
            container.id
            for project in projects
            for container in self._containers.list({labels.PROJECT: project})
            if container.status.is_alive
        ]
        self._tending.forget_all_but(projects)
        wakes = [wake, *map(self._tending.descriptor, projects)]
        with self._traffic.watching(projects, wakes) as any_of_them:
            self._containers.wait_any(ids, timeout_seconds=timeout_seconds, wake=any_of_them)

    def halt(self) -> int:
        """Stop every container of the root, frozen ones too."""
        return self._replicas.halt()

    def logs(
        self, project: str, *, service: str | None, set_id: SetId | None, index: int | None, tail: int
    ) -> Iterator[str]:
        """The last lines of the replicas that match, oldest first."""
        wanted = {
            labels.PROJECT: project,
            labels.SERVICE: service,
            labels.SET: set_id,
            labels.REPLICA: None if index is None else str(index),
        }
        found = []
        for container in self._containers.list({name: value for name, value in wanted.items() if value is not None}):
            given = container.record.labels
            held = "-held" if labels.HELD in given else ""
            name = f"{given.get(labels.SERVICE)}.{given.get(labels.REPLICA)}{held}"
            found += [
                (line.seconds, name, line.data)
                for line in logs.read(self._containers.place(container.record), tail=tail)
            ]
        for _, name, data in sorted(found, key=lambda each: each[0]):  # stable: a replica's own order stays
            yield f"{name} | {data.decode(errors='replace').rstrip()}"

    def held_files(self, project: str, service: str, index: int) -> HeldFiles:
        """A held replica's files."""
        return self._holding.files(project, service, index)

    def held_processes(self, project: str, service: str, index: int) -> tuple[HeldProcess, ...]:
        """What runs in a held replica."""
        return self._holding.processes(project, service, index)

    # actions

    def _prepare(self, action: Prepare) -> Receipt:
        self._traffic.refuse_taken(action.project, action.services.values())
        for volume in action.volumes.values():
            if volume.external:
                if self._containers.volumes.get(volume.name) is None:
                    raise NotFound(f"external volume {volume.name!r} does not exist", "create it, or drop `external`")
            else:
                made = {**volume.labels, labels.PROJECT: action.project}
                self._containers.volumes.ensure(volume.name, made, volume.driver_opts)
        network = network_name(action.project)
        self._networks.ensure(network)
        self._replicas.sweep(action.project, self.records.sets(action.project))
        self.records.prepare(action.project, action.services)
        for service in action.services:
            self._networks.service_address(network, service)
        wanted = {*action.services, *self.records.active(action.project)}
        self._release_addresses(action.project, self._networks.service_addresses(network).keys() - wanted)
        self._traffic.choose_ports(action.project, action.services.values())
        return Receipt(summary="network and volumes are there")

    def _start(self, action: StartSet, report: Report, cancel: threading.Event) -> Receipt:
        spec = action.spec
        self.records.put_set(spec)

        def made() -> None:
            self._traffic.put_candidate(spec, self._replicas.addresses(spec))

        started = self._replicas.start(spec, action.count, report, cancel, made=made)
        if not started:
            return Receipt(summary=f"all {action.count} run already")
        return Receipt(summary=f"{started} of {spec.replicas} started")

    def _propose(self, action: Propose) -> Receipt:
        for spec in action.specs:
            self.records.put_set(spec)
        self._traffic.propose(action.project, [(spec, self._replicas.addresses(spec)) for spec in action.specs])
        return Receipt(summary="candidates reach each other")

    def _activate(self, action: Activate) -> Receipt:
        for name in action.sets.values():
            self._place(self._spec(name, action.project))
        self.records.activate(action.project, action.sets)
        self._traffic.activate(action.project, action.sets)
        return Receipt(summary="in service")

    def _place(self, spec: SetSpec) -> None:
        """Tell the switch of a set that is about to get traffic."""
        if self._traffic.is_served(spec):
            replicas = observation.replicas_of_set(self._containers, self._networks, self.records, spec)
            running = {replica.container: replica.state == "running" for replica in replicas}
            self._traffic.put(spec, replicas, running, self._proving.holds(spec))

    def _try(self, action: TryCanaries, report: Report, cancel: threading.Event) -> Receipt:
        specs = {trial.set: self._spec(trial.set, action.project) for trial in action.trials}
        for spec in specs.values():
            self._place(spec)
        return self._proving.canarying.run(action, specs, report, cancel)

    def _deactivate(self, action: Deactivate) -> Receipt:
        self.records.deactivate(action.project, action.services)
        self._traffic.align(action.project)
        self._release_addresses(action.project, action.services)
        return Receipt(summary=f"{', '.join(action.services)} out of service")

    def _release_addresses(self, project: str, services: Iterable[str]) -> None:
        """These services have no stable address any more; every replica's names are made those that there are."""
        for service in services:
            self._networks.release_service_address(network_name(project), service)
        for record in self.records.sets(project).values():
            self._replicas.write_hosts(record.spec)

    def _drain(self, action: Drain, cancel: threading.Event) -> Receipt:
        spec = self._spec(action.set)
        self._traffic.align(spec.project)
        switch = self._traffic.switch(spec.project)
        left = switch.drain(spec.service.name, spec.id, action.timeout_seconds, cancel)
        if left:
            summary = f"{left} sessions are still open after {action.timeout_seconds:g} s; the set stays up for them"
            return Receipt(summary=summary, figures={"sessions_left": float(left)})
        return Receipt(summary="drained, no session left", figures={"sessions_left": 0.0})

    def _freeze(self, name: SetId) -> Receipt:
        found = self.records.find(name)
        if found is None:
            return Receipt(summary="is not there")
        spec = found.spec
        if self.records.active(spec.project).get(spec.service.name) == spec.id:
            raise Conflict(f"set {spec.id!r} is active", "activate another set first")
        self._traffic.forget_set(spec)
        frozen = self._replicas.freeze(spec)
        self.records.forget_health(
            record.id for record in self._replicas.records_of(spec)
        )  # it is asked anew when thawed
        return Receipt(summary=f"{frozen} frozen")

    def _stop(self, name: SetId) -> Receipt:
        found = self.records.find(name)
        if found is None:
            return Receipt(summary="is not there")
        with self._replicas.changing_duties(found.spec.project):
            self.records.mark_stopped(found.spec)
        self._holding.step_aside(found.spec)
        stopped = self._replicas.stop(found.spec)
        if self.records.active(found.spec.project).get(found.spec.service.name) != name:
            self._traffic.forget_set(found.spec)  # its place at the switch is free for the next one
        return Receipt(summary=f"{stopped} stopped")

    def _remove(self, name: SetId) -> Receipt:
        found = self.records.find(name)
        if found is None:
            return Receipt(summary="is not there")
        spec = found.spec
        if self.records.active(spec.project).get(spec.service.name) == spec.id:
            raise Conflict(f"set {spec.id!r} is active", "activate another set first")
        with self._replicas.changing_duties(spec.project):
            self.records.mark_stopped(spec)
        self._holding.step_aside(spec)
        self._traffic.forget_set(spec)
        # the record goes last: it is what a removal that was killed is finished by
        removed = self._replicas.remove(spec)
        self.records.forget_set(spec)
        self._sweep_files()
        return Receipt(summary=f"{removed} removed")

    def _sweep_files(self) -> None:
        """Files of configs and secrets go with the last set that has them."""
        every = (record.spec for project in self.records.projects() for record in self.records.sets(project).values())
        self._replicas.files.sweep(every)

    def _remove_project(self, action: RemoveProject, report: Report) -> Receipt:
        project = action.project
        sets = self.records.sets(project)
        with self._replicas.changing_duties(project):
            self.records.deactivate(project, list(self.records.active(project)))
        self._traffic.remove(project)
        removed = self._holding.remove_all(project) + self._replicas.sweep(project, sets)
        for record in sets.values():
            removed += self._replicas.remove(record.spec)
            report(f"{_replicas(removed)} removed")
        self._networks.remove(network_name(project))
        if action.volumes:
            self._remove_volumes(project)
        self._containers.sweep()  # what a removal that was killed half-way has left on the disk
        files.remove_tree(self._settings.projects / project)
        self.records.forget(project)
        self._sweep_files()
        data = " and its volumes" if action.volumes else ""
        return Receipt(summary=f"{_replicas(removed)}, the switch, the network{data} are removed")

    def _remove_volumes(self, project: str) -> None:
        for volume in self._containers.volumes.walk():
            if volume.labels.get(labels.PROJECT) == project:
                with suppress(NotFound):  # somebody else has removed it just now
                    self._containers.volumes.remove(volume.name)

    def _spec(self, name: SetId, project: str | None = None) -> SetSpec:
        found = self.records.find(name, project)
        if found is None:
            raise NotFound(f"set {name!r} does not exist")
        return found.spec


def _replicas(count: int) -> str:
    return f"{count} replica" if count == 1 else f"{count} replicas"
