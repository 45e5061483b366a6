"""The containers of a set: created, started, stopped and removed together, several at a time. All of it is idempotent.

A half-made set, after a crash at any point, is completed by ``start``; names are fixed by set and index, so nothing
is made twice.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from bennu.config import Settings
from bennu.engine.base import ReplicaObservation, Report, SetSpec
from bennu.engine.embedded.options import container_options, replica_name
from bennu.errors import AlreadyExists, Failed, NotFound
from bennu.host import files
from bennu.runtime import options as labels
from bennu.runtime.containers import Container, Containers
from bennu.runtime.etc_files import hosts_text
from bennu.runtime.networks import Networks
from bennu.runtime.options import ContainerImage
from bennu.store.images import Images

PARALLEL: Final = 8
T = TypeVar("T")


class Replicas:
    """The containers of all sets of one root."""

    def __init__(self, settings: Settings, containers: Containers, networks: Networks, images: Images) -> None:
        self._settings = settings
        self.containers = containers
        self._networks = networks
        self._images = images

    def of(self, spec: SetSpec) -> tuple[Container, ...]:
        """The containers of a set that there are."""
        return self.containers.list({labels.PROJECT: spec.project, labels.SET: spec.id})

    def start(self, spec: SetSpec, report: Report, cancel: threading.Event) -> int:
        """Make every replica of a set run; how many had to be started."""
        image = self._image(spec)
        hosts = self.write_hosts(spec)
        there = {container.record.labels[labels.REPLICA]: container for container in self.of(spec)}
        started: list[int] = []

        def one(index: int) -> None:
            if cancel.is_set():
                raise Failed("cancelled", status=137)
            if self._start_one(spec, index, image, hosts, there.get(str(index))):
                started.append(index)
                report(f"{len(started)} of {spec.replicas} started")

        _each(one, range(1, spec.replicas + 1))
        return len(started)

    def complete(self, spec: SetSpec) -> int:
        """Make the replicas that a set has lost; those that are there are left as they are. How many were made."""
        there = {container.record.labels[labels.REPLICA] for container in self.of(spec)}
        missing = [index for index in range(1, spec.replicas + 1) if str(index) not in there]
        if missing:
            image, hosts = self._image(spec), self.write_hosts(spec)
            _each(lambda index: self._start_one(spec, index, image, hosts, None), missing)
        return len(missing)

    def _start_one(
        self, spec: SetSpec, index: int, image: ContainerImage, hosts: Path, found: Container | None
    ) -> bool:
        if found is None:
            options = container_options(spec, index, network=network_name(spec.project), hosts_file=str(hosts))
            try:
                record = self.containers.create(image, options, replica_name(spec, index))
            except AlreadyExists:
                record = self.containers.resolve(replica_name(spec, index))
            self.containers.start(record.id)
            return True
        if found.status.state == "paused":
            self.containers.unpause(found.id)
            return True
        if found.status.state == "dead":
            self.containers.remove(found.id, force=True)
            return self._start_one(spec, index, image, hosts, None)
        if found.status.state != "running":
            self.containers.start(found.id)
            return True
        return False

    def revive(self, spec: SetSpec, replica: ReplicaObservation) -> None:
        """Start a replica that ended again; one that runs and is sick is stopped first. ``NotFound`` if it is gone."""
        self.containers.resolve(replica.container)
        if replica.state == "running":
            self.containers.stop(replica.container)
        self.write_hosts(spec)
        self.containers.start(replica.container)

    def stop(self, spec: SetSpec) -> int:
        """Stop every replica that runs, each within its own time; how many did."""
        alive = [container for container in self.of(spec) if container.status.is_alive]

        def one(container: Container) -> None:
            if container.status.state == "paused":
                self.containers.unpause(container.id)
            self.containers.stop(container.id)

        _each(one, alive, parallel=max(PARALLEL, len(alive)))
        return len(alive)

    def remove(self, spec: SetSpec) -> int:
        """Stop and remove every replica with what was its own; how many there were."""
        self.stop(spec)
        found = self.of(spec)
        _each(lambda container: self.containers.remove(container.id, force=True, volumes=True), found)
        files.remove_tree(self._hosts_path(spec))
        return len(found)

    def write_hosts(self, spec: SetSpec) -> Path:
        """The hosts file that the set's replicas share: every service's name at its stable address."""
        network = self._networks.get(network_name(spec.project))
        known = self._networks.service_addresses(network_name(spec.project))
        extra: dict[str, tuple[str, ...]] = {name: (address,) for name, address in sorted(known.items())}
        for name, given in spec.service.extra_hosts.items():
            gateway = str(network.gateway) if network is not None else "127.0.0.1"
            extra[name] = tuple(gateway if address == "host-gateway" else address for address in given)
        path = self._hosts_path(spec)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = hosts_text("", None, extra).encode()
        # the file is bind-mounted into running replicas, so it keeps its inode
        if not path.exists():
            files.write_atomic(path, text, durable=False)
        elif path.read_bytes() != text:
            path.write_bytes(text)
        return path

    def _hosts_path(self, spec: SetSpec) -> Path:
        return self._settings.projects / spec.project / "hosts" / spec.id

    def _image(self, spec: SetSpec) -> ContainerImage:
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


def _each(function: Callable[[T], object], items: Iterable[T], *, parallel: int = PARALLEL) -> None:
    """Call a function for each item, several at a time; the first error is raised when all have ended."""
    every = list(items)
    if len(every) < 2:
        for item in every:
            function(item)
        return
    with ThreadPoolExecutor(min(parallel, len(every)), thread_name_prefix="bennu-replica") as pool:
        for future in [pool.submit(function, item) for item in every]:
            future.result()
