"""Control groups, of both versions: which there are, who is in one, its end.

The OCI runtime makes a container's group and sets its limits; this module makes the groups that only keep processes
apart (conmon's), kills and removes what a runtime left, and reads whether a group is frozen. A group is named by one
path component that carries the root's key, the same in every hierarchy, so that nothing has to be kept to find it.

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
    """Every hierarchy in which a container may have a group: one for version 2, one for each controller of version 1.

    On a hybrid host the version 2 one beside them too: runc makes a group there.
    """
    if version() == "v2":
        return (MOUNT,)
    found = (Path(entry.path) for entry in os.scandir(MOUNT) if entry.is_dir(follow_symlinks=False))
    # where "unified" is hidden an ordinary directory stands, which is no hierarchy
    return tuple(sorted(path for path in found if (path / "cgroup.procs").exists()))


def has_swap_limit() -> bool:
    """Whether this host can limit memory and swap together."""
    return version() == "v2" or (MOUNT / "memory/memory.memsw.limit_in_bytes").exists()


def separated(name: str, argv: Sequence[str]) -> list[str]:
    """The command line of a program that is in the group ``name`` before it does anything; the group is made.

    It is the hierarchy's that a service manager kills by. The program waits for a line on its standard input, and is
    never started if that ends first: whoever starts it can be killed at any moment, and there will be nothing outside
    the group. That takes a shell between; its script is fixed, the words are its parameters.
    """
    group = _manager_hierarchy() / name
    with suppress(FileExistsError):
        group.mkdir()
    return ["/bin/sh", "-c", _JOIN, str(group / "cgroup.procs"), *argv]


def leave(name: str) -> None:
    """Take the calling process out of a group that is about to be emptied, if it is in it."""
    if os.getpid() in members(name):
        (_manager_hierarchy() / "cgroup.procs").write_text(f"{os.getpid()}\n", encoding="ascii")


def _manager_hierarchy() -> Path:
    systemd = MOUNT / "systemd"
    return systemd if version() == "v1" and systemd.is_dir() else hierarchies()[0]


def exists(name: str) -> bool:
    """Whether any hierarchy has the group."""
    return any((hierarchy / name).is_dir() for hierarchy in hierarchies())


def named(prefix: str) -> frozenset[str]:
    """The top-level groups whose name begins so, in any hierarchy."""
    return frozenset(
        entry.name for hierarchy in hierarchies() for entry in os.scandir(hierarchy) if entry.name.startswith(prefix)
    )


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
            return (MOUNT / name / "cgroup.freeze").read_text(encoding="ascii").strip() == "1"
        return (_FREEZER / name / "freezer.state").read_text(encoding="ascii").strip() != "THAWED"
    return False


def freeze(name: str) -> None:
    """Hold a group's processes. ``OSError`` if it is gone."""
    base, file, value = (MOUNT, "cgroup.freeze", "1") if version() == "v2" else (_FREEZER, "freezer.state", "FROZEN")
    (base / name / file).write_text(value, encoding="ascii")


def thaw(name: str) -> None:
    """Let a group's processes run on, so that they can be ended. Not an error where there is no such group."""
    base, file, value = (MOUNT, "cgroup.freeze", "0") if version() == "v2" else (_FREEZER, "freezer.state", "THAWED")
    with suppress(FileNotFoundError, OSError):  # ENODEV: it is being removed
        (base / name / file).write_text(value, encoding="ascii")


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
