"""What a container does now, asked of the kernel and of what conmon wrote, never of a record of ours.

A process in its control group means that it lives; the runtime's ``exec.fifo`` says that it waits to be started; an
exit file, that it has ended. Control groups do not outlive a reboot and no pid is trusted that is not in the group,
so a host that went down, a pid that was reused and a bennu that was killed at any step all read rightly.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

import msgspec

from bennu.host import cgroups
from bennu.runtime.places import Place

State = Literal["created", "running", "paused", "exited", "dead"]
LOST_STATUS: Final = 255
KILLED_STATUS: Final = 137
"""The exit status where nobody was left to record it: the host went down, or the monitor was killed."""
EXIT_FILE_SECONDS: Final = 2.0


class Started(msgspec.Struct, frozen=True):
    """The last start: Unix seconds, the boot it was in, how often the container was started before."""

    at: float
    boot: str
    restarts: int = 0


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """A container as it is. ``pid`` and ``conmon_pid`` are 0 where there is none; times are Unix seconds or None."""

    state: State
    pid: int = 0
    conmon_pid: int = 0
    exit_status: int = 0
    started: float | None = None
    finished: float | None = None
    restarts: int = 0
    oom_killed: bool = False
    error: str = ""

    @property
    def is_alive(self) -> bool:
        """It has processes that were started: running or paused."""
        return self.state in {"running", "paused"}


def look(place: Place) -> Status:
    """The status of a container whose row exists."""
    members = cgroups.members(place.cgroup)
    conmon = monitor_pid(place)
    started = read_started(place)
    at, restarts = (None, 0) if started is None else (started.at, started.restarts)
    if members and not _waits_to_be_started(place):
        pid = _pid_in(place.pidfile, members) or min(members)
        state: State = "paused" if cgroups.is_frozen(place.cgroup) else "running"
        return Status(state=state, pid=pid, conmon_pid=conmon, started=at, restarts=restarts)
    if not place.directory.is_dir():
        return Status(state="dead", error="its directory is gone")
    if started is None or members:
        return Status(state="created", conmon_pid=conmon, error=read_error(place))
    ended = read_exit(place)
    if ended is None and conmon:  # conmon is about to write it
        deadline = time.monotonic() + EXIT_FILE_SECONDS
        while ended is None and time.monotonic() < deadline:
            time.sleep(0.002)
            ended = read_exit(place)
    if ended is None:
        lost = "its exit status is lost: the host or its monitor went down"
        return Status(state="exited", exit_status=LOST_STATUS, started=at, restarts=restarts, error=lost)
    status, finished = ended
    return Status(
        state="exited",
        exit_status=status,
        started=at,
        finished=finished,
        restarts=restarts,
        # its monitor writes that down when it hears of it, which may be after the end, or never
        oom_killed=place.oom.exists() or (status == KILLED_STATUS and cgroups.oom_kills(place.cgroup) > 0),
    )


def monitor_pid(place: Place) -> int:
    """The pid of the container's conmon, 0 where it has gone. Those of its execs are in the same group."""
    return _pid_in(place.conmon_pidfile, cgroups.members(place.conmon_cgroup))


def living_pid(place: Place) -> int:
    """The pid of the monitor, else that of the container's first process, else 0: then it has ended."""
    monitor = monitor_pid(place)
    if monitor:
        return monitor
    members = cgroups.members(place.cgroup)
    return _pid_in(place.pidfile, members) or min(members, default=0)


def read_exit(place: Place) -> tuple[int, float] | None:
    """The exit status and when it was written, or None while there is none."""
    try:
        with open(place.exit, encoding="ascii") as file:
            return int(file.read()), os.fstat(file.fileno()).st_mtime
    except (FileNotFoundError, ValueError):
        return None


def read_started(place: Place) -> Started | None:
    """The last start, or None if it was never started."""
    try:
        return msgspec.json.decode(place.started.read_bytes(), type=Started)
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        return None


def read_error(place: Place) -> str:
    """Why the last start failed, or the empty string."""
    with suppress(OSError):
        return place.error.read_text(encoding="utf-8", errors="replace").strip()
    return ""


def _waits_to_be_started(place: Place) -> bool:
    return any((state / "exec.fifo").exists() for state in place.runtime_state())


def _pid_in(file: Path, members: tuple[int, ...]) -> int:
    """The pid that a file holds, if that process is one of ``members``, else 0."""
    if members:
        with suppress(FileNotFoundError, ValueError):
            pid = int(file.read_text(encoding="ascii"))
            return pid if pid in members else 0
    return 0
