"""Real terminals: a pseudo-terminal on our side, one in the container, and everything that passes between them."""

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time

import pytest

from tests.integration.run_world import eventually, world

pytestmark = pytest.mark.root


@pytest.fixture
def box(root_settings):
    with world(root_settings) as made:
        made.image()
        yield made


class Terminal:
    """A program on a terminal of its own, typed at and read from."""

    def __init__(self, argv, environ, rows=24, columns=80):
        self.master, slave = pty.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.process = subprocess.Popen(
            argv, stdin=slave, stdout=slave, stderr=slave, env=environ, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509
        )  # fmt: skip
        self.seen = b""

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text):
        os.write(self.master, text.encode())

    def expect(self, text, seconds=20):
        deadline = time.monotonic() + seconds
        while text.encode() not in self.seen:
            left = deadline - time.monotonic()
            assert left > 0, (text, self.seen)
            if select.select([self.master], [], [], left)[0]:
                with contextlib.suppress(OSError):
                    self.seen += os.read(self.master, 4096)
        at = self.seen.index(text.encode()) + len(text.encode())
        before, self.seen = self.seen[:at], self.seen[at:]
        return before.decode()

    def wait(self):
        status = self.process.wait(20)
        assert termios.tcgetattr(self.slave) == self.before, "the terminal was not put back"
        os.close(self.master)
        os.close(self.slave)
        return status


@pytest.fixture
def terminal(box):
    made = []

    def make(*words, **size):
        made.append(Terminal(box.argv(*words), box.environ, **size))
        return made[-1]

    yield make
    for each in made:
        if each.process.poll() is None:
            each.process.kill()
            each.process.wait()


RUN = ("run", "--rm", "-it", "--network", "none")


def test_size_at_the_start_and_after_a_change(terminal):
    script = "stty size; trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done"
    screen = terminal(*RUN, "box", "sh", "-c", script, rows=33, columns=101)
    assert "33 101" in screen.expect("ready")
    screen.resize(44, 120)
    screen.expect("44 120")
    screen.process.send_signal(signal.SIGKILL)
    screen.process.wait()


def test_ctrl_c_is_the_containers_and_the_status_is_its_own(terminal):
    screen = terminal(*RUN, "box", "sh", "-c", "trap 'exit 5' INT; echo ready; while :; do sleep 0.05; done")
    screen.expect("ready")
    screen.type("\x03")
    assert screen.wait() == 5


def test_a_shell_to_talk_to(terminal, box):
    screen = terminal(*RUN, "box", "sh")
    screen.type("echo $((6*7)) $TERM; tty\r")
    screen.expect("42 xterm")
    screen.expect("/dev/")
    screen.type("exit 3\r")
    assert screen.wait() == 3
    assert box.containers.list() == ()


def test_detach_keys_leave_it_running_and_attach_comes_back(terminal, box):
    screen = terminal("run", "-it", "--name", "keep", "--network", "none", "box", "sh")
    screen.expect("# ")
    screen.type("echo first\r")
    screen.expect("\nfirst\r\n")
    screen.type("\x10")
    time.sleep(0.1)
    screen.type("\x11")
    assert screen.wait() == 0
    assert box.containers.inspect("keep").status.state == "running"
    again = terminal("attach", "keep")
    again.type("echo second\r")
    again.expect("\nsecond\r\n")
    again.type("exit 6\r")
    assert again.wait() == 6
    assert box.containers.inspect("keep").status.exit_status == 6


def test_a_transient_one_that_was_detached_from_goes_when_it_ends(terminal, box):
    screen = terminal(*RUN, "--name", "gone", "box", "sh", "-c", "echo ready; read line; exit 0")
    screen.expect("ready")
    screen.type("\x10\x11")
    assert screen.wait() == 0
    assert box.containers.inspect("gone").status.state == "running"
    again = terminal("attach", "--detach-keys", "ctrl-a", "gone")
    again.type("x\r")
    assert again.wait() == 0
    eventually(lambda: box.containers.list() == ())


def test_other_detach_keys_and_ctrl_p_passes(terminal, box):
    screen = terminal(*RUN, "--detach-keys", "ctrl-x,d", "--name", "keys", "box", "sh", "-c", "stty raw -echo; cat")
    eventually(lambda: box.containers.records.by_name("keys") and box.containers.inspect("keys").status.is_alive)
    time.sleep(0.3)
    screen.type("\x10a")
    screen.expect("\x10a")
    screen.type("\x18d")
    assert screen.wait() == 0


def test_exec_on_a_terminal(terminal, box):
    box.bennu("run", "-d", "--name", "srv", "--network", "none", "box", "sleep", "100")
    screen = terminal("exec", "-it", "-e", "X=why", "srv", "sh", rows=20, columns=60)
    screen.type("stty size; echo $X\r")
    screen.expect("20 60")
    screen.expect("why\r\n")
    screen.resize(21, 61)
    time.sleep(0.2)
    screen.type("stty size\r")
    screen.expect("21 61")
    screen.type("\x03exit 8\r")
    assert screen.wait() == 8
    detached = terminal("exec", "-it", "srv", "sh", "-c", "echo ready; sleep 50")
    detached.expect("ready")
    detached.type("\x10\x11")
    assert detached.wait() == 0
    assert "sleep 50" in box.bennu("exec", "srv", "ps").stdout
    gone = terminal("exec", "-it", "srv", "nosuch")
    assert gone.wait() == 127


def test_a_terminal_without_input(box):
    done = box.bennu("run", "--rm", "-t", "--network", "none", "box", "sh", "-c", "tty; echo two")
    assert done.stdout.split() == ["/dev/pts/0", "two"]
    done = box.bennu("run", "--rm", "-it", "--network", "none", "box", "sh")
    assert done.returncode == 1
    assert "not a terminal" in done.stderr
