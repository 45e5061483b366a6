"""Looking closely at a project: the embedded engine's part of ``bennu drift``. Reads, and changes nothing.

Everything comes in bulk: one look at all processes of the host, one thread that visits the namespaces of all replicas,
one dump of the host's network, at most two runs of nft. ``surveyed_replicas`` and its companions say what it means.
A replica that comes or goes while it is looked at is looked at again, and left out if it does not keep still.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from bennu.config import Settings
from bennu.digest import sha256_hex
from bennu.engine.embedded import expecting, intruders
from bennu.engine.embedded.options import identity
from bennu.engine.embedded.records import EngineRecords, SetRecord
from bennu.engine.embedded.replicas import Replicas, network_name
from bennu.engine.embedded.surveyed_host import host_facts
from bennu.engine.embedded.surveyed_network import NetworkSurvey
from bennu.engine.embedded.surveyed_replicas import Look, facts
from bennu.engine.embedded.surveyed_store import StoreSurvey
from bennu.engine.embedded.surveyed_switch import SwitchSurvey
from bennu.engine.embedded.traffic import Traffic
from bennu.engine.sets import SetId, SetSpec
from bennu.engine.survey import Facts, Survey
from bennu.errors import BennuError
from bennu.host import cgroups, tasks
from bennu.host.files import directory, open_in_root, read_in_root
from bennu.oci.image_config import ContainerConfig
from bennu.runtime import interior, users
from bennu.runtime import options as labels
from bennu.runtime.containers import Container, Containers
from bennu.store.database import Database
from bennu.store.images import Images

SETTLE_SECONDS: Final = 10.0
"""A replica without a health check has its own files together by then."""


class _Living(NamedTuple):
    """A replica that has processes: what it is called, and its set."""

    name: str
    spec: SetSpec
    number: int
    container: Container
    held: bool = False


class Surveying:
    """Surveys of the projects of one root."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        *,
        containers: Containers,
        images: Images,
        records: EngineRecords,
        replicas: Replicas,
        traffic: Traffic,
    ) -> None:
        self._settings = settings
        self._containers = containers
        self._images = images
        self._records = records
        self._replicas = replicas
        self._network = NetworkSurvey(settings, containers, records)
        self._switch = SwitchSurvey(settings, records, traffic)
        self._store = StoreSurvey(database, images, containers)

    def survey(self, project: str, *, deep: bool) -> Survey:
        """The project, looked at closely."""
        known = self._records.sets(project)
        active = self._records.active(project)
        found = self._containers.list({labels.PROJECT: project})
        specs = {name: known[name].spec for name in active.values() if name in known}
        notes: list[str] = []
        collected: list[Facts] = [*self._census(known, active, found)]
        living = list(_living(known, active, found))
        collected += self._replica_facts(living, notes)
        collected += self._network.facts(
            project, known, self._switch.datagrams(project), {one.container.id: one.name for one in living}
        )
        collected += self._switch.facts(project, notes)
        collected += self._store.facts([record.spec for record in known.values()], deep=deep)
        return Survey(
            project=project,
            taken=time.time(),
            facts=tuple(collected),
            active=active,
            host=host_facts(),
            tags=self._store.tags(specs.values()),
            created=_created(living, active),
            notes=tuple(notes),
        )

    # who is there

    def _census(
        self,
        known: Mapping[SetId, SetRecord],
        active: Mapping[str, SetId],
        found: Iterable[Container],
    ) -> Iterator[Facts]:
        every = list(found)
        for service, name in sorted(active.items()):
            record = known.get(name)
            mine = [one for one in every if one.record.labels.get(labels.SET) == name]
            if record is None or record.stopped:
                continue
            there = {one.record.labels.get(labels.REPLICA, "") for one in mine}
            wanted = [str(index) for index in range(1, record.spec.replicas + 1)]
            yield Facts(
                kind="replica",
                subject=service,
                want={f"{service}.{index}": "a replica" for index in wanted},
                have={f"{service}.{index}": "a replica" for index in wanted if index in there},
            )
            yield from self._states(record.spec, mine)
        strange = {one.name: _why_strange(one, known) for one in every}
        yield Facts(
            kind="container",
            have={name: why for name, why in strange.items() if why},
            since={one.name: one.record.created for one in every},
        )

    def _states(self, spec: SetSpec, mine: Iterable[Container]) -> Iterator[Facts]:
        is_job = self._is_job(spec)
        for one in mine:
            name = f"{spec.service.name}.{one.record.labels.get(labels.REPLICA)}"
            status = one.status
            if status.state == "running" or is_job or labels.HELD in one.record.labels or not _should_run(spec, one):
                continue
            what = f"ended with {status.exit_status}" if status.state == "exited" else status.state
            yield Facts(
                kind="state",
                subject=name,
                want={"state": "running"},
                have={"state": what},
                since={} if status.finished is None else {"state": status.finished},
            )

    def _is_job(self, spec: SetSpec) -> bool:
        services = self._records.services(spec.project).values()
        return any(
            dependency.condition == "service_completed_successfully"
            for service in services
            for name, dependency in service.depends_on.items()
            if name == spec.service.name
        )

    # what each is like

    def _replica_facts(self, living: list[_Living], notes: list[str]) -> Iterator[Facts]:
        configs: dict[str, ContainerConfig] = {}
        hosts: dict[str, str] = {}
        for one in living:
            if one.spec.id not in hosts:
                configs[one.spec.image] = self._config(one)
                hosts[one.spec.id] = sha256_hex(self._replicas.hosts_text(one.spec).rstrip())[:12]
        looks = self._looks(living, hosts)
        for one in living:
            look = looks.get(one.container.id)
            if look is None:
                notes.append(f"{one.name} came or went while it was looked at")
                continue
            config = configs[one.spec.image]
            try:
                user = _user(one.spec, config, look.init.pid)
                want = expecting.expected(one.spec, one.number, config, user, network=network_name(one.spec.project))
            except BennuError as error:
                notes.append(f"{one.name}: {error.message}")
                continue
            if look.baseline is None:
                notes.append(f"{one.name} was started by an older bennu: what its runtime made is not known")
            for each in facts(one.name, one.spec.id, want, look):
                yield msgspec.structs.replace(each, held=True) if one.held else each

    def _config(self, one: _Living) -> ContainerConfig:
        """The image's configuration; the container's where that is damaged, which is told elsewhere."""
        with suppress(BennuError):
            return self._images.get(one.spec.image).config.config
        return one.container.record.config

    def _looks(self, living: list[_Living], hosts: Mapping[str, str]) -> dict[str, Look]:
        places = {one.container.status.pid: self._containers.place(one.container.record) for one in living}
        interiors = interior.look(places)
        members = {pid: cgroups.members(place.cgroup) for pid, place in places.items()}
        homes = self._households(members, {one.container.id for one in living})
        amiss = intruders.confirmed({pid: intruders.suspects(home, places[pid].bundle) for pid, home in homes.items()})
        health = self._records.health(one.container.id for one in living)
        found = {}
        for one in living:
            pid = one.container.status.pid
            seen, home = interiors.get(pid), homes.get(pid)
            init = None if home is None else home.members.get(pid)
            if seen is None or home is None or init is None or init.started != seen.started:
                continue
            state = health.get(one.container.id)
            ready = state.since if state is not None and state.verdict == "healthy" else None
            inside = {**home.members, **home.inhabitants}
            strange = amiss.get(pid, {})
            found[one.container.id] = Look(
                container=one.container,
                image=one.spec.image,
                interior=seen,
                baseline=interior.baseline(places[pid]),
                init=init,
                uids=frozenset(task.uid for task in inside.values() if task.pid not in strange),
                environment=tasks.environment(pid),
                words=tasks.command_line(pid),
                oom_score_adj=tasks.oom_score_adj(pid),
                hosts=hosts[one.spec.id],
                sources=_sources(pid, one.container, self._containers),
                groups=_groups(inside.keys() - strange.keys(), places[pid].cgroup),
                intruders={f"pid {each}": told for each, told in strange.items() if each in inside},
                guests={f"pid {each}": told for each, told in strange.items() if each not in inside},
                settled=ready or (one.container.status.started or 0.0) + SETTLE_SECONDS,
            )
        return found

    def _households(
        self, members: Mapping[int, Iterable[int]], mine: Collection[str]
    ) -> dict[int, intruders.Household]:
        everywhere = intruders.everywhere()
        listed = {pid: tuple(pids) for pid, pids in members.items()}
        known = {pid for pids in listed.values() for pid in pids}
        others = (record for record in self._containers.records.walk() if record.id not in mine)
        known |= {pid for record in others for pid in cgroups.members(self._containers.place(record).cgroup)}
        return intruders.households(listed, everywhere, known)


def _living(
    known: Mapping[SetId, SetRecord], active: Mapping[str, SetId], found: Iterable[Container]
) -> Iterator[_Living]:
    for one in found:
        given = one.record.labels
        held = labels.HELD in given
        record = known.get(SetId(given.get(labels.HELD, given.get(labels.SET, ""))))
        index = given.get(labels.REPLICA, "")
        if record is None or not one.status.is_alive or not index.isdigit():
            continue
        spec = record.spec
        name = f"{spec.service.name}.{index}"
        if active.get(spec.service.name) != spec.id and not held:
            name += f" of kept set {spec.id}"
        yield _Living(name, spec, int(index), one, held)


def _created(living: Iterable[_Living], active: Mapping[str, SetId]) -> dict[str, float]:
    return {
        one.name: one.container.record.created
        for one in living
        if active.get(one.spec.service.name) == one.spec.id and not one.held
    }


def _why_strange(one: Container, known: Mapping[SetId, SetRecord]) -> str:
    given = one.record.labels
    record = known.get(SetId(given.get(labels.SET, "")))
    if labels.HELD in given:
        return ""
    if record is None:
        return f"a container with the project's label, of no set that is known; it is {one.status.state}"
    index = given.get(labels.REPLICA, "")
    if not index.isdigit() or not 1 <= int(index) <= record.spec.replicas:
        return f"a container of set {record.spec.id} with number {index or 'none'}; it is {one.status.state}"
    expected = identity(record.spec, int(index))
    if any(given.get(label) != value for label, value in expected.items()):
        return f"a container of set {record.spec.id} with labels of another; it is {one.status.state}"
    return ""


def _should_run(spec: SetSpec, one: Container) -> bool:
    from bennu.engine.embedded.restarts import comes_back

    return one.status.state != "exited" or comes_back(spec.service.restart, one.status.exit_status, 0)


def _user(spec: SetSpec, config: ContainerConfig, pid: int) -> users.User:
    """Who the files of the image say that its process is."""
    root = Path(f"/proc/{pid}/root")
    passwd, group = (_text(root, path) for path in ("/etc/passwd", "/etc/group"))
    return users.resolve_user(expecting.user_of(spec, config), passwd, group)


def _text(root: Path, path: str) -> str:
    with suppress(OSError):
        return (read_in_root(root, path) or b"").decode(errors="replace")
    return ""


def _groups(pids: Iterable[int], cgroup: str) -> dict[str, str]:
    """Processes that are not, or not in every hierarchy, in the control group of their container."""
    found = {}
    for pid in sorted(pids):
        elsewhere = cgroups.elsewhere(pid, cgroup)
        if elsewhere:
            found[f"pid {pid}"] = f"{intruders.shown(tasks.command_line(pid))} is in {', '.join(elsewhere)}"
    return found


def _sources(pid: int, one: Container, containers: Containers) -> dict[str, tuple[str, str]]:
    """By target, what should be mounted there and what is, as the host's files have it."""
    found = {}
    for mount in one.record.mounts:
        if mount.type == "tmpfs" or mount.subpath is not None or mount.source is None:
            continue
        volume = containers.volumes.get(mount.source) if mount.type == "volume" else None
        if mount.type == "volume" and (volume is None or volume.options):
            continue  # that it is gone is told of the volume; a device is mounted for each container by itself
        path = str(volume.path) if volume is not None else mount.source
        with suppress(OSError), directory(f"/proc/{pid}/root") as root:
            fd = open_in_root(root, mount.target, os.O_PATH)
            try:
                inside = os.fstat(fd)
            finally:
                os.close(fd)
            mounted = f"{path} (inode {inside.st_ino})"
            try:
                outside = os.stat(path)
                there = f"{path} (inode {outside.st_ino})" if outside.st_dev == inside.st_dev else f"{path} elsewhere"
            except OSError:
                there = f"{path}, which is gone from the host"
            found[mount.target] = (there, mounted)
    return found
