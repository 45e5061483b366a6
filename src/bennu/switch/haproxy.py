"""HAProxy's processes: one serves, and after a reload older *generations* finish what they have.

A generation is a process with a configuration, a map and a stats socket of its own. A reload starts the next one,
which takes over the listening sockets from the one before (``-x``), and only then shuts the old one's frontends: no
connection is refused, and keep-alive clients are asked to reconnect with their next answer. HAProxy's own soft stop
would do that too, but closes the stats socket: this way an old generation still follows every switch, and its
sessions can be counted. It is ended when none is left.

HAProxy puts itself into the background, with all its sockets bound or not at all, and outlives whoever started it.
Nothing but files says what runs: ``N.cfg``, ``N.map``, ``N.sock``, ``N.pid`` in one directory, and the command line
of each process, which names its configuration. Whoever changes something holds the project's lock.
"""

from __future__ import annotations

import os
import pwd
import re
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from bennu.errors import BennuError, Conflict, Failed, Invalid, Unavailable
from bennu.host import cgroups, files, locks, network, process
from bennu.switch.config import Places, config_text, map_text, shape, streams
from bennu.switch.control import Control
from bennu.switch.model import ANY, SwitchState
from bennu.switch.running import Running

PROGRAM: Final = "haproxy"
START_SECONDS: Final = 30.0
END_SECONDS: Final = 5.0
DYING_SECONDS: Final = 0.5
_SHAPE: Final = "# shape "
_NOT_BOUND: Final = re.compile(r"cannot bind socket \(([^)]*)\) for \[(.*)\]")


@dataclass(frozen=True)
class Generation:
    """One process. ``shape`` is what its configuration was made for."""

    number: int
    pid: int
    directory: Path
    shape: str

    @cached_property
    def control(self) -> Control:
        """Its stats socket."""
        return Control(self.directory / f"{self.number}.sock")

    @property
    def map_file(self) -> str:
        """Its map, by the name that it knows it by."""
        return str(self.directory / f"{self.number}.map")

    def observe(self) -> Running:
        """What it does now. ``Unavailable`` where it does not answer."""
        return Running(*self.control.observe(self.map_file))


class Processes:
    """The HAProxy processes of one project, found by what is in ``directory`` (below the run directory)."""

    def __init__(self, directory: Path, cgroup: str, host_lock: Path) -> None:
        self._directory = directory
        self._host_lock = host_lock
        self._cgroup = cgroup

    def alive(self) -> tuple[Generation, ...]:
        """The generations that run, newest first. Looks only, so it needs no lock."""
        found = []
        for number in self._numbers():
            config = self._directory / f"{number}.cfg"
            with suppress(FileNotFoundError):  # it has ended meanwhile
                pid = self._pid(number, config)
                if pid is not None:
                    first = config.read_text(encoding="utf-8").partition("\n")[0]
                    found.append(Generation(number, pid, self._directory, first.removeprefix(_SHAPE)))
        return tuple(sorted(found, key=lambda one: one.number, reverse=True))

    def forget_ended(self) -> None:
        """Remove the files of generations that have ended. Under the project's lock: one that starts looks the same."""
        running = {generation.number for generation in self.alive()}
        for number in set(self._numbers()) - running:
            self._forget(number)

    def texts(self, generation: Generation, state: SwitchState) -> tuple[str, str]:
        """A generation's configuration as it would be written for the state, and as it is on the disk."""
        head = f"{_SHAPE}{self.wanted_shape(state)}\n"
        wanted = head + config_text(state, self._places(generation.number))
        try:
            there = (self._directory / f"{generation.number}.cfg").read_text(encoding="utf-8")
        except FileNotFoundError:
            there = ""
        return wanted, there

    def wanted_shape(self, state: SwitchState) -> str:
        """The shape of a process that can do what the state says."""
        return shape(state, self._places(0))

    def start(self, state: SwitchState, previous: Generation | None) -> Generation:
        """A new generation that serves the state; it takes over the listening sockets of ``previous``, if any.

        ``Conflict`` where an address is taken, ``Invalid`` where the host does not have it, ``Failed`` with HAProxy's
        words otherwise; then nothing has changed.
        """
        with locks.held(self._host_lock, subject="the listening ports of this host"):
            self._refuse_shared_addresses(state)
            return self._start(state, previous)

    def _start(self, state: SwitchState, previous: Generation | None) -> Generation:
        empty = self._directory / "empty"
        empty.mkdir(parents=True, exist_ok=True)
        number = max(self._numbers(), default=0) + 1
        places = self._places(number)
        config = self._directory / f"{number}.cfg"
        head = f"{_SHAPE}{self.wanted_shape(state)}\n"
        files.write_atomic(Path(places.map), map_text(state).encode(), durable=False)
        files.write_atomic(config, (head + config_text(state, places)).encode(), durable=False)
        try:
            process.run([PROGRAM, "-c", "-f", config], timeout_seconds=START_SECONDS)
            pid_file = self._directory / f"{number}.pid"
            takeover = ["-x", str(previous.control.path)] if previous else []
            argv = [PROGRAM, "-D", "-f", str(config), "-p", str(pid_file), *takeover]
            process.run(cgroups.separated(self._cgroup, argv), input=b"\n", timeout_seconds=START_SECONDS)
        except Failed as error:
            self._forget(number)
            raise _explained(error) from error
        pid = self._pid(number, config)
        if pid is None:
            raise Failed("HAProxy ended right after its start", "run `bennu doctor`")
        return Generation(number, pid, self._directory, self.wanted_shape(state))

    def _refuse_shared_addresses(self, state: SwitchState) -> None:
        """``Conflict`` where another process listens on an address that the state wants.

        HAProxy binds with SO_REUSEPORT, so that an address beside its wildcard can be bound; two HAProxies of two
        projects would silently share one port. A HAProxy that was just killed loses its command line before it loses
        its sockets, and looks like a stranger until then: hence the wait.
        """
        wanted = {
            ("0.0.0.0" if bind.address == ANY else str(ip_address(bind.address)), bind.port)  # noqa: S104 - compared
            for frontend in streams(state)
            for bind in frontend.binds
        }
        deadline = time.monotonic() + DYING_SECONDS
        while True:
            own = {inode for generation in self.alive() for inode in process.socket_inodes(generation.pid)}
            others = {(str(at), port) for inode, (at, port) in network.listeners().items() if inode not in own}
            taken = sorted(wanted & others)
            if not taken:
                return
            if time.monotonic() >= deadline:
                raise _taken(":".join(map(str, taken[0])))
            time.sleep(0.01)

    def retire(self, generation: Generation) -> None:
        """Let a generation accept nothing new. It finishes what it has. Idempotent."""
        generation.control.execute(f"shutdown frontend {name}" for name in generation.control.frontends())

    def reap(self, generation: Generation) -> bool:
        """End a retired generation that has no connection left; whether it has ended."""
        try:
            # the connection that asks is not counted
            idle = int(generation.control.info()["CurrConns"]) == 0
        except Unavailable:
            idle = not process.is_alive(generation.pid)
        if idle:
            self.end(generation)
        return idle

    def end(self, generation: Generation) -> None:
        """End a process at once, with all its connections."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.kill(generation.pid, number)
            if self.has_ended(generation, wait_seconds=END_SECONDS):
                break
        self._forget(generation.number)

    def has_ended(self, generation: Generation, *, wait_seconds: float = 1.0) -> bool:
        """Whether a process is gone, or is before the wait is over."""
        config = self._directory / f"{generation.number}.cfg"
        deadline = time.monotonic() + wait_seconds
        while _is_running(generation.pid, config):
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.005)
        return True

    def remove(self) -> None:
        """End every process and remove the directory and the control group."""
        for generation in self.alive():
            self.end(generation)
        files.remove_tree(self._directory)
        with suppress(OSError):  # other projects' processes are there
            self._directory.parent.rmdir()
        cgroups.remove(self._cgroup)

    def _places(self, number: int) -> Places:
        user, group = _user()
        base = self._directory
        chroot = str(base / "empty") if user else None
        return Places(str(base / f"{number}.sock"), str(base / f"{number}.map"), chroot, user, group)

    def _numbers(self) -> list[int]:
        with suppress(FileNotFoundError):
            return [int(name[:-4]) for name in os.listdir(self._directory) if re.fullmatch(r"\d+\.cfg", name)]
        return []

    def _forget(self, number: int) -> None:
        # the configuration goes last: while it stands, the others are looked for
        for suffix in ("sock", "map", "pid", "cfg"):
            with suppress(FileNotFoundError):
                os.unlink(self._directory / f"{number}.{suffix}")

    def _pid(self, number: int, config: Path) -> int | None:
        with suppress(FileNotFoundError, ValueError):
            pid = int((self._directory / f"{number}.pid").read_text(encoding="ascii"))
            return pid if _is_running(pid, config) else None
        # whoever started it died before HAProxy had written its file
        return next(
            (pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _is_running(pid, config)), None
        )


def _is_running(pid: int, config: Path) -> bool:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return b"-D" in words and os.fsencode(config) in words and process.is_alive(pid)


def _taken(address: str) -> Conflict:
    return Conflict(f"address {address!r} is in use by another program", "`ss -ltnp` names it; publish another port")


def _user() -> tuple[str | None, str | None]:
    if os.geteuid() != 0:
        return None, None
    for name in ("haproxy", "nobody"):
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            import grp

            return name, grp.getgrgid(entry.pw_gid).gr_name
    return None, None


def _explained(error: Failed) -> BennuError:
    found = _NOT_BOUND.search("\n".join(error.tail))
    if found is None:
        return error
    reason, address = found.groups()
    if reason == "Address already in use":
        return _taken(address)
    if reason == "Cannot assign requested address":
        return Invalid(f"address {address!r} is not one of this host's", "`ip address` lists them")
    return Failed(f"address {address!r}: {reason}", command=error.command, status=error.status, tail=error.tail)
