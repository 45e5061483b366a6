"""Held replicas of the embedded engine: writable roots, single replicas, reboots, processes that die half-way."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from bennu.compose.model import Port
from bennu.engine.actions import Action, EndHold, HoldReplica
from bennu.errors import Failed, NotFound
from bennu.host.network import free_port
from bennu.runtime.exec import Exec, collect
from bennu.wiring import Fleet
from tests.engine_world import PORT, PROJECT, EmbeddedWorld, embedded
from tests.integration.switch_load import Load

pytestmark = pytest.mark.root

HOLD = HoldReplica(project=PROJECT, service="web", index=1, timeout_seconds=30)
END = EndHold(project=PROJECT, service="web", index=1, drain_seconds=5)


@pytest.fixture
def world(root_settings) -> Iterator[EmbeddedWorld]:
    with embedded(root_settings) as made:
        yield made


def inside(world: EmbeddedWorld, container: str, script: str) -> tuple[int, str]:
    record = world.containers.resolve(container)
    done = collect(world.containers, record, Exec(command=("sh", "-c", script)), timeout_seconds=10)
    return done.status, done.output.decode()


def published(world: EmbeddedWorld, port: int, **fields: object):
    ports = (Port(target=PORT, published=port, host_ip="127.0.0.1", app_protocol="http"),)
    return world.spec(
        ports=ports,
        command=("sh", "-c", "mkdir /tmp/w && touch /tmp/w/index.html && exec busybox httpd -f -p 8080 -h /tmp/w"),
        **fields,
    )


def test_its_root_is_writable_and_nobody_elses(world):
    spec = world.spec(replicas=2)
    world.deploy(spec)
    held, other = world.container("web", 2), world.container("web", 1)
    assert inside(world, held, "echo mine > /etc/found")[0] != 0
    world.do(HoldReplica(project=PROJECT, service="web", index=2))
    assert inside(world, held, "echo mine > /etc/found && rm /bin/vi 2>/dev/null; cat /etc/found")[1].strip() == "mine"
    for container in (other, world.container("web", 2)):
        assert inside(world, container, "cat /etc/found")[0] != 0
        assert inside(world, container, "echo mine > /etc/found")[0] != 0
    files = world.engine.held_files(PROJECT, "web", 2)
    assert (files.upper / "etc/found").read_text() == "mine\n"
    assert "/etc/hosts" in files.covered
    assert any(one.command[0].endswith(("busybox", "httpd")) for one in world.engine.held_processes(PROJECT, "web", 2))
    assert world.containers.resolve("web.2-held").id == held
    assert world.containers.resolve(f"{PROJECT}-web.2").id == world.container("web", 2)
    # it is started again with what it wrote
    world.containers.stop("web.2-held")
    world.tend_until(lambda: world.observe().holds[0].replica.state == "exited")
    world.containers.start("web.2-held")
    assert inside(world, held, "cat /etc/found && touch /etc/more")[0] == 0
    world.do(EndHold(project=PROJECT, service="web", index=2, drain_seconds=5))
    with pytest.raises(NotFound):
        world.engine.held_files(PROJECT, "web", 2)
    assert not files.upper.exists()


def test_a_single_replica_is_held_and_no_request_fails(world):
    port = free_port("127.0.0.1")
    world.deploy(published(world, port))
    with Load(port, posts=False, threads=4, pause_seconds=0.002) as load:
        load.await_requests(50)
        world.do(HOLD)
        load.await_requests(50)
        world.do(END)
        load.await_requests(50)
    assert load.problems == []
    assert world.observe().holds == ()


def test_in_the_traffic_it_gets_its_share(world):
    port = free_port("127.0.0.1")
    world.deploy(published(world, port))
    with Load(port, posts=False, threads=4, pause_seconds=0.002) as load:
        world.do(msgspec.structs.replace(HOLD, in_traffic=True))
        world.tend_until(lambda: world.observe().sets[world.observe().active["web"]].is_ready)
        switch = world.embedded._traffic.switch(PROJECT)
        assert [one.ready for one in switch.status().sets] == [2]
        load.await_requests(50)
        world.do(END)
        load.await_requests(20)
    assert load.problems == []
    assert [one.servers for one in switch.status().sets] == [1]


def test_one_whose_replacement_is_not_ready_stays_until_somebody_is(world):
    spec = world.spec()
    world.deploy(spec)
    with pytest.raises(
        Failed, match=r"web\.1 is held, and keeps the traffic until its replacement is ready: .* not ready"
    ):
        world.do(msgspec.structs.replace(HOLD, timeout_seconds=0.0))
    assert world.observe().holds[0].traffic == "leaving"
    assert world.fetch("web") == "1"
    world.tend_until(lambda: world.observe().holds[0].traffic == "out")
    assert world.fetch("web") == "1"


def test_a_reboot_keeps_what_it_wrote(world):
    world.deploy(world.spec(replicas=2))
    world.do(HOLD)
    inside(world, "web.1-held", "echo kept > /etc/found")
    world.lose_host()
    with Fleet(world.settings) as fleet:
        world.engine = fleet.engine
        world.tend_until(lambda: world.observe().holds[0].replica.state == "running")
        world.tend_until(lambda: world.observe().active_set("web").is_ready)
        assert inside(world, "web.1-held", "cat /etc/found; echo more >> /etc/found")[1].strip() == "kept"


KILLED = """
import os, signal, sys, threading
import msgspec
from bennu.config import Settings
from bennu.engine.actions import Action
from bennu.engine.embedded.readiness import Readiness
from bennu.engine.embedded.replicas import Replicas
from bennu.engine.embedded.traffic import Traffic
from bennu.host import files, mounts
from bennu.runtime.containers import Containers
from bennu.runtime.records import Records
from bennu.wiring import Fleet

left = int(sys.argv[2])

def deadly(owner, name):
    whole = getattr(owner, name)
    def step(*args, **kwargs):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return whole(*args, **kwargs)
    setattr(owner, name, step)

for owner, name in (
    (mounts, "make_root_writable"), (files, "write_atomic"), (Records, "revise"), (Traffic, "align"),
    (Replicas, "complete"), (Replicas, "_create"), (Replicas, "_start"), (Readiness, "wait"),
    (Traffic, "drain_server"), (Containers, "stop"), (Containers, "remove"), (Records, "forget"),
):
    deadly(owner, name)
action = msgspec.json.decode(sys.stdin.read(), type=Action)
with Fleet(Settings.from_environ({"BENNU_ROOT": sys.argv[1]})) as fleet:
    fleet.engine.execute(action, lambda line: None, threading.Event())
"""


def killed_at(world: EmbeddedWorld, action: Action, step: int) -> bool:
    """Execute an action in a process that kills itself before its step of that number; False if it has fewer."""
    argv = [sys.executable, "-c", KILLED, str(world.settings.root), str(step)]
    done = subprocess.run(argv, input=msgspec.json.encode(action), cwd=Path(__file__).parents[2], check=False)
    assert done.returncode in {0, -signal.SIGKILL}
    return done.returncode != 0


def test_a_hold_killed_at_every_step_is_completed(world):
    spec = world.spec()
    world.deploy(spec)
    steps = 0
    for step in range(1, 40):
        was_killed = killed_at(world, HOLD, step)
        assert world.fetch("web") == "1"
        if step % 2:
            world.do(HOLD)
        else:  # nobody asks again; whoever keeps the clock finishes what there is
            world.engine.tend(PROJECT, time.time())
        seen = world.observe()
        if seen.holds:
            world.do(HOLD)
            assert [one.traffic for one in world.observe().holds] == ["out"]
            inside(world, "web.1-held", "touch /etc/found")
            assert (world.engine.held_files(PROJECT, "web", 1).upper / "etc/found").exists()
        assert world.fetch("web") == "1"
        if not was_killed:
            steps = step - 1
            break
        world.do(END)
        assert len(world.containers.list()) == 1
    assert steps > 6
    for step in range(1, 40):
        world.do(msgspec.structs.replace(HOLD, in_traffic=True))
        if not killed_at(world, END, step):
            break
        assert world.fetch("web") == "1"
        world.do(END)
        assert len(world.containers.list()) == 1
    assert step > 6
    world.do(END)
    assert len(world.containers.list()) == 1
    world.tend_until(lambda: world.observe().sets[spec.id].is_ready)
