"""The embedded engine with real containers: what the contract's suite cannot say of every engine."""

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest

from bennu.compose.extension import Probe, XBennu
from bennu.compose.model import Healthcheck, Mount, Port, Resources, Restart, Volume
from bennu.engine.actions import AwaitReady, Deactivate, Drain, Prepare, RemoveProject, RemoveSet, StartSet, StopSet
from bennu.engine.embedded import tending
from bennu.engine.embedded.replicas import network_name
from bennu.errors import Conflict, Failed
from bennu.runtime import exec as execution
from bennu.wiring import Fleet
from tests.engine_world import PORT, PROJECT, EmbeddedWorld, embedded

pytestmark = pytest.mark.root

FILE_CHECK = Healthcheck(
    test=("CMD-SHELL", "test ! -e /tmp/sick || { echo it is sick; exit 1; }"),
    interval_seconds=0.1,
    timeout_seconds=10,
    retries=2,
)


@pytest.fixture
def world(root_settings):
    with embedded(root_settings) as made:
        yield made


def inside(world: EmbeddedWorld, container: str, line: str) -> str:
    """What a line of shell says in a replica."""
    wanted = execution.Exec(command=("sh", "-c", line))
    record = world.containers.resolve(container)
    return execution.collect(world.containers, record, wanted, timeout_seconds=20).output.decode().strip()


def address_of(world: EmbeddedWorld, service: str = "web") -> str:
    return world.containers.networks.service_addresses(network_name(PROJECT))[service]


# the switch


@pytest.mark.parametrize("protocol", ["http", "tcp"])
def test_a_connection_that_stays_open_over_a_switch(world, protocol):
    ports = (Port(target=PORT, app_protocol=protocol),)
    first, second = (world.spec(version=n, ports=ports, expose=()) for n in "12")
    world.deploy(first)
    connection = http.client.HTTPConnection(address_of(world), PORT, timeout=10)
    connection.request("GET", "/")
    assert connection.getresponse().read() == b"1\n"
    keeps_open = connection.sock is not None
    world.deploy(second)
    left = world.do(Drain(set=first.id, timeout_seconds=1)).figures["sessions_left"]
    world.do(StopSet(set=first.id))
    with contextlib.closing(connection):
        if protocol == "http" or not keeps_open:
            assert left == 0
            connection.request("GET", "/")
            assert connection.getresponse().read() == b"2\n"
        else:
            assert left == 1


def test_published_ports(world):
    spec = world.spec(ports=(Port(target=PORT, published=None, host_ip="127.0.0.1"),), expose=())
    world.deploy(spec)
    chosen = world.embedded.records.host_port(PROJECT, "web", PORT, "tcp")
    assert world.fetch("web") == "1"
    from tests.engine_world import get

    assert get("127.0.0.1", chosen) == "1"
    world.deploy(world.spec(version="2", ports=spec.service.ports, expose=()))
    assert get("127.0.0.1", chosen) == "2"


def test_haproxy_is_killed(world):
    spec = world.spec(replicas=2)
    world.deploy(spec)
    for pid in world.haproxy():
        os.kill(pid, signal.SIGKILL)
    world.tend_until(lambda: len(world.haproxy()) == 1)
    assert world.fetch("web") == "1"


def test_a_process_dies_between_the_records_and_the_switch(world):
    first, second = world.spec(version="1"), world.spec(version="2")
    world.deploy(first)
    world.prepare(second)
    world.ready(second)
    world.embedded.records.activate(PROJECT, {"web": second.id})
    assert world.fetch("web") == "1"
    world.engine.tend(PROJECT, time.time())
    assert world.fetch("web") == "2"
    assert world.observe().active == {"web": second.id}


# replicas


def test_what_a_replica_finds(world):
    image = world.make_image("files:latest", files={"run/web/socket": "there"})
    spec = world.spec(
        replicas=2,
        healthcheck=None,
        mounts=(
            Mount(type="volume", source="data", target="/data"),
            Mount(type="volume", target="/own"),
            Mount(type="tmpfs", target="/scratch", size_bytes=1 << 20),
        ),
        volumes={"data": Volume(name="shop_data")},
        extra_hosts={"gateway": ("host-gateway",), "other": ("192.0.2.7",)},
        deploy=msgspec.structs.replace(world.spec(replicas=2).service.deploy, limits=Resources(pids=50)),
    )
    spec = msgspec.structs.replace(spec, image=image)
    api = world.spec("api", "7")
    world.deploy(spec, api)
    first, second = (world.container("web", index) for index in (1, 2))
    assert inside(world, first, "cat /run/web/socket") == "there"
    assert "Read-only file system" in inside(world, first, "touch /srv/x")
    assert inside(world, first, "touch /run/x /tmp/x /var/tmp/x /scratch/x /own/x /data/x && echo ok") == "ok"
    assert inside(world, second, "ls /data /own") == "/data:\nx\n\n/own:"
    assert "Permission denied" in inside(world, first, "cp /bin/busybox /data/b && /data/b true")
    assert inside(world, first, "hostname") == "web.1"
    assert inside(world, first, "busybox wget -q -O - http://api:8080/") == "7"
    assert inside(world, first, "busybox wget -q -O - http://web.2:8080/") == "1"
    hosts = inside(world, second, "cat /etc/hosts")
    assert "192.0.2.7\tother" in hosts
    assert f"{world.containers.networks.get(network_name(PROJECT)).gateway}\tgateway" in hosts
    volumes = world.volumes()
    world.deploy(world.spec(version="2"))
    world.do(RemoveSet(set=spec.id))
    assert volumes - world.volumes() and len(volumes - world.volumes()) == 2
    assert "shop_data" in world.volumes()


def test_names_follow_services_in_replicas_that_go_on(world):
    web = world.spec()
    world.deploy(web)
    container = world.container("web", 1)
    assert "api" not in inside(world, container, "cat /etc/hosts")
    world.deploy(web, world.spec("api", "7"))
    assert world.container("web", 1) == container
    assert inside(world, container, "busybox wget -q -O - http://api:8080/") == "7"
    world.prepare(web)
    assert world.containers.networks.service_addresses(network_name(PROJECT)).keys() == {"api", "web"}
    world.do(Deactivate(project=PROJECT, services=("api",)))
    assert "api" not in inside(world, container, "cat /etc/hosts")


def test_a_long_log_is_rotated_and_read_as_one(world, monkeypatch):
    from bennu.engine.embedded import replicas

    monkeypatch.setattr(replicas, "ROTATE_BYTES", 4000)
    count = "i=0; while [ $i -lt 300 ]; do i=$((i+1)); echo line $i; done; exec sleep 1000"
    world.deploy(world.spec(command=("sh", "-c", count), healthcheck=None, expose=()))
    (container,) = world.containers.list()
    directory = world.containers.place(container.record).log.parent
    world.tend_until(lambda: list(directory.glob("*.1")))
    lines = list(world.engine.logs(PROJECT, service="web", set_id=None, index=None, tail=1000))
    assert lines == [f"web.1 | line {number}" for number in range(1, 301)]


def test_logs(world):
    web, api = world.spec(replicas=2), world.spec("api", "7")
    world.deploy(web, api)

    def logs(**wanted: object) -> list[str]:
        every = {"service": None, "set_id": None, "index": None, "tail": 5, **wanted}
        return sorted(world.engine.logs(PROJECT, **every))

    assert logs() == ["api.1 | serving 7", "web.1 | serving 1", "web.2 | serving 1"]
    assert logs(service="web", index=2) == ["web.2 | serving 1"]
    assert logs(set_id=api.id) == ["api.1 | serving 7"]
    assert logs(tail=0) == []


def test_a_set_that_was_stopped_leaves_its_place_at_the_switch(world):
    specs = [world.spec(version=str(number), replicas=1) for number in range(6)]
    for before, spec in zip([None, *specs], specs, strict=False):
        world.deploy(spec)
        if before is not None:
            world.do(StopSet(set=before.id))
    state = world.embedded._traffic.switch(PROJECT).state()
    assert [found.set for found in state.sets] == [specs[-1].id]
    assert state.slots == {"web": 4}
    world.ready(specs[0])
    world.activate(specs[0])
    assert world.fetch("web") == "0"


def test_files_in_a_volume_outlive_a_set(world):
    volumes = {"data": Volume(name="shop_data")}
    mounts = (Mount(type="volume", source="data", target="/data"),)
    first, second = (world.spec(version=n, mounts=mounts, volumes=volumes) for n in "12")
    world.deploy(first)
    inside(world, world.container("web", 1), "echo kept > /data/file")
    world.do(StopSet(set=first.id))
    world.deploy(second)
    assert inside(world, world.container("web", 1), "cat /data/file") == "kept"


@pytest.mark.parametrize("probe", [Probe(kind="http", port=PORT, path="/"), Probe(kind="tcp", port=PORT)])
def test_probes_from_outside(world, probe):
    spec = world.spec(x_bennu=XBennu(probe=probe), healthcheck=None)
    world.deploy(spec)
    assert world.observe().sets[spec.id].replicas[0].health == "healthy"
    wrong = world.spec(
        version="2",
        x_bennu=XBennu(probe=Probe(kind="http", port=PORT, path="/missing")),
        healthcheck=Healthcheck(interval_seconds=0.1, retries=1),
    )
    world.do(StartSet(spec=wrong))
    with pytest.raises(Failed, match="404 Not Found"):
        world.do(AwaitReady(set=wrong.id, timeout_seconds=20))


def test_a_wait_has_an_end(world):
    slow = Healthcheck(test=("CMD", "sleep", "1000"), interval_seconds=60, timeout_seconds=1000, retries=3)
    spec = world.spec(healthcheck=slow)
    world.prepare(spec)
    world.do(StartSet(spec=spec))
    with pytest.raises(Failed, match=r"web\.1 not ready after 0\.3 s") as caught:
        world.do(AwaitReady(set=spec.id, timeout_seconds=0.3))
    assert caught.value.status == 124
    assert any("serving 1" in line for line in caught.value.tail)


def test_a_probe_that_hangs_hides_no_end(world):
    hangs = Healthcheck(test=("CMD", "sleep", "1000"), interval_seconds=60, timeout_seconds=1000)
    spec = world.spec(replicas=2, healthcheck=hangs)
    world.prepare(spec)
    world.do(StartSet(spec=spec))
    second = world.observe().sets[spec.id].replicas[1].container
    pid = world.containers.inspect(second).status.pid
    killer = threading.Timer(0.3, os.kill, (pid, signal.SIGKILL))
    killer.start()
    with pytest.raises(Failed, match=r"web\.2 of set .* ended with exit status 137"):
        world.do(AwaitReady(set=spec.id, timeout_seconds=900))
    killer.join()


def test_a_program_that_is_missing(world):
    spec = world.spec(command=("no-such-program",), replicas=2)
    world.prepare(spec)
    with pytest.raises(Failed, match=r"replica web\.\d of set .*no-such-program") as caught:
        world.do(StartSet(spec=spec))
    assert caught.value.status == 127
    world.do(RemoveSet(set=spec.id))
    assert world.observe().sets == {}


def test_out_of_memory_is_said(world):
    greedy = "x=a; while :; do x=$x$x; done"
    spec = world.spec(
        command=("sh", "-c", greedy),
        healthcheck=Healthcheck(test=("NONE",)),
        deploy=msgspec.structs.replace(world.spec().service.deploy, limits=Resources(memory_bytes=16 << 20)),
    )
    world.prepare(spec)
    world.do(StartSet(spec=spec))
    with pytest.raises(Failed, match="exit status"):
        world.do(AwaitReady(set=spec.id, timeout_seconds=60))
    replica = world.observe().sets[spec.id].replicas[0]
    assert replica.state == "exited"
    assert replica.exit_status != 0


def test_sets_nobody_knows_are_swept(world):
    spec = world.spec(replicas=2)
    world.deploy(spec)
    stray = world.spec(version="2")
    world.do(StartSet(spec=stray))
    world.embedded.records.forget_set(stray)
    world.prepare(spec)
    assert len(world.containers.list()) == 2
    assert world.fetch("web") == "1"


# tending


def test_a_sick_replica_gets_no_requests_and_is_replaced(world, monkeypatch):
    spec = world.spec(replicas=2, healthcheck=FILE_CHECK)
    world.deploy(spec)
    sick = world.container("web", 1)
    inside(world, sick, "touch /tmp/sick")
    world.tend_until(lambda: world.observe().sets[spec.id].replicas[0].health == "unhealthy")
    world.tend_until(lambda: ready(world) == [False, True])
    assert "it is sick" in world.observe().sets[spec.id].replicas[0].problem
    assert world.fetch("web") == "1"
    monkeypatch.setattr(tending, "SICK_SECONDS", 0.0)
    world.tend_until(lambda: world.observe().sets[spec.id].is_ready)
    world.tend_until(lambda: ready(world) == [True, True])
    assert world.container("web", 1) != sick


def test_a_sick_replica_keeps_volumes_of_its_own(world, monkeypatch):
    monkeypatch.setattr(tending, "SICK_SECONDS", 0.0)
    spec = world.spec(healthcheck=FILE_CHECK, mounts=(Mount(type="volume", target="/own"),))
    world.deploy(spec)
    inside(world, world.container("web", 1), "echo kept > /own/file; touch /tmp/sick")
    world.tend_until(lambda: world.observe().sets[spec.id].replicas[0].health == "unhealthy")
    world.tend_until(lambda: world.observe().sets[spec.id].is_ready)
    assert world.observe().sets[spec.id].replicas[0].restarts == 1
    assert inside(world, world.container("web", 1), "cat /own/file") == "kept"


def ready(world: EmbeddedWorld) -> list[bool]:
    """What the switch thinks of the servers of its one active set."""
    found = world.embedded._traffic.switch(PROJECT).state().active_set("web")
    return [server.ready for server in found.servers]


def test_one_that_recovers_is_not_replaced(world):
    spec = world.spec(healthcheck=FILE_CHECK)
    world.deploy(spec)
    container = world.container("web", 1)
    inside(world, container, "touch /tmp/sick")
    world.tend_until(lambda: world.observe().sets[spec.id].replicas[0].health == "unhealthy")
    assert world.fetch("web") == "1"  # the only one: better than nobody
    inside(world, container, "rm /tmp/sick")
    world.tend_until(lambda: world.observe().sets[spec.id].is_ready)
    assert world.container("web", 1) == container


@pytest.mark.parametrize(
    ("policy", "status", "comes_back"),
    [(Restart(condition="no"), 137, False), (Restart(condition="on-failure", max_attempts=1), 137, True)],
)
def test_restart_policies(world, policy, status, comes_back):
    spec = world.spec(restart=policy)
    world.deploy(spec)
    world.crash("web", 1)
    for _ in range(20):
        due = world.engine.tend(PROJECT, time.time())
        time.sleep(min(due, 0.05))
    assert world.states(spec.id) == ["running" if comes_back else "exited"]
    assert (world.status("web", 1).restarts > 0) is comes_back


def test_a_kept_set_is_probed_and_not_restarted(world):
    first, second = (world.spec(version=n, replicas=2, healthcheck=FILE_CHECK) for n in "12")
    world.deploy(first)
    sick, ended = (world.container("web", index) for index in (1, 2))
    world.deploy(second)
    inside(world, sick, "touch /tmp/sick")
    os.kill(world.containers.inspect(ended).status.pid, signal.SIGKILL)
    world.tend_until(lambda: world.observe().sets[first.id].replicas[0].health == "unhealthy")
    assert world.states(first.id) == ["running", "exited"]
    assert world.observe().active == {"web": second.id}


def test_the_host_goes_down(world):
    volumes = {"data": Volume(name="shop_data")}
    mounts = (Mount(type="volume", source="data", target="/data"),)
    spec = world.spec(replicas=3, mounts=mounts, volumes=volumes)
    kept = world.spec(version="0")
    world.deploy(kept, world.spec("api", "7"))
    world.deploy(spec, world.spec("api", "7"))
    inside(world, world.container("web", 1), "echo kept > /data/file")
    address = address_of(world)
    world.lose_host()
    with Fleet(world.settings) as fleet:
        world.engine = fleet.engine
        world.tend_until(lambda: world.observe().sets[spec.id].is_ready)
        world.tend_until(lambda: world.observe().active_set("api").is_ready)
    assert address_of(world) == address
    assert [world.fetch(name) for name in ("web", "api")] == ["1", "7"]
    assert inside(world, world.container("web", 2), "cat /data/file") == "kept"
    assert inside(world, world.container("web", 2), "busybox wget -q -O - http://api:8080/") == "7"
    assert world.states(kept.id) == ["exited"]


# kills

KILLED = """
import sys, threading
import msgspec
from bennu.config import Settings
from bennu.engine.actions import Action
from bennu.wiring import Fleet

settings = Settings.from_environ({"BENNU_ROOT": sys.argv[1]})
action = msgspec.json.decode(sys.stdin.read(), type=Action)
with Fleet(settings) as fleet:
    print("now", flush=True)
    fleet.engine.execute(action, lambda line: None, threading.Event())
"""


def killed(world: EmbeddedWorld, action: object, after_seconds: float) -> None:
    """Execute an action in a process that is killed after a while."""
    argv = [sys.executable, "-c", KILLED, str(world.settings.root)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as child:
        child.stdin.write(msgspec.json.encode(action))
        child.stdin.close()
        assert child.stdout.readline() == b"now\n"
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(after_seconds)
        child.kill()


@pytest.mark.parametrize("after_seconds", [0.03, 0.1, 0.3])
def test_starts_and_removals_are_killed(world, after_seconds):
    old, new = world.spec(version="1"), world.spec(version="2", replicas=6)
    world.deploy(old)
    world.prepare(new)
    killed(world, StartSet(spec=new), after_seconds)
    assert world.fetch("web") == "1"
    world.ready(new)
    world.activate(new)
    assert world.fetch("web") == "2"
    killed(world, RemoveSet(set=old.id), after_seconds)
    world.do(RemoveSet(set=old.id))
    assert set(world.observe().sets) == {new.id}
    killed(world, RemoveProject(project=PROJECT, volumes=True), after_seconds)
    world.do(RemoveProject(project=PROJECT, volumes=True))
    assert world.containers.list() == ()
    assert world.observe().sets == {}


def test_stops_win_over_restarts(world):
    spec = world.spec(replicas=3)
    world.deploy(spec)
    enough = threading.Event()

    def agent() -> None:
        while not enough.is_set():
            world.engine.tend(PROJECT, time.time())

    thread = threading.Thread(target=agent)
    thread.start()
    try:
        for _ in range(3):
            world.crash("web", 1)
            world.crash("web", 2)
            world.do(StopSet(set=spec.id))
            assert world.states(spec.id) == ["exited"] * 3
            time.sleep(0.3)
            assert world.states(spec.id) == ["exited"] * 3
            world.ready(spec)
    finally:
        enough.set()
        thread.join()
    assert world.fetch("web") == "1"


def test_a_port_that_is_taken_is_refused_before_anything_starts(world):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        spec = world.spec(ports=(Port(target=PORT, published=taken, host_ip="127.0.0.1"),), expose=())
        with pytest.raises(Conflict, match=str(taken)):
            world.do(Prepare(project=PROJECT, services={"web": spec.service}, volumes={}))
    world.deploy(spec)
    world.deploy(spec)
    assert world.fetch("web") == "1"
