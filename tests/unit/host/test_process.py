"""Processes: their output, their end, and what is said when they fail."""

import os
import signal
import subprocess
import sys
import time

import pytest

from bennu.errors import Failed, NotFound, Unavailable
from bennu.host import process


def test_run_gives_status_and_output():
    done = process.run(["sh", "-c", "cat; echo err >&2; exit 3"], input=b"in", check=False)
    assert done == process.Completed(3, b"in", b"err\n")
    assert process.run(["sh", "-c", "kill -9 $$"], check=False).status == 137


def test_a_failure_is_named_by_its_last_line():
    with pytest.raises(Failed, match=r"^sh: second$") as caught:
        process.run(["sh", "-c", "echo first >&2; echo second >&2; exit 4"])
    assert caught.value.status == 4
    assert caught.value.tail == ("first", "second")
    assert caught.value.command[:2] == ("sh", "-c")
    with pytest.raises(Failed, match=r"^sh: exit status 5$"):
        process.run(["sh", "-c", "exit 5"])
    with pytest.raises(Failed, match=r"^sh: out$"):
        process.run(["sh", "-c", "echo out; exit 5"])


def test_time_that_is_up_ends_it():
    started = time.monotonic()
    with pytest.raises(Failed, match=r"sh: no end after 0.2 s") as caught:
        process.run(["sh", "-c", "echo so far >&2; exec sleep 60"], timeout_seconds=0.2)
    assert caught.value.status == 124
    assert caught.value.tail == ("so far",)
    assert time.monotonic() - started < 10


def test_what_cannot_be_started_is_named(tmp_path):
    with pytest.raises(Unavailable, match="program 'no-such-thing' is not installed"):
        process.run(["/usr/bin/no-such-thing"])
    with pytest.raises(Unavailable, match="program 'no-such-thing' is not installed"):
        process.spawn(["no-such-thing"])
    (tmp_path / "data").write_text("no program")
    with pytest.raises(Unavailable, match="program 'data' cannot be started: Permission denied"):
        process.run([tmp_path / "data"])
    with pytest.raises(NotFound, match="directory '/no/such/place' cannot be worked in"):
        process.run(["true"], cwd="/no/such/place")


def test_no_shell_reads_the_arguments():
    assert process.run(["printf", "%s|", "$HOME", "a b", "*"]).stdout == b"$HOME|a b|*|"


def test_the_environment_is_what_is_given():
    assert process.run(["/usr/bin/env"], env={"A": "1"}).stdout == b"A=1\n"


def test_start_ends_what_it_started():
    with process.start(["sleep", "60"]) as child:
        assert process.is_alive(child.pid)
    assert child.returncode == -signal.SIGTERM
    with pytest.raises(RuntimeError), process.start(["sleep", "60"]) as child:
        raise RuntimeError
    assert child.returncode == -signal.SIGTERM


def test_start_kills_what_does_not_want_to_end(monkeypatch):
    monkeypatch.setattr(process, "END_SECONDS", 0.2)
    with process.start(["sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done"]) as child:
        assert child.stdout.readline() == b"up\n"
    assert child.returncode == -signal.SIGKILL


def test_spawned_processes_have_a_session_of_their_own():
    child = process.spawn([sys.executable, "-c", "import os; print(os.getsid(0))"], stdout=subprocess.PIPE)
    try:
        assert int(child.communicate()[0]) == child.pid
    finally:
        child.wait()


def test_descriptors_are_handed_over_only_where_asked():
    source, sink = os.pipe()
    try:
        argv = [sys.executable, "-c", f"import os; os.write({sink}, b'hi')"]
        process.run(argv, pass_fds=(sink,))
        assert os.read(source, 10) == b"hi"
        assert process.run(argv, check=False).status == 1
    finally:
        os.close(source)
        os.close(sink)


def test_a_process_is_its_number_and_its_start():
    child = process.spawn(["sleep", "60"])
    started = process.start_time(child.pid)
    try:
        assert process.is_alive(child.pid)
        assert process.is_alive(child.pid, started)
        assert not process.is_alive(child.pid, started - 1)
    finally:
        child.kill()
    deadline = time.monotonic() + 10
    while process.is_alive(child.pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not process.is_alive(child.pid)  # though it is still a zombie
    child.wait()
    assert process.start_time(child.pid) is None


def test_names_of_processes_may_hold_anything(tmp_path):
    odd = tmp_path / ") S 1 (x"
    odd.symlink_to("/bin/sleep")
    child = process.spawn([odd, "60"])
    try:
        assert process.is_alive(child.pid, process.start_time(child.pid))
    finally:
        child.kill()
        child.wait()


def test_the_boot_has_one_name():
    assert process.boot_id() == process.boot_id()
    assert len(process.boot_id()) == 36
