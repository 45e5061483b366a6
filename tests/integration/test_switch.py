"""The switch with real HAProxy, real sockets and real kills, on loopback."""

import contextlib
import http.client
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bennu.config import Settings
from bennu.errors import Conflict, Invalid, NotFound
from bennu.host import cgroups, files, nftables, process
from bennu.host.files import remove_tree
from bennu.switch.config import map_entries
from bennu.switch.control import Control
from bennu.switch.haproxy import Processes
from bennu.switch.meter import Figures, Meter, so_far
from bennu.switch.model import Bind, Canary, Frontend, Server
from bennu.switch.switch import Switch
from tests.integration.switch_load import Load

pytestmark = pytest.mark.root

PORT = 18300 + 20 * (os.getpid() % 50)
BASE = 2 + os.getpid() % 200
INNER = 18100
PROGRAM = Path(__file__).with_name("switch_replica.py")


def web(protocol: str = "http", port: int = PORT, service: str = "web") -> Frontend:
    return Frontend(service, INNER, protocol, (Bind("127.0.0.1", port),))  # type: ignore[arg-type]


def members(network: int, count: int = 3) -> list[Server]:
    return [Server(str(number), f"127.{BASE}.{network}.{number}") for number in range(1, count + 1)]


@contextlib.contextmanager
def replicas(label: str, servers: list[Server], *options: str) -> Iterator[subprocess.Popen[bytes]]:
    places = [f"{server.address}:{INNER}" for server in servers]
    child = subprocess.Popen([sys.executable, PROGRAM, *options, label, *places], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        yield child
    finally:
        child.kill()
        child.communicate()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.from_environ({"BENNU_ROOT": str(tmp_path / "root")})


def haproxies(settings: Settings) -> list[int]:
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if settings.key.encode() in Path(f"/proc/{pid}/cmdline").read_bytes() and int(pid) != os.getpid():
                found.append(int(pid))
    return [pid for pid in found if process.is_alive(pid)]


def kill_haproxies(settings: Settings) -> None:
    """End them, and wait until they are gone: until then whoever looks sees them alive."""
    found = haproxies(settings)
    for pid in found:
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while set(found) & set(haproxies(settings)):
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def switch(settings: Settings) -> Iterator[Switch]:
    switch = Switch(settings, "shop")
    yield switch
    switch.remove()
    assert haproxies(settings) == []
    assert not any(settings.key in name for name in cgroups.named("bennu-"))
    assert not any(settings.key in name for name in nftables.tables())
    assert not (settings.run / "switch").exists()
    assert not settings.projects.exists() or list(settings.projects.iterdir()) == []
    remove_tree(settings.run)


@pytest.fixture
def sets(switch: Switch) -> Iterator[Switch]:
    """A switch with the sets ``a`` (active) and ``b`` of a service ``web``, both running."""
    with replicas("a", members(1)), replicas("b", members(2)):
        switch.ensure([web()])
        switch.put_set("web", "a", members(1))
        switch.put_set("web", "b", members(2))
        switch.activate({"web": "a"})
        yield switch


def get(
    path: str = "/", port: int = PORT, method: str = "GET", body: bytes | None = None, source: str = "127.0.0.1"
) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10, source_address=(source, 0))
    try:
        connection.request(method, path, body=body)
        response = connection.getresponse()
        text = response.read().decode()
        return text if response.status == 200 else str(response.status)
    except OSError as error:
        return type(error).__name__
    finally:
        connection.close()


def test_the_active_set_answers_with_the_clients_address_forwarded(sets: Switch):
    assert get() == "a"
    assert get(method="POST", body=b"hello") == "a hello"
    assert get("/from") == "127.0.0.1"
    sets.activate({"web": "b"})
    assert {get() for _ in range(10)} == {"b"}


def test_nobody_answers_for_a_service_without_an_active_set(switch: Switch):
    switch.ensure([web()])
    assert get() == "503"
    with pytest.raises(NotFound):
        switch.activate({"web": "a"})


def test_twenty_switches_under_load_lose_no_request(sets: Switch):
    with Load(PORT) as load:
        for number in range(20):
            load.await_requests(20)
            old, new = ("a", "b") if number % 2 == 0 else ("b", "a")
            sets.put_set("web", new, members(1 if new == "a" else 2))
            sets.activate({"web": new})
            assert sets.drain("web", old, 5) == 0
            sets.remove_set("web", old)
        load.await_requests(50)
    assert load.problems == []
    assert set(load.answers) == {"a", "b"}


def test_a_frontend_appears_under_load_and_no_request_is_lost(sets: Switch, settings: Settings):
    with Load(PORT) as load:
        for number in range(6):
            sets.ensure([web(), web(port=PORT + 1 + number, service="api")])
            load.await_requests(20)
            sets.activate({"web": "b" if number % 2 == 0 else "a"})
            load.await_requests(20)
        load.await_that(lambda: (sets.tend(), sets.status().draining == 0)[1])
    assert load.problems == []
    assert len(haproxies(settings)) == 1
    assert get(port=PORT + 6) == "503"
    assert get(port=PORT + 1) == "ConnectionRefusedError"


def test_what_is_under_way_survives_a_reload_and_a_switch_and_is_counted(sets: Switch):
    answers: list[str] = []
    slow = threading.Thread(target=lambda: answers.append(get("/slow")))
    slow.start()
    with socket.create_connection(("127.0.0.1", PORT)) as stream:
        stream.sendall(b"GET /upgrade HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        assert stream.recv(1000).startswith(b"HTTP/1.1 101")
        while sets.sessions("web", "a") < 2:
            pass
        sets.ensure([web(), web(port=PORT + 1, service="api")])
        sets.activate({"web": "b"})
        assert get() == "b"
        assert sets.status().draining == 1
        assert sets.drain("web", "a", 0.05) == 2
        slow.join()
        assert answers == ["a"]
        assert sets.drain("web", "a", 0.05) == 1
        stream.sendall(b"still there")
        assert stream.recv(1000) == b"a still there"
    assert sets.drain("web", "a", 5) == 0
    sets.reconcile()
    assert sets.status().draining == 0


def test_a_keep_alive_client_of_an_older_generation_follows_a_switch(sets: Switch):
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=10)
    connection.request("GET", "/")
    assert connection.getresponse().read() == b"a"
    sets.ensure([web(), web(port=PORT + 1, service="api")])
    sets.activate({"web": "b"})
    connection.request("GET", "/")
    response = connection.getresponse()
    assert (response.read(), response.getheader("connection")) == (b"b", "close")


def test_connections_of_tcp_ports_stay_where_they_are_and_new_ones_go_to_the_new_set(switch: Switch):
    with replicas("a", members(1)), replicas("b", members(2)):
        switch.ensure([web("tcp")])
        switch.put_set("web", "a", members(1))
        switch.put_set("web", "b", members(2))
        switch.activate({"web": "a"})

        def say(stream: socket.socket) -> bytes:
            stream.sendall(b"hello\n")
            return stream.recv(100)

        with socket.create_connection(("127.0.0.1", PORT)) as old:
            assert say(old) == b"a hello\n"
            switch.activate({"web": "b"})
            with socket.create_connection(("127.0.0.1", PORT)) as new:
                assert say(new) == b"b hello\n"
            assert say(old) == b"a hello\n"
            assert switch.drain("web", "a", 0.05) == 1
        assert switch.drain("web", "a", 5) == 0


def test_a_dead_replica_costs_no_get(switch: Switch):
    servers = members(1)
    with replicas("a", servers[:2]), replicas("a", servers[2:]) as victim:
        switch.ensure([web()])
        switch.put_set("web", "a", servers)
        switch.activate({"web": "a"})
        with Load(PORT, posts=False) as load:
            load.await_requests(100)
            victim.kill()
            load.await_requests(300)
            switch.set_ready("web", "a", {"3": False})
            load.await_requests(50)
        assert load.problems == []
        assert [(one.ready, one.servers) for one in switch.status().sets] == [(2, 3)]


def test_replicas_that_close_idle_connections_cost_nothing(switch: Switch):
    """Without the twin backend one POST in thirty meets a connection that is just being closed."""
    with replicas("a", members(1), "--hasty"):
        switch.ensure([web()])
        switch.put_set("web", "a", members(1))
        switch.activate({"web": "a"})
        with Load(PORT, pause_seconds=0.005) as load:
            load.await_requests(2000)
        assert load.problems == []


def test_a_replica_that_is_not_ready_gets_nothing(switch: Switch):
    servers = members(1)
    with replicas("one", servers[:1]), replicas("two", servers[1:2]):
        switch.ensure([web()])
        switch.put_set("web", "a", servers[:2])
        switch.activate({"web": "a"})
        assert {get() for _ in range(8)} == {"one", "two"}
        switch.set_ready("web", "a", {"1": False})
        assert {get() for _ in range(8)} == {"two"}
        switch.set_ready("web", "a", {"1": True, "2": False})
        assert {get() for _ in range(8)} == {"one"}


def test_a_canary_gets_a_share(sets: Switch):
    sets.share({"web": Canary("b", 50)})
    assert {get() for _ in range(40)} == {"a", "b"}
    sets.share({"web": Canary("b", 100)})
    assert {get() for _ in range(10)} == {"b"}
    sets.activate({"web": "a"})
    assert {get() for _ in range(10)} == {"a"}
    sets.share({"web": Canary("b", 100)})
    sets.share({})
    assert {get() for _ in range(10)} == {"a"}


def test_a_haproxy_killed_during_a_canary_comes_back_with_the_old_set_active(sets: Switch, settings: Settings):
    sets.share({"web": Canary("b", 50)})
    kill_haproxies(settings)
    sets.tend()
    assert {one.set: one.active for one in sets.status().sets} == {"a": True, "b": False}
    assert {get() for _ in range(40)} == {"a", "b"}
    sets.share({})
    kill_haproxies(settings)
    sets.tend()
    assert {get() for _ in range(10)} == {"a"}


def test_times_and_failures_are_measured_apart(sets: Switch, settings: Settings):
    get()
    meter = Meter(sets.measure())
    sets.share({"web": Canary("b", 100)})
    for path in ("/", "/fail", "/slow"):
        get(path)
    get(method="POST", body=b"x")
    meter.take(sets.measure())
    seen = meter.figures("b")
    assert (seen.answers, seen.failures, seen.pending, seen.timed) == (4, 1, 0, 4)
    assert 1 <= (seen.p99_seconds or 0) < 10
    assert meter.figures("a") == Figures()
    assert so_far(sets.measure(), "a").answers == 1
    kill_haproxies(settings)  # the next one counts from nothing
    sets.tend()
    for _ in range(3):
        get("/fail")
    meter.take(sets.measure())
    assert (meter.figures("b").answers, meter.figures("b").failures) == (7, 4)


def test_a_candidate_that_asks_gets_the_candidate_and_nobody_else_does(sets: Switch, settings: Settings):
    candidate, active = members(2)[0].address, members(1)[0].address
    sets.propose({"web": "b"})
    assert {get(source=candidate), get(source=candidate, method="POST", body=b"x")} == {"b", "b x"}
    assert {get(), get(source=active)} == {"a"}
    for pid in haproxies(settings):
        os.kill(pid, signal.SIGKILL)
    sets.reconcile()
    assert (get(source=candidate), get()) == ("b", "a")
    sets.activate({"web": "b"})
    assert sets.state().candidates == {}
    assert (get(source=candidate), get()) == ("b", "b")
    sets.activate({"web": "a"})
    assert get(source=candidate) == "a"
    sets.propose({"web": "b"})
    sets.remove_set("web", "b")
    assert (sets.state().candidates, get(source=candidate)) == ({}, "a")
    with pytest.raises(NotFound):
        sets.propose({"web": "b"})


def test_counters_tell_sets_apart(sets: Switch):
    for _ in range(6):
        get()
    get(method="POST", body=b"x")
    sets.activate({"web": "b"})
    get()
    assert {one.set: (one.active, one.requests) for one in sets.status().sets} == {"a": (False, 7), "b": (True, 1)}


def test_a_killed_haproxy_comes_back_with_the_same_active_set(sets: Switch, settings: Settings):
    sets.activate({"web": "b"})
    kill_haproxies(settings)
    assert get() in {"ConnectionRefusedError", "RemoteDisconnected", "ConnectionResetError"}
    sets.tend()
    assert {get() for _ in range(6)} == {"b"}


def test_a_reboot_that_loses_the_run_directory_loses_nothing(sets: Switch, settings: Settings):
    sets.activate({"web": "b"})
    kill_haproxies(settings)
    while haproxies(settings):
        pass
    remove_tree(settings.run)
    sets.reconcile()
    assert get() == "b"


def test_more_sets_than_slots(sets: Switch):
    with replicas("z", members(9)), Load(PORT) as load:
        for name in "cdefg":
            sets.put_set("web", name, members(9))
        sets.activate({"web": "g"})
        load.await_requests(50)
        assert get() == "z"
    assert load.problems == []


def test_a_replica_that_comes_back_with_another_address_keeps_its_place(sets: Switch):
    sets.put_set("web", "a", members(2))
    assert get() == "b"
    sets.put_set("web", "a", members(1))
    assert get() == "a"


def test_fifty_replicas(switch: Switch):
    with replicas("a", members(1, 50)):
        switch.ensure([web()])
        switch.put_set("web", "a", members(1, 50))
        switch.activate({"web": "a"})
        assert {get() for _ in range(60)} == {"a"}
        assert sum(one.requests for one in switch.status().sets) == 60


def test_an_address_in_use_is_a_conflict_and_changes_nothing(sets: Switch, settings: Settings):
    before = sets.state()
    refused = pytest.raises(Conflict, match=f"127.0.0.1:{PORT + 3}.*in use")
    with socket.create_server(("127.0.0.1", PORT + 3)), refused:
        sets.ensure([web(), web(port=PORT + 3, service="api")])
    assert sets.state() == before
    assert get() == "a"
    other = Switch(settings, "bank")
    with pytest.raises(Conflict, match="in use"):
        other.ensure([web()])
    other.remove()


def test_an_address_that_the_host_does_not_have_is_invalid(sets: Switch):
    elsewhere = Frontend("api", INNER, "http", (Bind("203.0.113.7", PORT),))
    with pytest.raises(Invalid, match=r"203\.0\.113\.7.*not one of this host's"):
        sets.ensure([web(), elsewhere])
    assert get() == "a"


def test_a_wildcard_and_an_address_of_one_port_together(switch: Switch):
    with replicas("a", members(1)):
        both = Frontend("web", INNER, "http", (Bind("*", PORT), Bind("127.0.0.7", PORT)))
        switch.ensure([both])
        switch.put_set("web", "a", members(1))
        switch.activate({"web": "a"})
        assert get() == "a"


def test_services_that_leave_are_not_listened_for(sets: Switch, settings: Settings):
    sets.deactivate(["web"])
    # a process that has just been ended keeps its sockets for a moment
    assert get() in {"ConnectionRefusedError", "ConnectionResetError"}
    while get() != "ConnectionRefusedError":
        pass
    sets.remove_set("web", "a")
    sets.reconcile()
    assert haproxies(settings) == []
    assert [one.set for one in sets.state().sets] == ["b"]


def test_datagrams_follow_the_switch_even_within_a_flow(switch: Switch):
    with replicas("a", members(1)), replicas("b", members(2)):
        switch.ensure([web("udp")])
        switch.put_set("web", "a", members(1))
        switch.put_set("web", "b", members(2))
        switch.activate({"web": "a"})
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stream:
            stream.settimeout(5)
            stream.connect(("127.0.0.1", PORT))

            def say() -> bytes:
                stream.send(b"hello")
                return stream.recv(100)

            assert {say() for _ in range(5)} == {b"a hello"}
            switch.activate({"web": "b"})
            assert {say() for _ in range(5)} == {b"b hello"}
            switch.set_ready("web", "b", {"1": False, "2": False})
            assert {say() for _ in range(5)} == {b"b hello"}
            switch.deactivate(["web"])
            with pytest.raises(ConnectionRefusedError):
                say()


def test_several_processes_change_it_at_once(sets: Switch, settings: Settings):
    servers = members(1)

    def change(name: str) -> None:
        own = Switch(settings, "shop")
        for _ in range(3):
            own.put_set("web", name, servers)
            own.activate({"web": name})
            own.set_ready("web", name, {"1": False})

    fork = multiprocessing.get_context("fork")
    children = [fork.Process(target=change, args=(name,)) for name in "cd"]
    for child in children:
        child.start()
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(change, "ef"))
    for child in children:
        child.join(30)
    assert [child.exitcode for child in children] == [0, 0]
    assert {one.set: one.servers[0].ready for one in sets.state().sets} == {name: name in "ab" for name in "abcdef"}
    assert len(haproxies(settings)) == 1
    newest = sets._processes.alive()[0]
    assert newest.observe().map == map_entries(sets.state())
    assert get() == "a"  # whichever set won: its servers are the same


Owner = object
# every point at which a change leaves this process: files, commands, programs
POINTS: list[tuple[Owner, str]] = [
    (files, "write_atomic"),
    (Control, "ask"),
    (process, "run"),
    (Processes, "retire"),
    (cgroups, "separated"),
]
CHANGES: dict[str, Callable[[Switch], None]] = {
    "activate": lambda switch: switch.activate({"web": "b"}),
    "put_set": lambda switch: switch.put_set("web", "c", members(3)),
    "ensure": lambda switch: switch.ensure([web(), web(port=PORT + 1, service="api")]),
    "remove_set": lambda switch: switch.remove_set("web", "b"),
}


def _die_at(change: Callable[[Switch], None], switch: Switch, owner: Owner, name: str, count: int) -> int | None:
    """Make a change in a process that is killed at its ``count``-th pass of a point; its exit status."""

    def life() -> None:
        real = getattr(owner, name)
        passes = 0

        def counted(*arguments: object, **options: object) -> object:
            nonlocal passes
            passes += 1
            if passes == count:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **options)

        setattr(owner, name, counted)
        change(switch)

    child = multiprocessing.get_context("fork").Process(target=life)
    child.start()
    child.join(30)
    return child.exitcode


@pytest.mark.parametrize("change", sorted(CHANGES))
def test_whoever_is_killed_in_a_change_leaves_one_committed_switch(sets: Switch, settings: Settings, change: str):
    kills = 0
    with Load(PORT, threads=2) as load:
        for owner, name in POINTS:
            for count in range(1, 40):
                before = sets.state()
                if _die_at(CHANGES[change], sets, owner, name, count) == 0:
                    break
                kills += 1
                committed = sets.state()
                sets.reconcile()
                assert sets.state() == committed
                newest, *_ = sets._processes.alive()
                assert newest.shape == sets._processes.wanted_shape(committed)
                assert newest.observe().map == map_entries(committed)
                assert get() == committed.active["web"]
                assert committed == before or change != "activate" or committed.active == {"web": "b"}
                # and the change can be made
                CHANGES[change](sets)
                undo(sets)
    assert kills >= 3
    assert load.problems == []


def undo(switch: Switch) -> None:
    switch.ensure([web()])
    switch.activate({"web": "a"})
    switch.put_set("web", "b", members(2))
    switch.remove_set("web", "c")


def test_a_look_at_the_processes_disturbs_no_start(tmp_path: Path):
    """One that starts has its configuration and no process yet: who looks must not take it for one that ended."""
    directory = tmp_path / "switch" / "x"
    directory.mkdir(parents=True)
    places = Processes(directory, f"bennu-look-{os.getpid()}", tmp_path / "listening.lock")
    (directory / "1.cfg").touch()
    assert places.alive() == ()
    assert (directory / "1.cfg").exists()
    places.forget_ended()
    assert list(directory.iterdir()) == []
    places.remove()
