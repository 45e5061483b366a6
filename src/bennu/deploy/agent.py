"""The agent: the one long-running process, for what needs a clock. Killing it at any instant loses nothing.

It tends every project of the engine (health checks, restarts, the switch), cools kept sets down, and takes up
rollouts whose process died. All it knows is in the store; a second one refuses to start. ``ensure_running`` starts it
where no service manager does; such an agent ends by itself when there is nothing left to tend.
"""

from __future__ import annotations

import os
import socket
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from bennu.config import Settings
from bennu.deploy.apply import Deployer, Reporter
from bennu.deploy.errands import Chore
from bennu.deploy.history import History, Revision
from bennu.deploy.keeping import Keeping, cooling
from bennu.engine.actions import FreezeSet, StopSet
from bennu.engine.base import Engine
from bennu.errors import BennuError, Conflict, Unavailable
from bennu.host import locks, process, service_manager

LONGEST_SECONDS: Final = 30.0
ROLLING_SECONDS: Final = 1.0
"""How often is looked whether the process of a rollout still lives."""
START_SECONDS: Final = 30.0
START_POLL_SECONDS: Final = 0.02
IDLE_ROUNDS: Final = 2
PAUSE_SECONDS: Final = 1.0
TROUBLE: Final = (BennuError, OSError, sqlite3.Error)
MakeDeployer = Callable[[str], Deployer]


class Agent:
    """The loop. ``run`` returns when ``stop`` is called, or when nothing is left to tend and that was asked for."""

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        history: History,
        deployer: MakeDeployer,
        reporter: Reporter,
        *,
        chores: Sequence[Chore] = (),
        until_idle: bool = False,
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._history = history
        self._deployer = deployer
        self._reporter = reporter
        self._chores = tuple(chores)
        self._until_idle = until_idle
        self._stop = threading.Event()
        self._trouble: dict[str, str] = {}

    def stop(self) -> None:
        """End after the round that is under way. Safe in a signal handler."""
        self._stop.set()
        poke(self._settings)

    def run(self) -> None:
        """Tend until stopped; ``Conflict`` if another agent of this root runs."""
        with (
            locks.held(
                _lock_path(self._settings), wait_seconds=0, owner=f"agent pid {os.getpid()}", subject="the agent"
            ),
            _wake_socket(self._settings) as wake,
        ):
            service_manager.say_ready()
            try:
                self._loop(wake)
            finally:
                for chore in self._chores:
                    chore.stop()
            if self._stop.is_set() and service_manager.stops_the_host():
                self._halt()

    def _halt(self) -> None:
        """Containers outlive the agent, but not the host: each is stopped as it is meant to be, frozen ones too.

        Left to the service manager, it would send all of them SIGTERM, which the first process of a container need not
        hear and a frozen one cannot, and wait a minute and a half for them.
        """
        try:
            self._reporter.say(f"the host goes down: {self._engine.halt()} containers stopped")
        except TROUBLE as error:
            self._complain("", error)

    def _loop(self, wake: socket.socket) -> None:
        idle = 0
        while not self._stop.is_set():
            try:
                now = time.time()
                due = min(self._round(now), self._do_chores(now))
                idle = 0 if self._engine.projects() else idle + 1
                if self._until_idle and idle >= IDLE_ROUNDS:
                    return
                self._engine.watch(max(0.0, min(due, LONGEST_SECONDS if not idle else 1.0)), wake.fileno())
                self._trouble.pop("", None)
            except TROUBLE as error:  # a full disk, a database that is locked: whoever keeps the clock stays
                self._complain("", error)
                self._stop.wait(PAUSE_SECONDS)
            _drain(wake)

    def _round(self, now: float) -> float:
        due = LONGEST_SECONDS
        for project in self._engine.projects():
            try:
                due = min(due, self._engine.tend(project, now), self._keep(project, now))
                self._trouble.pop(project, None)
            except TROUBLE as error:  # one project's must not stop the others
                self._complain(project, error)
                due = min(due, PAUSE_SECONDS)
        return due

    def _do_chores(self, now: float) -> float:
        due = LONGEST_SECONDS
        for chore in self._chores:
            name = type(chore).__name__.lower()
            try:
                due = min(due, chore.round(now))
                self._trouble.pop(name, None)
            except TROUBLE as error:
                self._complain(name, error)
        return due

    def _complain(self, project: str, error: Exception) -> None:
        """Say a trouble, once as long as it stays the same."""
        message = error.message if isinstance(error, BennuError) else str(error)
        if self._trouble.get(project) != message:
            self._trouble[project] = message
            self._reporter.say(f"{project}: {message}" if project else message)

    def _keep(self, project: str, now: float) -> float:
        deployer = self._deployer(project)
        active = self._history.active(project)
        rolling = self._history.rolling(project) is not None
        if active is None and not rolling:
            return LONGEST_SECONDS
        keeping = self._keeping(active)
        cool = cooling(self._engine.observe(project), keeping, now)
        if cool.is_due or rolling:
            with suppress(Conflict), deployer.exclusive(self._reporter, wait_seconds=0):
                self._cool(project, keeping, now)
                rolling = False
        # a rollout whose process dies may have left a canary its share of the traffic
        return min(cool.later_seconds, ROLLING_SECONDS) if rolling else cool.later_seconds

    def _keeping(self, active: Revision | None) -> Keeping:
        if active is None:
            return Keeping()
        release = self._history.release(active.release)
        freezes = self._engine.capabilities().freezes
        return Keeping(warm_seconds=release.keep_warm_seconds, frozen=release.keep_frozen if freezes else 0)

    def _cool(self, project: str, keeping: Keeping, now: float) -> None:
        cool = cooling(self._engine.observe(project), keeping, now)
        for name in cool.freeze:
            self._engine.execute(FreezeSet(set=name), self._reporter.say, self._stop)
            self._reporter.say(f"{project}: set {name} was kept warm long enough and is frozen")
        for name in cool.stop:
            self._engine.execute(StopSet(set=name), self._reporter.say, self._stop)
            self._reporter.say(f"{project}: set {name} was kept running long enough and is stopped")


def ensure_running(settings: Settings) -> None:
    """Start an agent for this root if none runs, and wake it. ``Unavailable`` if it does not come up.

    Where a service manager keeps the agent, it runs already and this only wakes it.
    """
    if running(settings) is None:
        log = settings.root / "agent.log"
        with open(log, "ab") as output:
            child = process.spawn(
                [sys.executable, "-m", "bennu", "--root", settings.root, "agent", "run", "--until-idle"],
                stdout=output,
                stderr=output,
                cwd=Path("/"),
            )
        deadline = time.monotonic() + START_SECONDS
        while running(settings) is None:
            if child.poll() is not None and running(settings) is None:
                status = process.exit_status(child.returncode)
                raise Unavailable(f"the agent ended with exit status {status} as it started", f"read {log}")
            if time.monotonic() > deadline:
                raise Unavailable(f"the agent has not started after {START_SECONDS:g} s", f"read {log}")
            time.sleep(START_POLL_SECONDS)
    poke(settings)


def running(settings: Settings) -> str | None:
    """Who the agent is (``agent pid 42``), or None if none runs."""
    return locks.holder(_lock_path(settings))


def poke(settings: Settings) -> None:
    """Wake the agent, if there is one, because something has changed."""
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        sender.sendto(b"!", str(_socket_path(settings)))


def _lock_path(settings: Settings) -> Path:
    return settings.locks / "agent.lock"


def _socket_path(settings: Settings) -> Path:
    return settings.run / "agent.sock"


@contextmanager
def _wake_socket(settings: Settings) -> Iterator[socket.socket]:
    path = _socket_path(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.setblocking(False)
        receiver.bind(str(path))
        try:
            yield receiver
        finally:
            path.unlink(missing_ok=True)


def _drain(wake: socket.socket) -> None:
    with suppress(BlockingIOError):
        while wake.recv(16):
            pass
