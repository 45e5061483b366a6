"""Control groups, of both versions: which there are, who is in one, its end.

The OCI runtime makes a container's group and sets its limits; this module makes the groups that only keep processes
apart (conmon's), kills and removes what a runtime left, and reads whether a group is frozen. A group is named by one
path component that carries the root's key, the same in every hierarchy, so that nothing has to be kept to find it.

Version 2 has one group more, ``bennu``, above all of ours. systemd takes a controller away again from the groups below
its root when no unit of its own needs it, and with it every limit that stands there; it cannot while a group below
hands that controller on, which this one does. The group goes with the last one in it.

On a hybrid host (version 1 with an empty version 2 beside it in ``unified``) version 1 counts: that is where the
controllers are. Source: Linux's Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final, Literal

Version = Literal["v1", "v2"]

MOUNT: Final = Path("/sys/fs/cgroup")
PARENT: Final = "bennu"
_FREEZER: Final = MOUNT / "freezer"
_JOIN: Final = 'cd / && echo 0 > "$0" && read -r go && exec "$@" </dev/null'
KILL_ATTEMPTS: Final = 200
KILL_PAUSE_SECONDS: Final = 0.01


@cache
def version() -> Version:
    """The version whose controllers count on this host."""
    return "v2" if (MOUNT / "cgroup.controllers").exists() else "v1"


@cache
def unified_beside_v1() -> Path | None:
    """The mount of version 2 on a hybrid host, which crun 1.8 refuses to see; None where there is none."""
    place = MOUNT / "unified"
    return place if version() == "v1" and (place / "cgroup.procs").exists() else None


@cache
def hierarchies() -> tuple[Path, ...]:
    """Where in every hierarchy a container may have a group: one place for version 2, one each controller of version 1.

    On a hybrid host the version 2 one beside them too: runc makes a group there.
    """
    if version() == "v2":
        return (MOUNT / PARENT,)
    found = (Path(entry.path) for entry in os.scandir(MOUNT) if entry.is_dir(follow_symlinks=False))
    # where "unified" is hidden an ordinary directory stands, which is no hierarchy
    return tuple(sorted(path for path in found if (path / "cgroup.procs").exists()))


def parent() -> str:
    """What stands before a group's name in its path below the root of a hierarchy: empty or ``/bennu``."""
    return f"/{PARENT}" if version() == "v2" else ""


def reserve(name: str) -> Path:
    """Make a group in the hierarchy that a service manager kills by, if it is not there; where it is.

    While it is there nobody takes the group above it away from the runtime that is about to make its own.
    """
    group = _manager_hierarchy() / name
    while True:
        with suppress(FileExistsError):
            group.parent.mkdir()
        try:
            group.mkdir()
        except FileExistsError:
            return group
        except FileNotFoundError:  # somebody else's last group has gone, and the one above with it
            continue
        return group


def has_swap_limit() -> bool:
    """Whether this host can limit memory and swap together."""
    return version() == "v2" or (MOUNT / "memory/memory.memsw.limit_in_bytes").exists()


def separated(name: str, argv: Sequence[str]) -> list[str]:
    """The command line of a program that is in the group ``name`` before it does anything; the group is made.

    It is the hierarchy's that a service manager kills by. The program waits for a line on its standard input, and is
    never started if that ends first: whoever starts it can be killed at any moment, and there will be nothing outside
    the group. That takes a shell between; its script is fixed, the words are its parameters.
    """
    return ["/bin/sh", "-c", _JOIN, str(reserve(name) / "cgroup.procs"), *argv]


def leave(name: str) -> None:
    """Take the calling process out of a group that is about to be emptied, if it is in it."""
    if os.getpid() in members(name):
        top = MOUNT if version() == "v2" else _manager_hierarchy()  # no process may be in a group that hands on
        (top / "cgroup.procs").write_text(f"{os.getpid()}\n", encoding="ascii")


def _manager_hierarchy() -> Path:
    systemd = MOUNT / "systemd"
    return systemd if version() == "v1" and systemd.is_dir() else hierarchies()[0]


def exists(name: str) -> bool:
    """Whether any hierarchy has the group."""
    return any((hierarchy / name).is_dir() for hierarchy in hierarchies())


def named(prefix: str) -> frozenset[str]:
    """The top-level groups whose name begins so, in any hierarchy."""
    found = set()
    for hierarchy in hierarchies():
        with suppress(FileNotFoundError):
            found |= {entry.name for entry in os.scandir(hierarchy) if entry.name.startswith(prefix)}
    return frozenset(found)


def processes(name: str) -> frozenset[int]:
    """The pids in a group and in the groups below it, of every hierarchy that has it."""
    return frozenset(pid for group in _groups(name) for pid in _pids(group))


def members(name: str) -> tuple[int, ...]:
    """The pids in a group itself, of the one hierarchy that a service manager kills by. Cheap; empty if it is gone."""
    return tuple(_pids(_manager_hierarchy() / name))


def remove(name: str, *, kill: bool = False) -> None:
    """Remove a group from every hierarchy; not an error where it is not. ``kill`` ends what is still in it.

    ``OSError`` (EBUSY) if processes are left in it.
    """
    _remove(name, kill=kill)
    if version() == "v2":
        _removed(MOUNT / PARENT)  # unless others are in it


def _remove(name: str, *, kill: bool) -> None:
    tried = [_removed(hierarchy / name) for hierarchy in hierarchies()]
    if all(tried):  # nobody in it, as most often
        return
    for attempt in range(KILL_ATTEMPTS):
        if kill:
            _kill(name)
        busy = [group for group in _groups(name) if not _removed(group)]
        if not busy:
            return
        if not kill and attempt >= 10:
            raise OSError(errno.EBUSY, "processes are left in the control group", str(busy[0]))
        time.sleep(KILL_PAUSE_SECONDS)  # the last process is gone a moment before its group can go
    raise OSError(errno.EBUSY, "the control group does not become empty", name)


def is_frozen(name: str) -> bool:
    """Whether the group's processes are held by the freezer, or about to be."""
    with suppress(OSError):
        if version() == "v2":
            return (hierarchies()[0] / name / "cgroup.freeze").read_text(encoding="ascii").strip() == "1"
        return (_FREEZER / name / "freezer.state").read_text(encoding="ascii").strip() != "THAWED"
    return False


def oom_kills(name: str) -> int:
    """How many processes of a group the kernel has ended for memory; 0 once the group is gone."""
    for hierarchy in hierarchies():
        for file in ("memory.events", "memory.oom_control"):
            with suppress(OSError):
                for line in (hierarchy / name / file).read_text().splitlines():
                    key, _, count = line.partition(" ")
                    if key == "oom_kill" and count.isdigit():
                        return int(count)
    return 0


def freeze(name: str) -> None:
    """Hold a group's processes. ``OSError`` if it is gone."""
    _write_freezer(name, "1", "FROZEN")


def thaw(name: str) -> None:
    """Let a group's processes run on, so that they can be ended. Not an error where there is no such group."""
    with suppress(FileNotFoundError, OSError):  # ENODEV: it is being removed
        _write_freezer(name, "0", "THAWED")


def _write_freezer(name: str, v2: str, v1: str) -> None:
    is_v2 = version() == "v2"
    file = hierarchies()[0] / name / "cgroup.freeze" if is_v2 else _FREEZER / name / "freezer.state"
    file.write_text(v2 if is_v2 else v1, encoding="ascii")


def _kill(name: str) -> None:
    thaw(name)
    for pid in processes(name):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _groups(name: str) -> Iterator[Path]:
    """The group and all below it in each hierarchy, children before their parents."""
    for hierarchy in hierarchies():
        for directory, _, _ in os.walk(hierarchy / name, topdown=False):
            yield Path(directory)


def _pids(group: Path) -> Iterator[int]:
    with suppress(FileNotFoundError, OSError):
        yield from map(int, (group / "cgroup.procs").read_text(encoding="ascii").split())


def _removed(group: Path) -> bool:
    try:
        os.rmdir(group)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno not in {errno.EBUSY, errno.ENOTEMPTY}:
            raise
        return False
    return True


_SETTINGS: Final = {
    "v1": (
        ("memory", "memory/memory.limit_in_bytes"), ("memory and swap", "memory/memory.memsw.limit_in_bytes"),
        ("cpu quota", "cpu/cpu.cfs_quota_us"), ("cpu period", "cpu/cpu.cfs_period_us"),
        ("cpu shares", "cpu/cpu.shares"), ("pids", "pids/pids.max"), ("devices", "devices/devices.list"),
        ("cpus", "cpuset/cpuset.cpus"), ("memory nodes", "cpuset/cpuset.mems"),
    ),
    "v2": (
        ("memory", "memory.max"), ("memory high", "memory.high"), ("swap", "memory.swap.max"), ("cpu", "cpu.max"),
        ("cpu weight", "cpu.weight"), ("pids", "pids.max"), ("cpus", "cpuset.cpus"), ("memory nodes", "cpuset.mems"),
        ("io", "io.max"),
    ),
}  # fmt: skip


def settings(name: str) -> dict[str, str]:
    """What a group is limited to, by names for people; what this host has no controller for is left out.

    The same names on both versions where they mean the same: ``memory`` and ``pids`` (numbers, or ``max``), ``cpu`` as
    quota and period.
    """
    found: dict[str, str] = {}
    top = hierarchies()[0] if version() == "v2" else MOUNT
    for label, file in _SETTINGS[version()]:
        controller, _, leaf = file.rpartition("/")
        with suppress(OSError):
            text = (top / controller / name / leaf).read_text(encoding="ascii")
            found[label] = " ".join(text.split())
    if version() == "v1":
        quota, period = found.pop("cpu quota", None), found.pop("cpu period", None)
        if quota is not None and period is not None:
            found["cpu"] = f"{'max' if quota == '-1' else quota} {period}"
        for label in ("memory", "memory and swap"):
            if int(found.get(label, 0)) > 1 << 60:  # "no limit", in whole pages
                found[label] = "max"
    return found


def elsewhere(pid: int, name: str) -> tuple[str, ...]:
    """The groups that a process is in other than ``name`` and those below it, in hierarchies that count."""
    found = []
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/cgroup").read_text(encoding="ascii", errors="replace").splitlines():
            number, controllers, path = line.split(":", 2)
            if number == "0" and version() == "v1":
                continue
            own = f"{parent()}/{name}"
            if path != own and not path.startswith(f"{own}/"):
                found.append(f"{controllers}:{path}" if controllers else path)
    return tuple(found)
