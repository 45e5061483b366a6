"""What the tests of engines do with one: services whose replicas behave in known ways, actions, requests.

``MemoryWorld`` and ``EmbeddedWorld`` are the same to a test. A service's *version* is what its replicas answer.
"""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bennu.compose.canonical import service_digest
from bennu.compose.model import Deploy, Exposed, Healthcheck, Service, Volume
from bennu.config import Settings
from bennu.digest import Digest, digest_of
from bennu.engine.actions import Action, Activate, AwaitReady, Prepare, Receipt, RemoveProject, StartSet
from bennu.engine.base import Engine
from bennu.engine.embedded.replicas import network_name
from bennu.engine.sets import Observation, SetId, SetSpec, set_id
from bennu.errors import Unavailable
from bennu.host import mounts
from bennu.host.files import remove_tree
from bennu.oci.image_config import ContainerConfig, ImageConfig
from bennu.oci.reference import parse_reference
from bennu.runtime.status import Status
from bennu.wiring import Fleet
from tests.engine_memory import Behaviour, MemoryEngine
from tests.integration.run_world import assert_nothing_left, eventually, fill

PORT = 8080
PROJECT = "shop"
SERVE = (
    "mkdir -p /tmp/w && echo $VERSION > /tmp/w/index.html && echo serving $VERSION"
    " && exec busybox httpd -f -p 8080 -h /tmp/w"
)
COMMANDS: dict[Behaviour, tuple[str, ...]] = {
    "good": ("sh", "-c", SERVE),
    "sick": ("sh", "-c", "echo its last words; exec sleep 1000"),
    "crash": ("sh", "-c", "echo its last words; exit 3"),
    "done": ("sh", "-c", "exit 0"),
}
CHECK = Healthcheck(
    test=("CMD-SHELL", "busybox wget -q -O /dev/null http://127.0.0.1:8080/ || { echo nobody is there; exit 1; }"),
    interval_seconds=0.2,
    timeout_seconds=5,
    retries=2,
    start_period_seconds=0.2,
)


class EngineWorld(ABC):
    """An engine and one project on it."""

    engine: Engine
    image: Digest

    @abstractmethod
    def fetch(self, service: str) -> str:
        """The version that a service answers with; ``Unavailable`` where nobody does."""

    @abstractmethod
    def crash(self, service: str, index: int, project: str = PROJECT) -> None:
        """A replica of the active set ends, by no will of the engine's."""

    @abstractmethod
    def lose(self, service: str, index: int, project: str = PROJECT) -> None:
        """A replica of the active set is taken away behind the engine's back."""

    @abstractmethod
    def volumes(self) -> set[str]:
        """The names of all volumes."""

    @abstractmethod
    def write(self, volume: str, text: str) -> None:
        """Write into a volume, as a replica would."""

    @abstractmethod
    def read(self, volume: str) -> str:
        """What a volume holds."""

    def spec(
        self, service: str = "web", version: str = "1", replicas: int = 1, does: Behaviour = "good", **fields: object
    ) -> SetSpec:
        """A set whose replicas do as they are said to; ``fields`` are its service's."""
        project = str(fields.pop("project", PROJECT))
        volumes = fields.pop("volumes", {})
        check = {"healthcheck": CHECK} if does in {"good", "sick"} else {}
        wanted = Service(
            name=service,
            **{
                "command": COMMANDS[does],
                "environment": {"VERSION": version, "DOES": does},
                "expose": (Exposed(target=PORT),) if does in {"good", "sick"} else (),
                "deploy": Deploy(replicas=replicas),
                "stop_grace_period_seconds": 0.5,
                **check,
                **fields,
            },
        )
        name = set_id(project, service, service_digest(wanted), self.image, replicas=replicas)
        return SetSpec(id=name, project=project, image=self.image, image_name="box", service=wanted, volumes=volumes)

    def do(self, action: Action, cancel: threading.Event | None = None) -> Receipt:
        """Execute an action; what it reports is not looked at."""
        return self.engine.execute(action, lambda _line: None, cancel or threading.Event())

    def prepare(self, *specs: SetSpec) -> None:
        """Prepare the project for these sets."""
        services = {spec.service.name: spec.service for spec in specs}
        volumes = {key: volume for spec in specs for key, volume in spec.volumes.items()}
        self.do(Prepare(project=specs[0].project, services=services, volumes=volumes))

    def ready(self, *specs: SetSpec) -> None:
        """Start sets and wait until they are ready."""
        for spec in specs:
            self.do(StartSet(spec=spec))
        for spec in specs:
            self.do(AwaitReady(set=spec.id, timeout_seconds=60))

    def activate(self, *specs: SetSpec) -> None:
        """Give their services to these sets."""
        sets = {spec.service.name: spec.id for spec in specs}
        self.do(Activate(project=specs[0].project, sets=sets))

    def deploy(self, *specs: SetSpec) -> None:
        """All of it: prepare, start, await, activate."""
        self.prepare(*specs)
        self.ready(*specs)
        self.activate(*specs)

    def observe(self, project: str = PROJECT) -> Observation:
        """The project as it is."""
        return self.engine.observe(project)

    def states(self, name: SetId, project: str = PROJECT) -> list[str]:
        """The states of a set's replicas, by index."""
        return [replica.state for replica in self.observe(project).sets[name].replicas]

    def tend_until(self, condition: Callable[[], object], project: str = PROJECT, seconds: float = 20) -> None:
        """Call ``tend`` and ``watch`` as the agent does until something is so."""

        def turn() -> bool:
            due = self.engine.tend(project, time.time())
            if condition():
                return True
            reading, writing = os.pipe()
            try:
                self.engine.watch(min(due, 0.5), reading)
            finally:
                os.close(reading)
                os.close(writing)
            return False

        eventually(turn, seconds)


class MemoryWorld(EngineWorld):
    """The engine that only remembers."""

    def __init__(self) -> None:
        self.image = digest_of(b"box")
        self.memory = MemoryEngine(lambda spec: spec.service.environment["DOES"])  # type: ignore[arg-type,return-value]
        self.engine = self.memory

    def fetch(self, service: str) -> str:
        found = self.observe().active_set(service)
        if found is None or not any(replica.is_ready for replica in found.replicas):
            raise Unavailable("nobody answers")
        return found.spec.service.environment["VERSION"]

    def crash(self, service: str, index: int, project: str = PROJECT) -> None:
        self.memory.crash(project, service, index)

    def lose(self, service: str, index: int, project: str = PROJECT) -> None:
        self.memory.lose(project, service, index)

    def volumes(self) -> set[str]:
        return set(self.memory.volumes)

    def write(self, volume: str, text: str) -> None:
        self.memory.data.texts[volume] = text

    def read(self, volume: str) -> str:
        return self.memory.data.texts[volume]


class EmbeddedWorld(EngineWorld):
    """Real containers behind a real switch, in a root of its own."""

    def __init__(self, settings: Settings, fleet: Fleet) -> None:
        self.settings = settings
        self.fleet = fleet
        self.engine = self.embedded = fleet.engine
        self.containers = fleet.containers
        self.image = self.make_image("box:latest")

    def make_image(self, name: str, files: dict[str, str] | None = None, **config: object) -> Digest:
        """A busybox image; ``config`` are fields of its container configuration."""
        active = self.fleet.snapshots.prepare(None)
        tree = self.fleet.snapshots.directory(active)
        fill(tree, files or {})
        shutil.copymode("/", tree)
        snapshot = self.fleet.snapshots.commit(active)
        fields = {"env": ("PATH=/bin",), "cmd": ("sh",), **config}
        whole = ImageConfig(architecture="amd64", os="linux", config=ContainerConfig(**fields))  # type: ignore[arg-type]
        return self.fleet.images.create(whole, snapshot, names=(parse_reference(name),), durable=False).manifest

    def fetch(self, service: str, project: str = PROJECT) -> str:
        address = self.containers.networks.service_addresses(network_name(project)).get(service)
        if address is None:
            raise Unavailable("nobody answers")
        return get(address, PORT)

    def crash(self, service: str, index: int, project: str = PROJECT) -> None:
        os.kill(self.status(service, index, project).pid, signal.SIGKILL)
        eventually(lambda: not self.status(service, index, project).is_alive)

    def lose(self, service: str, index: int, project: str = PROJECT) -> None:
        found = self.observe(project).active_set(service)
        assert found is not None
        self.containers.remove(next(r.container for r in found.replicas if r.index == index), force=True)

    def volumes(self) -> set[str]:
        return {volume.name for volume in self.containers.volumes.walk()}

    def write(self, volume: str, text: str) -> None:
        (self.containers.volumes.place(volume) / "_data" / "text").write_text(text)

    def read(self, volume: str) -> str:
        return (self.containers.volumes.place(volume) / "_data" / "text").read_text()

    def container(self, service: str, index: int, project: str = PROJECT) -> str:
        """The container of a replica of the active set."""
        found = self.observe(project).active_set(service)
        assert found is not None
        return next(replica.container for replica in found.replicas if replica.index == index)

    def status(self, service: str, index: int, project: str = PROJECT) -> Status:
        """What a replica of the active set does."""
        return self.containers.inspect(self.container(service, index, project)).status

    def haproxy(self) -> list[int]:
        """The pids of this root's HAProxy processes."""
        return [pid for pid, words in _commands() if b"haproxy" in words[0] and any(self._mark in w for w in words)]

    def lose_host(self) -> None:
        """What a reboot takes away: every process, every namespace and interface, the run directory."""
        for pid, words in _commands():
            if pid != os.getpid() and any(self._mark in w or os.fsencode(self.settings.root) in w for w in words):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        for container in self.containers.list():
            if container.status.pid:
                with suppress(ProcessLookupError):
                    os.kill(container.status.pid, signal.SIGKILL)
        eventually(lambda: not any(container.status.is_alive for container in self.containers.list()))
        for network in self.containers.networks.walk():
            subprocess.run(["ip", "link", "delete", network.bridge], check=False, capture_output=True)
        for container in self.containers.list():
            for plug in self.containers.networks.attachments(container.id):
                subprocess.run(["ip", "link", "delete", plug.port], check=False, capture_output=True)
        for path in mounts.mounted_below(self.settings.run):
            subprocess.run(["umount", "-l", str(path)], check=True)
        remove_tree(self.settings.run)

    @property
    def _mark(self) -> bytes:
        return os.fsencode(self.settings.run)


def _commands() -> Iterator[tuple[int, list[bytes]]]:
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        with suppress(OSError):
            yield pid, Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")


def get(address: str, port: int, path: str = "/") -> str:
    """The first line of what a URL gives; ``Unavailable`` where nothing does."""
    connection = http.client.HTTPConnection(address, port, timeout=10)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        response = connection.getresponse()
        body = response.read().decode()
    except OSError as error:
        raise Unavailable(f"nobody answers: {error}") from error
    except http.client.HTTPException as error:
        raise Unavailable(f"nobody answers: {error}") from error
    finally:
        connection.close()
    if response.status != 200:
        raise Unavailable(f"{response.status} {response.reason}")
    return body.strip()


@contextmanager
def embedded(settings: Settings) -> Iterator[EmbeddedWorld]:
    """An embedded engine in a root of its own; afterwards all its projects are removed and nothing may be left."""
    with Fleet(settings) as fleet:
        world = EmbeddedWorld(settings, fleet)
        try:
            yield world
        finally:
            for project in world.engine.projects():
                world.do(RemoveProject(project=project, volumes=True))
            left = [container.name for container in world.containers.list()]
            for name in left:
                world.containers.remove(name, force=True, volumes=True)
            world.containers.sweep()
            for network in world.containers.networks.walk():
                world.containers.networks.remove(network.name)
        assert left == []
        assert_nothing_left(settings)
        assert world.haproxy() == []
        assert not any(settings.projects.iterdir()) if settings.projects.exists() else True
        remove_tree(settings.run)


__all__ = ["PROJECT", "EmbeddedWorld", "EngineWorld", "MemoryWorld", "Volume", "embedded", "get"]
