"""Networks with the real kernel: bridges, namespaces, rules, many callers, and callers that die."""

import contextlib
import multiprocessing
import os
import secrets
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from bennu.config import Settings
from bennu.errors import Conflict, NotFound
from bennu.host import network, nftables, syscalls
from bennu.host.files import remove_tree
from bennu.host.namespaces import in_namespace, in_new_network
from bennu.runtime.firewall import table_name
from bennu.runtime.networks import DEFAULT, Attachment, Networks
from bennu.store.database import Database

pytestmark = pytest.mark.root


def open_networks(root: Path) -> tuple[Settings, Networks]:
    settings = Settings.from_environ({"BENNU_ROOT": str(root)})
    return settings, Networks(settings, Database(settings.database))


def left_of(settings: Settings) -> list[str]:
    links = [name for name in os.listdir(network.INTERFACES) if settings.key in name]
    with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
        links += [line for line in mounts if settings.key in line]
    return links + [name for name in nftables.tables() if settings.key in name]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[tuple[Settings, Networks]]:
    settings, networks = open_networks(tmp_path / "root")
    yield settings, networks
    for owner in networks.owners():
        networks.detach(owner)
    for found in networks.walk():
        networks.remove(found.name)
    assert left_of(settings) == []
    remove_tree(settings.run)


@pytest.fixture
def networks(world: tuple[Settings, Networks]) -> Networks:
    return world[1]


def connect(source: Attachment, address: str, port: int, timeout_seconds: float = 5) -> str:
    """What a server says to a connection out of a namespace; the error's name where there is none."""

    def inside() -> str:
        try:
            with socket.create_connection((address, port), timeout_seconds) as stream:
                return stream.recv(100).decode()
        except OSError as error:
            return type(error).__name__

    return in_namespace(source.netns, syscalls.CLONE_NEWNET, inside)


@contextlib.contextmanager
def serving(place: Attachment | Path | None, port: int = 8000, address: str = "") -> Iterator[None]:
    """A server in a namespace (None: the host's) that tells each caller its address."""

    def listen() -> socket.socket:
        return socket.create_server((address, port))

    netns = place.netns if isinstance(place, Attachment) else place
    listener = listen() if netns is None else in_namespace(netns, syscalls.CLONE_NEWNET, listen)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                stream, peer = listener.accept()
                with stream:
                    stream.sendall(peer[0].encode())

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        listener.close()


def test_containers_of_a_network_reach_each_other_and_the_host(networks: Networks):
    networks.ensure("shop")
    one, two = networks.attach("shop", "one"), networks.attach("shop", "two")
    assert one.address != two.address
    with serving(two):
        assert connect(one, two.address, 8000) == one.address
    with serving(None, 18200, one.gateway):
        assert connect(one, one.gateway, 18200) == one.address


def test_everything_is_idempotent(networks: Networks):
    assert networks.ensure("shop") == networks.ensure("shop")
    assert networks.attach("shop", "one") == networks.attach("shop", "one")
    assert networks.attachments("one") == (networks.attach("shop", "one"),)
    assert networks.service_address("shop", "web") == networks.service_address("shop", "web")
    networks.detach("one")
    networks.detach("one")
    assert networks.attachments("one") == ()
    networks.release_service_address("shop", "web")
    networks.release_service_address("shop", "web")
    assert networks.service_addresses("shop") == {}
    networks.remove("shop")
    networks.remove("shop")


def test_unknown_networks_are_not_found_but_the_default_one_is_made(networks: Networks):
    with pytest.raises(NotFound, match="'shop'"):
        networks.attach("shop", "one")
    with pytest.raises(NotFound, match="'shop'"):
        networks.service_address("shop", "web")
    assert networks.attach(DEFAULT, "one").network == DEFAULT


def test_a_network_in_use_is_not_removed(networks: Networks):
    networks.ensure("shop")
    for number in range(5):
        networks.attach("shop", f"c{number}")
    with pytest.raises(Conflict, match="'c0', 'c1', 'c2' and 2 more"):
        networks.remove("shop")
    assert networks.get("shop") is not None


def test_networks_are_kept_apart_and_a_container_may_be_in_two(networks: Networks):
    networks.ensure("shop")
    networks.ensure("bank")
    one, two = networks.attach("shop", "one"), networks.attach("bank", "two")
    with serving(two):
        assert connect(one, two.address, 8000, 0.3) == "TimeoutError"
        both = networks.attach("bank", "one")
        assert (both.interface, both.netns) == ("eth1", one.netns)
        assert connect(one, two.address, 8000) == both.address


def test_a_stable_address_is_answered_by_the_host(networks: Networks):
    networks.ensure("shop")
    one = networks.attach("shop", "one")
    address = networks.service_address("shop", "web")
    with serving(None, 18201, address):
        assert connect(one, address, 18201) == one.address
    assert networks.service_address("shop", "db") != address


def test_a_program_of_the_host_on_loopback_is_out_of_reach(networks: Networks):
    """A container with power over its namespace sends packets for 127.0.0.1 to its gateway."""
    one = networks.attach(DEFAULT, "one")

    def prepare() -> None:
        Path("/proc/sys/net/ipv4/conf/eth0/route_localnet").write_text("1", encoding="ascii")
        script = f"addr del 127.0.0.1/8 dev lo\nroute add 127.0.0.0/8 via {one.gateway} src {one.address}\n"
        subprocess.run(["ip", "-batch", "-"], input=script.encode(), check=True)

    in_namespace(one.netns, syscalls.CLONE_NEWNET, prepare)
    with serving(None, 18202, "127.0.0.1"):
        assert connect(one, "127.0.0.1", 18202, 0.3) == "TimeoutError"


def test_the_outside_sees_the_host_and_cannot_come_in(networks: Networks, tmp_path: Path):
    """A neighbour of the host in a namespace of its own, on a network of documentation (RFC 5737)."""
    one = networks.attach(DEFAULT, "one")
    port, neighbour = f"t{secrets.token_hex(5)}", tmp_path / "neighbour"
    network.create_netns(neighbour)
    fd = os.open(neighbour, os.O_RDONLY)
    try:
        script = f"link add {port} type veth peer name eth0 netns /proc/{os.getpid()}/fd/{fd}\n"
        script += f"addr add 198.51.100.1/30 dev {port}\nlink set {port} up\n"
        subprocess.run(["ip", "-batch", "-"], input=script.encode(), check=True, pass_fds=(fd,))
        inside = "addr add 198.51.100.2/30 dev eth0\nlink set eth0 up\nroute add default via 198.51.100.1\n"
        command = ["ip", "-batch", "-"]
        in_namespace(
            neighbour, syscalls.CLONE_NEWNET, lambda: subprocess.run(command, input=inside.encode(), check=True)
        )
        with serving(neighbour):
            assert connect(one, "198.51.100.2", 8000) == "198.51.100.1"
        there = Attachment("", neighbour, "eth0", "198.51.100.2", 30, "198.51.100.1", port)
        with serving(one):
            assert connect(there, one.address, 8000, 0.3) == "TimeoutError"
    finally:
        os.close(fd)
        network.delete_link(port)
        network.remove_netns(neighbour)


def test_ordinary_users_may_bind_low_ports(networks: Networks):
    one = networks.attach(DEFAULT, "one")

    def inside() -> str:
        return Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text(encoding="ascii").strip()

    assert in_namespace(one.netns, syscalls.CLONE_NEWNET, inside) == "0"


def test_a_reboot_loses_the_kernels_state_and_all_of_it_comes_back(world: tuple[Settings, Networks]):
    _, networks = world
    shop = networks.ensure("shop")
    stable = networks.service_address("shop", "web")
    one = networks.attach("shop", "one")
    network.remove_netns(one.netns)
    network.delete_link(shop.bridge)
    nftables.delete_table(table_name(world[0].key))
    assert networks.ensure("shop") == shop
    assert networks.attach("shop", "one") == one
    with serving(None, 18203, stable):
        assert connect(one, stable, 18203) == one.address
    assert table_name(world[0].key) in nftables.tables()


def test_a_bridge_that_somebody_deleted_is_brought_back_by_reconcile(networks: Networks):
    shop = networks.ensure("shop")
    network.delete_link(shop.bridge)
    networks.reconcile()
    assert network.is_up(shop.bridge)


def test_a_subnet_that_the_host_has_gained_meanwhile_is_a_conflict(networks: Networks):
    shop = networks.ensure("shop")
    network.delete_link(shop.bridge)
    subprocess.run(["ip", "addr", "add", f"{shop.gateway}/24", "dev", "lo"], check=True)
    try:
        with pytest.raises(Conflict, match="overlaps"):
            networks.ensure("shop")
    finally:
        subprocess.run(["ip", "addr", "del", f"{shop.gateway}/24", "dev", "lo"], check=True)


def test_two_roots_choose_different_subnets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("bennu.runtime.addresses._number", lambda _: 4711)  # both would like the same
    roots = [open_networks(tmp_path / name) for name in ("a", "b", "c")]
    try:
        with ThreadPoolExecutor(3) as pool:
            found = list(pool.map(lambda one: one[1].ensure("shop").subnet, roots))
        assert len(set(found)) == 3
    finally:
        for settings, networks in roots:
            networks.remove("shop")
            remove_tree(settings.run)


def _attach_many(root: Path, prefix: str, count: int) -> list[str]:
    _, networks = open_networks(root)
    with ThreadPoolExecutor(4) as pool:
        return [one.address for one in pool.map(lambda n: networks.attach("shop", f"{prefix}{n}"), range(count))]


def test_many_callers_at_once(world: tuple[Settings, Networks]):
    settings, networks = world
    networks.ensure("shop")
    with ThreadPoolExecutor(8) as pool:
        first = [one.address for one in pool.map(lambda n: networks.attach("shop", f"t{n}"), range(50))]
    with multiprocessing.get_context("fork").Pool(3) as pool:
        rest = pool.starmap(_attach_many, [(settings.root, f"p{number}-", 8) for number in range(3)])
    given_out = first + [address for addresses in rest for address in addresses]
    assert len(set(given_out)) == len(given_out) == 74
    assert len(network.ports_of(networks.ensure("shop").bridge)) == 74
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(networks.detach, networks.owners()))
    assert networks.owners() == frozenset()


STEPS = ("create_netns", "plug", "_configure", "in_namespace", "ensure_bridge", "add_address", "enable_forwarding")


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_caller_that_is_killed_leaves_nothing_that_the_next_one_trips_over(
    world: tuple[Settings, Networks], step: str, moment: str
):
    settings, networks = world

    def life() -> None:
        real = getattr(network, step)

        def deadly(*arguments: object, **options: object) -> object:
            if moment == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            real(*arguments, **options)
            os.kill(os.getpid(), signal.SIGKILL)
            return None

        setattr(network, step, deadly)
        _, own = open_networks(settings.root)
        own.ensure("shop")
        own.attach("shop", "one")
        own.service_address("shop", "web")

    child = multiprocessing.get_context("fork").Process(target=life)
    child.start()
    child.join(30)
    assert child.exitcode == -signal.SIGKILL
    networks.ensure("shop")
    one, two = networks.attach("shop", "one"), networks.attach("shop", "two")
    stable = networks.service_address("shop", "web")
    with serving(two), serving(None, 18204, stable):
        assert connect(one, two.address, 8000) == one.address
        assert connect(one, stable, 18204) == one.address


def test_a_namespace_ends_with_its_last_process_even_if_others_keep_copies_of_the_mounts(networks: Networks):
    one = networks.attach(DEFAULT, "one")
    keeper = subprocess.Popen(["unshare", "--mount", "sleep", "60"])
    try:
        while os.readlink(f"/proc/{keeper.pid}/ns/mnt") == os.readlink("/proc/self/ns/mnt"):
            pass
        networks.detach("one")
        for _ in range(500):
            if not network.exists(one.port):
                break
            threading.Event().wait(0.01)
        assert not network.exists(one.port)
    finally:
        keeper.kill()
        keeper.wait()


def test_what_the_host_occupies_is_seen():
    def inside() -> tuple[IPv4Network, ...]:
        script = b"link add br0 type bridge\naddr add 10.70.0.1/22 dev br0\nlink set br0 up\n"
        subprocess.run(["ip", "-batch", "-"], input=script, check=True)
        return network.occupied()

    assert IPv4Network("10.70.0.0/22") in in_new_network(inside)
