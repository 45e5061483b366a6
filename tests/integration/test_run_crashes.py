"""Many at once, and kills at every step: what is left can always be finished by the next command."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from bennu.errors import AlreadyExists, Conflict, NotFound
from bennu.host import cgroups
from bennu.host.files import remove_tree
from bennu.runtime.options import MountOption
from bennu.runtime.status import LOST_STATUS
from tests.integration.run_world import eventually, world

pytestmark = pytest.mark.root


@pytest.fixture
def box(root_settings):
    with world(root_settings) as made:
        yield made


@pytest.fixture
def image(box):
    return box.image()


def test_many_from_many_threads(box, image):
    def whole_life(number):
        labels = {"bennu.project": "p", "n": str(number)}
        record = box.started(image, "sleep", "100", name=f"many.{number}", labels=labels, readonly=True)
        assert box.containers.status(record).state == "running"
        return record.id

    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(whole_life, range(24)))
        assert {each.id for each in box.containers.list({"bennu.project": "p"}, ended=False)} == set(ids)
        (one,) = box.containers.list({"bennu.project": "p", "n": "7"})
        assert one.name == "many.7"
        list(pool.map(lambda each: box.containers.stop(each, timeout_seconds=0), ids))
        assert {each.status.state for each in box.containers.list()} == {"exited"}
        list(pool.map(box.containers.remove, ids))
    assert box.containers.list() == ()


def test_one_name_for_many(box, image):
    def take(_):
        try:
            return box.create(image, "true", name="wanted")
        except AlreadyExists:
            return None

    with ThreadPoolExecutor(8) as pool:
        assert sum(found is not None for found in pool.map(take, range(16))) == 1


def test_start_stop_and_remove_at_once(box, image):
    for _ in range(4):
        record = box.create(image, "sleep", "100")

        def attempt(action, reference=record.id):
            with contextlib.suppress(NotFound, Conflict):
                action(reference)

        actions = [
            box.containers.start,
            box.containers.start,
            lambda one: box.containers.stop(one, timeout_seconds=0),
            lambda one: box.containers.remove(one, force=True),
        ]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(attempt, actions))
        attempt(lambda one: box.containers.remove(one, force=True))
        assert box.containers.list() == ()


def test_waiting_for_whichever_is_first(box, image):
    long = box.started(image, "sleep", "100")
    short = box.started(image, "sh", "-c", "sleep 0.3; exit 2")
    assert box.containers.wait_any([long.id, short.id], timeout_seconds=20) == {short.id}
    assert box.containers.status(short).exit_status == 2
    assert box.containers.wait_any([long.id], timeout_seconds=0.05) == frozenset()
    read, write = os.pipe()
    threading.Timer(0.1, lambda: os.write(write, b"x")).start()
    assert box.containers.wait_any([long.id], wake=read) == frozenset()
    os.close(read)
    os.close(write)


def test_a_killed_monitor_ends_nothing(box, image):
    record = box.started(image, "sleep", "100")
    os.kill(box.containers.status(record).conmon_pid, signal.SIGKILL)
    assert box.containers.wait_any([record.id], timeout_seconds=0.3) == frozenset()
    assert box.containers.status(record).state == "running"  # the truth: its process lives
    box.containers.stop(record.id, timeout_seconds=0.3)
    status = box.containers.status(record)
    assert (status.state, status.exit_status) == ("exited", LOST_STATUS)
    box.containers.start(record.id)
    assert box.containers.status(record).state == "running"


def test_after_a_reboot(box, image):
    kept = box.started(image, "sh", "-c", "echo word >> /srv/f; cat /srv/f; sleep 100", name="kept")
    tight = box.started(image, "sleep", "100", name="tight", readonly=True)
    never = box.create(image, "true", name="never")
    for record in (kept, tight):  # all that a reboot takes: processes, groups, the run directory
        place = box.containers.place(record)
        for group in (place.cgroup, place.conmon_cgroup):
            cgroups.remove(group, kill=True)
    remove_tree(box.settings.run)
    states = {each.name: each.status.state for each in box.containers.list()}
    assert states == {"kept": "exited", "tight": "exited", "never": "created"}
    assert box.containers.status(kept).exit_status in {LOST_STATUS, 137}
    box.containers.start("kept")
    box.containers.start("tight")
    eventually(lambda: box.containers.place(kept).log.read_text().count("word") == 3)
    assert box.containers.status(never).state == "created"


def test_pause_and_stop(box, image):
    record = box.started(image, "sh", "-c", "trap 'exit 3' TERM; echo up; while :; do sleep 0.05; done")
    eventually(lambda: "up" in box.containers.place(record).log.read_text())
    box.containers.pause(record.id)
    assert box.containers.status(record).state == "paused"
    with pytest.raises(Conflict):
        box.containers.start(record.id)
    box.containers.unpause(record.id)
    assert box.containers.status(record).state == "running"
    box.containers.pause(record.id)
    box.containers.stop(record.id, timeout_seconds=10)
    assert box.containers.status(record).exit_status == 3
    box.containers.start(record.id)
    box.containers.pause(record.id)
    box.containers.kill(record.id)
    assert box.containers.wait(record.id) == 137


SCRIPT = """
import os, sys
from bennu.config import Settings
from bennu.wiring import Runtime
import bennu.runtime.starting, bennu.runtime.containers, bennu.runtime.conmon, bennu.runtime.records, bennu.host.cgroups
root, step, verb, name = sys.argv[1:]
module, _, attribute = step.rpartition(":")
holder = sys.modules[module]
*path, last = attribute.rstrip("!").split(".")
for each in path:
    holder = getattr(holder, each)
before = getattr(holder, last)
def killed(*args, **more):
    if attribute.endswith("!"):
        before(*args, **more)
    os.kill(os.getpid(), 9)
setattr(holder, last, killed)
with Runtime(Settings.from_environ({"BENNU_ROOT": root})) as runtime:
    getattr(runtime.containers, verb)(name, **({"force": True} if verb == "remove" else {}))
"""

START_STEPS = [
    "bennu.runtime.starting:Starter._prepare!",
    "bennu.runtime.starting:Starter._connect!",
    "bennu.runtime.starting:_Start._mount!",
    "bennu.runtime.starting:_Start._write_bundle!",
    "bennu.host.cgroups:separated",
    "bennu.host.process:launch",
    "bennu.host.process:launch!",
    "bennu.runtime.conmon:_answer",
    "bennu.runtime.conmon:spawn!",
    "bennu.runtime.starting:write_atomic",
    "bennu.runtime.starting:write_atomic!",
    "bennu.host.process:run",
    "bennu.host.process:run!",
]


def killed_at(box, step, verb, name):
    words = [sys.executable, "-c", SCRIPT, str(box.settings.root), step, verb, name]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize("step", START_STEPS)
def test_killed_while_starting(box, image, step):
    record = box.create(image, "sleep", "100", name="victim", network=None,
                        mounts=(MountOption(type="volume", source="v", target="/data"),))  # fmt: skip
    killed_at(box, step, "start", "victim")
    state = box.containers.status(record).state
    assert state in {"created", "running"}
    if step != "bennu.host.process:run!":
        assert state == "created"
    box.containers.start("victim")
    assert box.containers.status(record).state == "running"
    box.containers.remove("victim", force=True)
    box.containers.volumes.remove("v")


@pytest.mark.parametrize("step", START_STEPS)
def test_killed_while_starting_then_removed(box, image, step):
    box.create(image, "sleep", "100", name="victim", network=None)
    killed_at(box, step, "start", "victim")
    box.containers.remove("victim", force=True)
    assert box.containers.list() == ()


REMOVE_STEPS = [
    "bennu.runtime.containers:clear",
    "bennu.runtime.containers:clear!",
    "bennu.runtime.records:Records.forget",
    "bennu.runtime.records:Records.forget!",
    "bennu.runtime.containers:remove_tree",
    "bennu.runtime.containers:remove_tree!",
]


@pytest.mark.parametrize("step", REMOVE_STEPS)
def test_killed_while_removing(box, image, step):
    box.started(image, "sleep", "100", name="victim", network=None)
    killed_at(box, step, "remove", "victim")
    box.containers.sweep()
    for container in box.containers.list():
        box.containers.remove(container.id, force=True)
    assert os.listdir(box.settings.containers) == []


def test_a_service_manager_that_kills_all_of_its_own(box, image, tmp_path):
    """What systemd does to a unit with ``KillMode=control-group``: conmon is not in the caller's group any more."""
    service = f"bennu-{box.settings.key}-service"
    record = box.create(image, "sleep", "100")
    argv = cgroups.separated(service, box.argv("start", record.id))
    with subprocess.Popen(argv, stdin=subprocess.PIPE, env=box.environ) as command:
        command.communicate(b"go\n")
        assert command.returncode == 0
    assert cgroups.members(service) == ()
    cgroups.remove(service, kill=True)
    assert box.containers.status(record).state == "running"
