"""Processes that nobody needs to find again: steps and hooks."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from bennu.config import Settings
from bennu.errors import Failed
from bennu.host import cgroups
from bennu.host.mounts import Overlay
from bennu.runtime import bundles
from bennu.runtime.oneshot import Surroundings, run_once
from bennu.runtime.spec import Limits, Process
from tests.integration.run_world import assert_nothing_left, eventually, fill, processes_of

pytestmark = pytest.mark.root


class Step:
    def __init__(self, settings, base):
        self.settings = settings
        self.lower, self.upper, self.work = base / "lower", base / "upper", base / "work"
        for path in (self.lower, self.upper, self.work):
            path.mkdir()
        fill(self.lower, {})
        self.rootfs = Overlay((self.lower,), self.upper, self.work, volatile=True)

    def run(self, *args, **more):
        said = {"stdout": b"", "stderr": b""}

        def output(stream, data):
            said[stream] += data

        more.setdefault("output", output)
        status = run_once(self.settings, self.rootfs, Process(args=args, env=("PATH=/bin",)), **more)
        return status, said["stdout"].decode(), said["stderr"].decode()


@pytest.fixture(params=["crun", "runc"])
def step(request, tmp_path):
    settings = Settings.from_environ({"BENNU_ROOT": str(tmp_path / "root"), "BENNU_RUNTIME": request.param})
    yield Step(settings, tmp_path)
    bundles.sweep(settings)
    assert os.listdir(settings.run / "oneshot") == []
    assert_nothing_left(settings)
    from bennu.host.files import remove_tree

    remove_tree(settings.run)


def test_status_and_streams(step):
    assert step.run("sh", "-c", "echo out; echo err >&2; exit 3") == (3, "out\n", "err\n")
    assert step.run("sh", "-c", "sh -c 'kill -TERM $$'; exit $?")[0] == 143


@pytest.mark.parametrize(
    ("program", "status"), [("nosuch", 127), ("/nosuch", 127), ("/etc", 126), ("/etc/passwd", 126)]
)
def test_what_cannot_be_started(step, program, status):
    with pytest.raises(Failed) as found:
        step.run(program)
    assert found.value.status == status


def test_a_step_that_writes_nothing_leaves_nothing(step):
    times = {name: os.stat(step.lower / name).st_mtime_ns for name in ("etc", ".")}
    assert step.run("true")[0] == 0
    left = [path for path in step.upper.rglob("*") if not path.is_dir()]
    assert left == []
    assert set(os.listdir(step.upper)) <= {"etc", "dev", "proc", "sys"}  # what the base has not, as in Docker
    if (step.upper / "etc").exists():  # overlayfs copied it up
        assert os.stat(step.upper / "etc").st_mtime_ns == times["etc"]
        assert os.listdir(step.upper / "etc") == []


def test_what_it_writes_stays(step):
    assert step.run("sh", "-c", "echo mine > /srv/file; mkdir -p /sys/x 2>/dev/null; echo y > /etc/mine")[0] == 0
    assert (step.upper / "srv/file").read_text() == "mine\n"
    assert (step.upper / "etc/mine").read_text() == "y\n"
    assert sorted(os.listdir(step.upper / "etc")) == ["mine"]


def test_input_and_much_output(step):
    status, out, _ = step.run("wc", "-c", input=b"x" * 3_000_000)
    assert (status, out) == (0, "3000000\n")
    status, out, _ = step.run("seq", "200000")
    assert out.splitlines()[-1] == "200000"


def test_what_it_leaves_running_ends_with_it(step):
    started = time.monotonic()
    assert step.run("sh", "-c", "sleep 1000 & echo done")[1] == "done\n"
    assert time.monotonic() - started < 30
    assert not processes_of(step.settings)


def test_cancelling_ends_everything_at_once(step):
    cancel = threading.Event()
    threading.Timer(0.5, cancel.set).start()
    assert step.run("sh", "-c", "trap '' TERM; sleep 1000 & sleep 1000", cancel=cancel)[0] == 137


def test_an_output_that_fails_ends_the_process(step):
    def broken(_stream, _data):
        raise RuntimeError("full")

    with pytest.raises(RuntimeError, match="full"):
        step.run("sh", "-c", "echo x; sleep 1000", output=broken)


def test_network_and_limits(step):
    assert "lo" in step.run("ip", "-o", "link", surroundings=Surroundings(network="none"))[1]
    names = step.run("ls", "/sys/class/net", surroundings=Surroundings(network="host"))[1].split()
    assert set(names) >= {"lo"}
    limited = Surroundings(limits=Limits(memory_bytes=16 << 20))
    assert step.run("tail", "/dev/zero", surroundings=limited)[0] == 137


SCRIPT = """
import sys
from pathlib import Path
from bennu.config import Settings
from bennu.host.mounts import Overlay
from bennu.runtime.oneshot import run_once
from bennu.runtime.spec import Process
base = Path(sys.argv[1])
settings = Settings.from_environ({"BENNU_ROOT": str(base / "root"), "BENNU_RUNTIME": sys.argv[2]})
rootfs = Overlay((base / "lower",), base / "upper", base / "work", volatile=True)
words = ("sh", "-c", "echo up; sleep 1000 & sleep 1000")
run_once(settings, rootfs, Process(args=words, env=("PATH=/bin",)), output=lambda *_: print("up", flush=True))
"""


def test_nothing_outlives_a_killed_caller(step, tmp_path):
    words = [sys.executable, "-c", SCRIPT, str(tmp_path), step.settings.oci_runtime]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as caller:
        assert caller.stdout.readline() == b"up\n"
        names = cgroups.named(f"bennu-{step.settings.key}-once")
        assert names
        caller.send_signal(signal.SIGKILL)
    if step.settings.oci_runtime == "crun":
        eventually(lambda: not any(cgroups.processes(name) for name in names))
    assert step.run("true")[0] == 0  # sweeps
    assert not any(cgroups.exists(name) for name in names)
