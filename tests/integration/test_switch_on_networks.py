"""Services of a project reach each other by stable addresses, through the switch, on a real bridge."""

import contextlib
import http.client
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bennu.config import Settings
from bennu.host import network, syscalls
from bennu.host.files import remove_tree
from bennu.host.namespaces import in_namespace
from bennu.runtime.networks import Attachment, Networks
from bennu.store.database import Database
from bennu.switch.model import Bind, Frontend, Server
from bennu.switch.switch import Switch

pytestmark = pytest.mark.root

PORT = 8000
PROGRAM = Path(__file__).with_name("switch_replica.py")


@contextlib.contextmanager
def replica(label: str, place: Attachment) -> Iterator[None]:
    command = ["nsenter", f"--net={place.netns}", sys.executable, str(PROGRAM), label, f"{place.address}:{PORT}"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        yield
    finally:
        child.kill()
        child.communicate()


class Project:
    """Two sets of a service, of two replicas each, and a client; everything on one network."""

    def __init__(self, networks: Networks, switch: Switch) -> None:
        self.switch = switch
        self.found = networks.ensure("shop")
        self.stable = networks.service_address("shop", "web")
        self.client = networks.attach("shop", "client")
        self.places = {name: networks.attach("shop", name) for name in ("a1", "a2", "b1", "b2")}
        binds = (Bind(self.stable, PORT),)
        switch.ensure([Frontend("web", PORT, "http", binds), Frontend("web", PORT, "udp", binds)])
        for name in "ab":
            servers = [Server(one, self.places[name + one].address) for one in "12"]
            switch.put_set("web", name, servers)
        switch.activate({"web": "a"})

    def inside(self, place: Attachment, function: Callable[[], str]) -> str:
        return in_namespace(place.netns, syscalls.CLONE_NEWNET, function)

    def get(self, place: Attachment, path: str = "/") -> str:
        def ask() -> str:
            connection = http.client.HTTPConnection(self.stable, PORT, timeout=5)
            try:
                connection.request("GET", path)
                return connection.getresponse().read().decode()
            finally:
                connection.close()

        return self.inside(place, ask)

    def say(self, place: Attachment) -> str:
        def ask() -> str:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stream:
                stream.settimeout(5)
                stream.connect((self.stable, PORT))
                stream.send(b"x")
                return stream.recv(100).decode()

        return self.inside(place, ask)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    settings = Settings.from_environ({"BENNU_ROOT": str(tmp_path / "root")})
    networks, switch = Networks(settings, Database(settings.database)), Switch(settings, "shop")
    try:
        project = Project(networks, switch)
        with contextlib.ExitStack() as stack:
            for name, place in project.places.items():
                stack.enter_context(replica(name[0], place))
            yield project
    finally:
        switch.remove()
        for owner in networks.owners():
            networks.detach(owner)
        networks.remove("shop")
        remove_tree(settings.run)


def test_a_name_that_never_goes_stale(project: Project):
    assert {project.get(project.client) for _ in range(6)} == {"a"}
    assert project.get(project.client, "/from") == project.client.address
    project.switch.activate({"web": "b"})
    assert {project.get(project.client) for _ in range(6)} == {"b"}


def test_a_replica_reaches_its_own_service(project: Project):
    assert {project.get(project.places["a1"]) for _ in range(4)} == {"a"}
    # datagrams may come back to the replica that sent them: through its own port of the bridge
    assert {project.say(project.places["a1"]) for _ in range(12)} == {"a x"}


def test_datagrams_between_services_follow_the_switch(project: Project):
    assert {project.say(project.client) for _ in range(8)} == {"a x"}
    project.switch.activate({"web": "b"})
    assert {project.say(project.client) for _ in range(8)} == {"b x"}


def test_the_host_itself_is_served_too(project: Project):
    with socket.create_connection((project.stable, PORT), 5) as stream:
        stream.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert stream.recv(1000).endswith(b"a")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stream:
        stream.settimeout(5)
        stream.sendto(b"x", (project.stable, PORT))
        assert stream.recv(100) == b"a x"


def test_a_replica_that_vanished_with_its_namespace_costs_a_moment_and_no_request(project: Project):
    """Nobody answers for the address any more, not even with a refusal: the connect timeout sends requests on."""
    network.delete_link(project.places["a1"].port)
    assert {project.get(project.client) for _ in range(4)} == {"a"}
