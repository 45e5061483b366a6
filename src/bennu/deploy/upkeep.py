"""Upkeep: what the agent does by the calendar. It begins the reprovisioning of what is due, one set at a time.

The work is done by a command of its own (``bennu reprovision --scheduled``): it takes the deploy lock as everybody
does, outlives the agent, and cannot keep it from tending. What is due comes from ``reprovision``, so that an agent
that was killed, or that comes back after a year, comes to the same answer.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bennu.compose.struct import Value
from bennu.config import Settings
from bennu.deploy.drills import Drill, Drills
from bennu.deploy.history import History
from bennu.deploy.planning.plan import jobs_of
from bennu.deploy.reprovision import Due, schedule
from bennu.engine.base import Engine
from bennu.engine.sets import Observation
from bennu.host import process

LOOK_SECONDS: Final = 30.0
BUSY_SECONDS: Final = 1.0
REST_SECONDS: Final = 60.0
"""After a command that did nothing, because somebody else was at it."""
Begin = Callable[[str, str, bool], "subprocess.Popen[bytes]"]
"""Begin to reprovision a service of a project; the third says whether its image is built from scratch."""


def begin_by(settings: Settings) -> Begin:
    """What begins them: a command of its own, which goes on when the agent ends, and writes where the agent does."""

    def begin(project: str, service: str, rebuild: bool) -> subprocess.Popen[bytes]:
        words = ["reprovision", "--scheduled", "--yes", "-p", project, *(["--rebuild"] if rebuild else []), service]
        argv = [sys.executable, "-m", "bennu", "--root", str(settings.root), *words]
        return process.spawn(argv, stdout=None, stderr=None, cwd=Path("/"))

    return begin


class Outlook(Value, frozen=True, kw_only=True, omit_defaults=True):
    """How old the active sets of a project are, and when each goes. ``proven``: when a rebuild last went through
    (Unix seconds), None if none ever did. ``last``: the last drill of all.
    """

    due: tuple[Due, ...] = ()
    proven: float | None = None
    last: Drill | None = None


def outlook(history: History, drills: Drills, observation: Observation, now: float) -> Outlook:
    """The outlook of a project, from what an engine has observed."""
    project = observation.project
    policy, active = history.policy(project), history.active(project)
    if policy is None or active is None:
        return Outlook()
    jobs = jobs_of(history.release(active.release))
    last = drills.drills(project, limit=1)
    return Outlook(
        due=schedule(observation, policy, now, jobs=jobs, attempts=drills.attempts(project)),
        proven=drills.proven(project),
        last=last[0] if last else None,
    )


class Upkeep:
    """The chore."""

    def __init__(self, engine: Engine, history: History, drills: Drills, begin: Begin) -> None:
        self._engine = engine
        self._history = history
        self._drills = drills
        self._begin = begin
        self._child: subprocess.Popen[bytes] | None = None
        self._next = 0.0

    def round(self, now: float) -> float:
        """Begin what is due, if nothing is under way."""
        if self._child is not None:
            if self._child.poll() is None:
                return BUSY_SECONDS
            self._child, self._next = None, now + REST_SECONDS
        if 0 < self._next - now <= REST_SECONDS:  # not after a clock that was set back
            return self._next - now
        due = self._due(now)
        if due is None:
            self._next = now + LOOK_SECONDS
            return LOOK_SECONDS
        project, first = due
        assert first.at is not None
        if first.at > now:
            wait = min(first.at - now, LOOK_SECONDS)
            self._next = now + wait
            return wait
        policy = self._history.policy(project)
        self._child = self._begin(project, first.service, policy is not None and policy.rebuild)
        return BUSY_SECONDS

    def stop(self) -> None:
        """What is under way goes on: it is a deploy like any other."""

    def _due(self, now: float) -> tuple[str, Due] | None:
        found: list[tuple[str, Due]] = []
        for project in self._engine.projects():
            policy = self._history.policy(project)
            if policy is None or policy.max_age_seconds is None or self._history.rolling(project) is not None:
                continue
            view = outlook(self._history, self._drills, self._engine.observe(project), now)
            found += [(project, due) for due in view.due[:1] if due.at is not None]
        return min(found, key=lambda each: each[1].at or 0.0, default=None)
