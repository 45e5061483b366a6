"""The containers of a set: created, started, stopped and removed together, several at a time. All of it is idempotent.

A half-made set, after a crash at any point, is completed by ``start``; names are fixed by set and index, so nothing
is made twice.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar

from bennu.compose.model import Service
from bennu.config import Settings
from bennu.engine.base import Report
from bennu.engine.embedded.options import container_options, replica_name
from bennu.engine.embedded.replica_files import ReplicaFiles
from bennu.engine.sets import Observation, ReplicaObservation, SetId, SetSpec
from bennu.errors import AlreadyExists, BennuError, Conflict, Failed, NotFound
from bennu.host import files, locks
from bennu.runtime import logs
from bennu.runtime import options as labels
from bennu.runtime.containers import Container, Containers
from bennu.runtime.etc_files import hosts_text
from bennu.runtime.networks import Networks
from bennu.runtime.options import DEFAULT_LOG_BYTES, ContainerImage
from bennu.runtime.places import Place
from bennu.runtime.records import Record
from bennu.store.images import Images

ROTATE_BYTES: Final = DEFAULT_LOG_BYTES // 2
"""Half of what the monitor keeps: what is written until the next look still has room."""

PARALLEL: Final = 8
TAIL_LINES: Final = 10
T = TypeVar("T")


class Replicas:
    """The containers of all sets of one root."""

    def __init__(self, settings: Settings, containers: Containers, networks: Networks, images: Images) -> None:
        self._settings = settings
        self.containers = containers
        self._networks = networks
        self._images = images
        self.files = ReplicaFiles(settings)

    def of(self, spec: SetSpec) -> tuple[Container, ...]:
        """The containers of a set that there are."""
        return self.containers.list({labels.PROJECT: spec.project, labels.SET: spec.id})

    def records_of(self, spec: SetSpec) -> tuple[Record, ...]:
        """The same without a look at what they do, which costs the most."""
        return self.containers.records.walk({labels.PROJECT: spec.project, labels.SET: spec.id})

    @contextmanager
    def on_duty(self, project: str) -> Iterator[None]:
        """For the block nobody takes duties away: what is found wanted in it may be brought back in it."""
        with locks.held(self._duties(project), shared=True, subject=f"the duties of project {project!r}"):
            yield

    @contextmanager
    def changing_duties(self, project: str) -> Iterator[None]:
        """For the block nobody brings anything back; whoever does afterwards sees what the block has recorded."""
        with locks.held(self._duties(project), subject=f"the duties of project {project!r}"):
            yield

    def _duties(self, project: str) -> Path:
        return self._settings.locks / f"duties-{project}.lock"

    def start(
        self, spec: SetSpec, count: int, report: Report, cancel: threading.Event, *, made: Callable[[], None]
    ) -> int:
        """Make the first replicas of a set run; how many had to be started. ``made`` is called before any is."""
        found = self._all(spec, range(1, count + 1), cancel)
        made()
        idle = [container for container in found if container.status.state != "running"]
        started: list[str] = []

        def one(container: Container) -> None:
            _refuse_cancelled(cancel)
            self._start(container)
            started.append(container.id)
            report(f"{len(started)} of {len(idle)} started")

        _each(one, idle)
        return len(idle)

    def addresses(self, spec: SetSpec) -> dict[int, str]:
        """Where the replicas of a set are on the project's network, by their numbers, those that do not run too."""
        return {
            int(record.labels[labels.REPLICA]): plug.address
            for record in self.records_of(spec)
            for plug in self._networks.attachments(record.id)[:1]
        }

    def complete(self, spec: SetSpec) -> int:
        """Make the replicas that a set has lost; those that are there are left as they are. How many were made."""
        there = {record.labels[labels.REPLICA] for record in self.records_of(spec)}
        missing = [index for index in range(1, spec.replicas + 1) if str(index) not in there]
        _each(self._start, self._all(spec, missing, threading.Event()))
        return len(missing)

    def revive(self, spec: SetSpec, replica: ReplicaObservation) -> None:
        """Start a replica that ended again. ``NotFound`` if it is gone."""
        found = self.containers.inspect(replica.container)
        self.files.place(spec)
        self.write_hosts(spec)
        self._start(found)

    def rotate_log(self, replica: ReplicaObservation) -> bool:
        """Begin a new log for a replica whose log is long, before its monitor would cut it; whether that was done."""
        return logs.rotate(Place(self._settings, replica.container), ROTATE_BYTES)

    def last_lines(self, replica: ReplicaObservation) -> tuple[str, ...]:
        """The end of a replica's log, each line with the replica's name."""
        place = self.containers.place(self.containers.resolve(replica.container))
        lines = logs.read(place, tail=TAIL_LINES)
        return tuple(f"{replica.name} | {line.data.decode(errors='replace').rstrip()}" for line in lines)

    def renew(self, spec: SetSpec, replica: ReplicaObservation) -> None:
        """Make a replica that was stopped anew, from its image.

        One that has volumes of its own, which nobody else would have the content of, is only started again.
        """
        if self.containers.volumes.anonymous_of(replica.container):
            self.revive(spec, replica)
            return
        with suppress(NotFound):
            self.containers.remove(replica.container, force=True)
        _each(self._start, self._all(spec, [replica.index], threading.Event()))

    def burn(self, spec: SetSpec, index: int) -> None:
        """Remove one replica with all that was its own, if it is there, and start one in its place."""
        for container in self.of(spec):
            if container.record.labels[labels.REPLICA] == str(index):
                self._stop(container)
                with suppress(NotFound):
                    self.containers.remove(container.id, force=True, volumes=True)
        _each(self._start, self._all(spec, [index], threading.Event()))

    def _all(self, spec: SetSpec, indices: Iterable[int], cancel: threading.Event) -> list[Container]:
        """The containers of these replicas, made where they are missing; the set's names are written afterwards.

        Each has its address by then, so that a replica finds its own name and its companions' from its first moment.
        """
        self.files.place(spec)
        there = {container.record.labels[labels.REPLICA]: container for container in self.of(spec)}
        found = {index: there[str(index)] for index in indices if str(index) in there}
        missing = [index for index in indices if str(index) not in there]
        if missing:
            image = self.image(spec)

            def make(index: int) -> None:
                _refuse_cancelled(cancel)
                found[index] = self._create(spec, index, image)

            _each(make, missing)
        self.write_hosts(spec)
        return [found[index] for index in indices]

    def _create(self, spec: SetSpec, index: int, image: ContainerImage) -> Container:
        network = network_name(spec.project)
        options = container_options(
            spec, index, network=network, hosts_file=str(self.hosts_path(spec)), files=self.files.directory
        )
        name = replica_name(spec, index)
        try:
            record = self.containers.create(image, options, name)
        except AlreadyExists:
            record = self.containers.resolve(name)
        self._networks.attach(network, record.id)
        return Container(record, self.containers.status(record))

    def _start(self, container: Container) -> None:
        try:
            if container.status.state == "paused":
                self.containers.unpause(container.id)
            else:
                self.containers.start(container.id)
        except BennuError as error:
            given = container.record.labels
            name = f"{given.get(labels.SERVICE)}.{given.get(labels.REPLICA)}"
            error.message = f"replica {name} of set {given.get(labels.SET)} cannot be started: {error.message}"
            raise

    def freeze(self, spec: SetSpec) -> int:
        """Hold every replica that runs; how many are held."""
        running = [container for container in self.of(spec) if container.status.state in {"running", "paused"}]

        def one(container: Container) -> None:
            with suppress(Conflict, NotFound):  # it has just ended, or has been removed
                self.containers.pause(container.id)

        _each(one, running)
        return len(running)

    def halt(self) -> int:
        """Stop every container of the root, whosever it is; how many lived."""
        alive = self.containers.list(ended=False)
        _each(lambda one: self.containers.stop(one.id), alive, parallel=max(PARALLEL, len(alive)))
        return len(alive)

    def stop(self, spec: SetSpec) -> int:
        """Stop every replica that runs, each within its own time; how many did."""
        alive = [container for container in self.of(spec) if container.status.is_alive]
        _each(self._stop, alive, parallel=max(PARALLEL, len(alive)))
        return len(alive)

    def _stop(self, container: Container) -> None:
        if container.status.state == "paused":
            self.containers.unpause(container.id)
        if container.status.is_alive:
            self.containers.stop(container.id)

    def remove(self, spec: SetSpec) -> int:
        """Stop and remove every replica with what was its own; how many there were."""
        self.stop(spec)
        found = self.records_of(spec)
        _each(lambda record: self.containers.remove(record.id, force=True, volumes=True), found)
        files.remove_tree(self.hosts_path(spec))
        return len(found)

    def sweep(self, project: str, known: Collection[SetId]) -> int:
        """Remove the replicas of sets that nobody knows; how many there were."""
        found = self.containers.records.walk({labels.PROJECT: project})
        stray = [one for one in found if one.labels.get(labels.SET) not in {None, *known}]
        _each(lambda record: self.containers.remove(record.id, force=True, volumes=True), stray)
        return len(stray)

    def write_hosts(self, spec: SetSpec) -> None:
        """Write the hosts file that a set's replicas share: services at their stable addresses, and the replicas."""
        path = self.hosts_path(spec)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = self.hosts_text(spec)
        if not path.exists():
            files.write_atomic(path, text, durable=False)
        elif path.read_bytes().rstrip() != text.rstrip():
            _overwrite(path, text)

    def hosts_text(self, spec: SetSpec) -> bytes:
        """What that file should say now."""
        network = self._networks.get(network_name(spec.project))
        known = self._networks.service_addresses(network_name(spec.project))
        extra: dict[str, tuple[str, ...]] = {name: (address,) for name, address in sorted(known.items())}
        for name, service in spec.service.links.items():
            if service in known:
                extra[name] = (known[service],)
        for name, given in spec.service.extra_hosts.items():
            gateway = str(network.gateway) if network is not None else "127.0.0.1"
            extra[name] = tuple(gateway if address == "host-gateway" else address for address in given)
        for record in self.records_of(spec):
            for plug in self._networks.attachments(record.id):
                extra.setdefault(record.hostname, ())
                extra[record.hostname] += (plug.address,)
        return hosts_text("", None, extra).encode()

    def hosts_path(self, spec: SetSpec) -> Path:
        """The hosts file that the replicas of a set share."""
        return self._settings.projects / spec.project / "hosts" / spec.id

    def image(self, spec: SetSpec) -> ContainerImage:
        """What a set's replicas are made from. ``NotFound``."""
        image = self._images.get(spec.image)
        tree = self._images.snapshot(image)
        if tree is None:
            raise NotFound(f"image {spec.image_name!r} has no files to run", "build it again")
        return ContainerImage(
            name=spec.image_name, snapshot=tree.id, config=image.config.config, manifest=image.manifest
        )


def network_name(project: str) -> str:
    """The name of a project's network, as Compose gives it."""
    return f"{project}_default"


def jobs_of(observation: Observation) -> set[str]:
    """The services that others wait for until they have completed."""
    every: list[Service] = [found.spec.service for found in observation.sets.values()]
    return {
        name
        for service in every
        for name, dependency in service.depends_on.items()
        if dependency.condition == "service_completed_successfully"
    }


def _overwrite(path: Path, text: bytes) -> None:
    """Change a file that is mounted into running replicas: it keeps its inode, and no reader finds a part of it.

    One write of no fewer bytes than there were: what is left of a longer text becomes empty lines.
    """
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.pwrite(fd, text.ljust(os.fstat(fd).st_size, b"\n"), 0)
    finally:
        os.close(fd)


def _refuse_cancelled(cancel: threading.Event) -> None:
    if cancel.is_set():
        raise Failed("cancelled", status=137)


def _each(function: Callable[[T], object], items: Iterable[T], *, parallel: int = PARALLEL) -> None:
    """Call a function for each item, several at a time. After an error no more are begun, and it is raised."""
    every = list(items)
    if len(every) < 2:
        for item in every:
            function(item)
        return
    with ThreadPoolExecutor(min(parallel, len(every)), thread_name_prefix="bennu-replica") as pool:
        futures = [pool.submit(function, item) for item in every]
        wait(futures, return_when=FIRST_EXCEPTION)
        pool.shutdown(cancel_futures=True)
        for future in futures:
            if not future.cancelled():
                future.result()
