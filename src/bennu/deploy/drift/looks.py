"""Looking for drift: a survey of the engine's, compared with what is recorded, and remembered.

``Drifts`` is what the command, the agent and whoever shows a count share. The first look at a revision records what
the host is like and what the names of the images mean: later looks compare with that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from bennu.deploy.drift import comparison as drift
from bennu.deploy.drift.comparison import Baseline, Record
from bennu.deploy.drift.news import told
from bennu.deploy.drift.records import DriftRecords, Look
from bennu.deploy.errands import Errand
from bennu.deploy.history import History
from bennu.deploy.telling.news import NotifyHooks
from bennu.engine.base import Engine
from bennu.engine.survey import Facts, Survey
from bennu.errors import Conflict

EVERY_SECONDS: Final = 300.0
"""How often the agent looks by itself."""
SOON_SECONDS: Final = 10.0
"""After a switch it looks this soon, so that what is recorded is what was switched to."""


LookUpstream = Callable[[Iterable[str]], tuple[dict[str, str], dict[str, str], tuple[str, ...]]]
"""What names of images mean here and in their registries, and what could not be asked."""


class Drifts:
    """Looks at projects. ``agent`` says whether one runs."""

    def __init__(
        self,
        engine: Engine,
        history: History,
        records: DriftRecords,
        agent: Callable[[], bool] = lambda: True,
        upstream: LookUpstream | None = None,
    ) -> None:
        self.engine = engine
        self.records = records
        self._history = history
        self._agent = agent
        self._upstream = upstream

    def look(self, project: str, *, deep: bool = False) -> tuple[Look, Look]:
        """Look now: everything that was found, and what of it is new since the last look.

        A ``deep`` one asks registries as well whether names have moved.
        """
        survey = self.engine.survey(project, deep=deep)
        notes = survey.notes
        if deep and self._upstream is not None:
            here, there, more = self._upstream(survey.tags)
            moved = Facts(kind="upstream", want=here, have=there)
            survey = msgspec.structs.replace(survey, facts=(*survey.facts, moved))
            notes = (*notes, *more)
        found = drift.compute(survey, self._record(survey))
        if self._history.rolling(project) is not None:
            notes = (*notes, "a rollout is under way: what it changes may show here")
        return self.records.keep(project, found, notes, survey.taken)

    def accept(self, project: str) -> None:
        """Take the host, and the names of the images, as they are now for what should be."""
        revision = self._history.active(project)
        if revision is None:
            raise Conflict(f"project {project!r} has no active revision", "`bennu apply` makes one")
        survey = self.engine.survey(project)
        self.records.keep_baseline(project, revision.number, _baseline(survey), time.time())

    def _record(self, survey: Survey) -> Record:
        project = survey.project
        revision, rolling = self._history.active(project), self._history.rolling(project)
        policy = self._history.policy(project)
        baseline = None
        if revision is not None:
            baseline = self.records.baseline(project, revision.number)
            if baseline is None:
                baseline = _baseline(survey)
                self.records.keep_baseline(project, revision.number, baseline, survey.taken)
        return Record(
            sets=None if revision is None or rolling is not None else dict(revision.sets),
            active=survey.active,
            baseline=baseline,
            max_age_seconds=None if policy is None else policy.max_age_seconds,
            agent=self._agent(),
        )


def _baseline(survey: Survey) -> Baseline:
    return Baseline(host=survey.host, tags=survey.tags)


Found = Callable[[Look, Look], None]
"""Told of a look of the agent's that found something new: all of it, and the news."""


def telling(say: Callable[[str], None], notify: NotifyHooks) -> Found:
    """What tells the log and the hooks of what the agent has found."""

    def found(whole: Look, news: Look) -> None:
        event = told(whole, news)
        say(f"{whole.project}: {event.reason}")
        notify(whole.project, "drift_found", reason=event.reason, key=event.key, detail=event.detail)

    return found


class DriftWatch:
    """The agent's chore: a cheap look at every project now and then, and soon after each switch."""

    def __init__(self, drifts: Drifts, history: History, say: Callable[[str], None], found: Found) -> None:
        self._drifts = drifts
        self._history = history
        self._errand = Errand("drift", say)
        self._found = found
        self._due: dict[str, tuple[int, float]] = {}

    def round(self, now: float) -> float:
        """Begin the look that is due, if one is."""
        projects = self._drifts.engine.projects()
        for project in self._due.keys() - set(projects):
            del self._due[project]
        for project in set(self._drifts.records.projects()) - set(projects):
            self._drifts.records.forget(project)
        later = EVERY_SECONDS
        for project in projects:
            when = self._when(project, now)
            if when <= now and self._errand.begin(lambda _cancel, name=project: self._look(name)):  # type: ignore[misc]
                self._due[project] = (self._due[project][0], now + EVERY_SECONDS)
                when = now + EVERY_SECONDS
            later = min(later, max(when - now, 1.0))
        return later

    def stop(self) -> None:
        """Wait for the look that is under way."""
        self._errand.stop()

    def _when(self, project: str, now: float) -> float:
        number = self._history.last_number(project)
        known = self._due.get(project)
        if known is None or known[0] != number or known[1] - now > EVERY_SECONDS:  # a clock that was set back
            self._due[project] = known = (number, now + SOON_SECONDS)
        return known[1]

    def _look(self, project: str) -> None:
        if self._history.rolling(project) is not None or self._history.active(project) is None:
            return
        whole, news = self._drifts.look(project)
        if news.own:
            self._found(whole, news)
