"""Processes that do not belong into a replica: what its first process did not start.

Judging is pure (``judged``): a process belongs if its parents lead to the first one, its session was not begun from
outside, and it is confined as everything must be that the first one can start. That finds an exec'ed shell, what it
left behind when it ended, and whoever came in with nsenter(1), wholly or into one namespace only. What bennu itself
runs inside for a moment (health checks) is known by its directory.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from bennu.host import tasks
from bennu.host.tasks import Namespaces, Task
from bennu.runtime.exec import PROBE

LEVELS: Final = 16
SHOWN: Final = 120
AGAIN_SECONDS: Final = 0.15
"""What is on its way into a replica, or out of it, is gone by then."""


class Household(NamedTuple):
    """What is known of one container's processes: the first one, those in its control group, those in its namespaces.

    ``guests`` share its network or its mounts and not its process table.
    """

    init: int
    members: dict[int, Task]
    inhabitants: dict[int, Task]
    guests: tuple[int, ...]


class Suspect(NamedTuple):
    """A process that does not belong, as it was when it was seen, and those among whom it was seen."""

    task: Task
    reason: str
    inside: frozenset[int]


def judged(household: Household) -> dict[int, str]:
    """Who does not belong, by pid, and why. The first process is the measure of all others."""
    everybody = {**household.members, **household.inhabitants}
    init = everybody.get(household.init)
    if init is None:
        return {}
    reasons = {pid: _foreign(task, init, everybody) for pid, task in everybody.items() if pid != init.pid}
    return {pid: reason for pid, reason in sorted(reasons.items()) if reason is not None}


def _foreign(task: Task, init: Task, everybody: Mapping[int, Task]) -> str | None:
    if not _descends(task, init, everybody):
        return "not started by its first process"
    if task.outside and not init.outside:
        return "left behind by one that came from outside"
    if task.seccomp < init.seccomp or (init.no_new_privileges and not task.no_new_privileges):
        return "less confined than its first process"
    if task.bounding & ~init.bounding:
        return "has capabilities that its first process cannot give"
    return None


def _descends(task: Task, init: Task, everybody: Mapping[int, Task]) -> bool:
    seen = set()
    current: Task | None = task
    while current is not None and current.pid not in seen:
        if current.parent == init.pid:
            return True
        seen.add(current.pid)
        current = everybody.get(current.parent)
    return False


def households(
    places: Mapping[int, Collection[int]], everywhere: Mapping[int, Namespaces], known: Collection[int]
) -> dict[int, Household]:
    """The processes of containers: ``places`` has the pids of each control group by the container's first process.

    ``everywhere``: all processes of the host; ``known``: those of containers of bennu's, which may share a network.
    """
    by_table: dict[int, list[int]] = {}
    by_other: dict[int, list[int]] = {}
    own = everywhere.get(os.getpid()) or tasks.namespaces(os.getpid())
    assert own is not None
    for pid, spaces in everywhere.items():
        if spaces.pid != own.pid:
            by_table.setdefault(spaces.pid, []).append(pid)
        for space, mine in ((spaces.network, own.network), (spaces.mount, own.mount)):
            if space != mine:
                by_other.setdefault(space, []).append(pid)
    found = {}
    for init, members in places.items():
        home = everywhere.get(init)
        if home is None:
            continue
        inside = by_table.get(home.pid, [])
        shared = {pid for space in (home.network, home.mount) for pid in by_other.get(space, ())}
        guests = shared - set(inside) - set(known) - {os.getpid()}
        found[init] = Household(init, tasks.tree(list(members)), tasks.tree(inside), tuple(sorted(guests)))
    return found


def everywhere() -> dict[int, Namespaces]:
    """The namespaces of every process of the host."""
    return {pid: spaces for pid in tasks.all_pids() if (spaces := tasks.namespaces(pid)) is not None}


def suspects(household: Household, bundle: Path) -> list[Suspect]:
    """Who does not belong and is not bennu's own, guests included."""
    everybody = {**household.members, **household.inhabitants}
    inside = frozenset(everybody)
    found = [Suspect(everybody[pid], reason, inside) for pid, reason in judged(household).items()]
    guests = [task for pid in household.guests if (task := tasks.look(pid)) is not None]
    found += [Suspect(task, "shares its network or its files", inside) for task in guests]
    return [one for one in found if not is_own(one.task.pid, bundle)]


def confirmed(every: Mapping[int, list[Suspect]]) -> dict[int, dict[int, tuple[str, float]]]:
    """The suspects that are still there after a moment, by household and pid: what they are, and since when."""
    if any(every.values()):
        time.sleep(AGAIN_SECONDS)
    return {
        init: {
            one.task.pid: (described(one.task, one.reason, one.inside), tasks.start_of(one.task))
            for one in found
            if (again := tasks.look(one.task.pid)) is not None and again.started == one.task.started
        }
        for init, found in every.items()
    }


def is_own(pid: int, bundle: Path) -> bool:
    """Whether bennu itself has begun this process: a health check's, or the runtime's on its way into one."""
    prefix = f"{bundle}/{PROBE}-"
    return any(word.startswith(prefix) for each in _ancestry(pid) for word in tasks.command_line(each))


def _ancestry(pid: int) -> Iterable[int]:
    for _ in range(LEVELS):
        if pid <= 1:
            return
        yield pid
        pid = tasks.parent_of(pid)


def described(task: Task, reason: str, inside: Collection[int]) -> str:
    """An intruder for people: its command, its user, and who started it."""
    text = f"{shown(tasks.command_line(task.pid))} (user {task.uid}): {reason}"
    origin = next((pid for pid in _ancestry(task.parent) if pid not in inside), None)
    if origin is None:
        return text
    words = tasks.command_line(origin)
    # a terminal's, or one that was detached, is held by a monitor; the others have the runtime itself beside them
    is_exec = "--exec" in words or any("/exec-" in word for word in words)
    return f"{text}; came by {'bennu exec' if is_exec else f'{shown(words)} (pid {origin})'}"


def shown(words: Iterable[str]) -> str:
    """A command line in one short line."""
    text = " ".join(words)
    text = "".join(char if char.isprintable() else "?" for char in text)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
