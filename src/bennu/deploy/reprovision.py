"""Reprovisioning: which set is due to be made again from scratch, and when. Pure.

A set is as old as its oldest replica. It is due when it reaches ``max_age``, less its share of ``jitter``: a fixed part
of it that comes from the set's name, so that sets which were born together do not go together and every process comes
to the same moment. From then on it goes in the next window. What failed waits an hour, then two, four and so on, a day
at most, and one replacement never follows another at once, whatever the clock has done. A held replica is no part of
its set any more and stays; a set in which one is held in its place is exempt. So is a job, which would do its work
again. ``upkeep`` has it done, ``drills`` remembers what came of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from bennu.compose.extension import Window
from bennu.compose.struct import Value
from bennu.deploy.policy import Policy
from bennu.engine.sets import Observation, SetId, SetObservation

SPACING_SECONDS: Final = 60.0
FIRST_RETRY_SECONDS: Final = 3600.0
LONGEST_RETRY_SECONDS: Final = 86400.0
DAYS_AHEAD: Final = 8
_MINUTE: Final = 60
_DAY_MINUTES: Final = 24 * 60


class Attempt(Value, frozen=True, kw_only=True, omit_defaults=True):
    """What came of the last reprovisioning of a service: when it ended, and how many have failed in a row since one
    went well.
    """

    finished: float
    failures: int = 0


class Due(Value, frozen=True, kw_only=True, omit_defaults=True):
    """The active set of a service: its age in seconds, and when it goes (Unix seconds).

    ``at`` is None where it never goes by itself; ``reason`` says why, or what it waits for.
    """

    service: str
    set: SetId
    age_seconds: float
    at: float | None
    reason: str = ""


def schedule(
    observation: Observation,
    policy: Policy,
    now: float,
    *,
    jobs: Collection[str] = (),
    attempts: Mapping[str, Attempt] | None = None,
) -> tuple[Due, ...]:
    """All active sets, those that go first in front. ``jobs``: services that end; see ``plan.jobs_of``."""
    held = {hold.name for hold in observation.holds if hold.in_set}
    found = [
        _due(each, policy, now, held=held, jobs=jobs, attempts=attempts or {})
        for service in observation.active
        if (each := observation.active_set(service)) is not None
    ]
    return tuple(sorted(found, key=lambda due: (due.at is None, due.at or 0.0, due.service)))


def _due(
    found: SetObservation,
    policy: Policy,
    now: float,
    *,
    jobs: Collection[str],
    held: Collection[str],
    attempts: Mapping[str, Attempt],
) -> Due:
    service = found.spec.service.name
    born = birth(found, now)

    def answer(at: float | None, reason: str = "") -> Due:
        return Due(service=service, set=found.id, age_seconds=now - born, at=at, reason=reason)

    if policy.max_age_seconds is None:
        return answer(None, "no max_age")
    if service in jobs:
        return answer(None, "a job is not done again")
    if not found.replicas:
        return answer(None, "it has no replicas")
    holding = sorted(replica.name for replica in found.replicas if replica.name in held)
    if holding:
        return answer(None, f"{', '.join(holding)} is held")
    aged = born + policy.max_age_seconds - jitter_seconds(found.id, policy.jitter_seconds)
    free = max((each.finished + SPACING_SECONDS for each in attempts.values() if each.finished <= now), default=aged)
    last = attempts.get(service)
    again = last.finished + retry_seconds(last.failures) if last and last.failures and last.finished <= now else aged
    at = opening(policy.windows, max(aged, free if aged <= now else aged, again))
    if at is not None and at <= now:
        at = opening(policy.windows, now)
    if at is None:
        return answer(None, "no window ever opens")
    return answer(
        at, "the last try failed" if again > max(aged, now) else "waits for its window" if aged <= now < at else ""
    )


def birth(found: SetObservation, now: float) -> float:
    """When the oldest replica of a set was made; never in the future, whatever the clock has done since."""
    return min((min(replica.created, now) for replica in found.replicas), default=now)


def jitter_seconds(name: SetId, jitter: float) -> float:
    """A set's share of the jitter: at least 0, less than all of it, and always the same."""
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:6])
    return jitter * number / 2**48


def retry_seconds(failures: int) -> float:
    """How long to wait after the n-th failure in a row."""
    return min(FIRST_RETRY_SECONDS * 2.0 ** min(failures - 1, 10), LONGEST_RETRY_SECONDS)


def opening(windows: Sequence[Window], at: float) -> float | None:
    """The first moment from ``at`` on that is in a window; without windows every moment is. None if none ever is."""
    if not windows:
        return at
    starts = [max(at, start) for one in windows for start, end in _openings(one, at) if end > max(start, at)]
    return min(starts, default=None)


def _openings(window: Window, at: float) -> Iterator[tuple[float, float]]:
    """When a window opens and closes, from the day before ``at`` on."""
    zone = ZoneInfo(window.zone)
    today = datetime.fromtimestamp(at, zone).date()
    for offset in range(-1, DAYS_AHEAD + 1):
        day = today + timedelta(days=offset)
        if day.weekday() in window.days:
            following = day + timedelta(days=1) if window.end <= window.start else day
            yield _moment(day, window.start, zone), _moment(following, window.end, zone)


def _moment(day: date, minutes: int, zone: ZoneInfo) -> float:
    """The moment at which the clock of a zone shows a time of a day: of two, the first; for one that daylight saving
    skips, the moment of the jump.
    """
    days, rest = divmod(minutes, _DAY_MINUTES)
    day += timedelta(days=days)
    local = datetime(day.year, day.month, day.day, rest // 60, rest % 60, tzinfo=zone)
    first, last = local.timestamp(), local.replace(fold=1).timestamp()
    if first <= last:
        return first
    before = datetime.fromtimestamp(last, zone).utcoffset()
    moment = last
    while moment < first and datetime.fromtimestamp(moment, zone).utcoffset() == before:
        moment += _MINUTE
    return moment


def shown(moment: float, windows: Sequence[Window]) -> str:
    """A moment for people, by the clock of the first window's zone: ``Mon 2026-03-02 02:15 Europe/Berlin``."""
    zone = windows[0].zone if windows else "UTC"
    local = datetime.fromtimestamp(moment, UTC).astimezone(ZoneInfo(zone))
    return f"{local:%a %Y-%m-%d %H:%M} {zone}"
