"""What sets have answered, and how fast: from HAProxy's own counters, which only ever grow. Pure.

A *reading* is all counters of a moment, those of every process. A ``Meter`` adds up what came between readings, so that
two sets can be compared over the same time, and so that a server that was added anew or a process that ended takes
nothing away. Failures are what a client saw: answers of 500 and above, connections that could not be made after all
retries, and answers that broke off. Times are those of ``config``'s tables.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from bennu.switch.control import Counters

BEGUN: Final = -1
ANSWERED: Final = -2
FAILED: Final = -3
ENDED: Final = -4
"""Begun, and no longer waited for without an answer: tried again elsewhere, or given up by the client."""
PERCENTILE: Final = 0.99


class Count(NamedTuple):
    """One counter: whose it is, what it counts (a time in microseconds, or one of the above), and where it stands."""

    set: str
    what: int
    where: str


Reading = Mapping[Count, int]


@dataclass(frozen=True, slots=True)
class Figures:
    """What a set has done. ``times``: answers by microseconds, rounded down.

    ``pending``: requests that have no answer yet and whose client still waits. In TCP mode a connection that could be
    made is an answer, and there are no times.
    """

    answers: int = 0
    failures: int = 0
    pending: int = 0
    times: Mapping[int, int] = field(default_factory=dict)

    @property
    def failed_share(self) -> float:
        """Failures in all answers, 0 to 1."""
        return self.failures / self.answers if self.answers else 0.0

    @property
    def timed(self) -> int:
        """How many requests ``slower_than`` and ``p99_seconds`` are of."""
        return sum(self.times.values()) + (self.pending if self.times else 0)

    @property
    def p99_seconds(self) -> float | None:
        """The time within which 99 % of the requests were answered; infinite if too many still wait, None: no times."""
        return self.quantile_seconds(PERCENTILE)

    def quantile_seconds(self, share: float) -> float | None:
        """The time within which that share of the requests was answered."""
        if not self.times:
            return None
        left = math.ceil(share * self.timed)
        for micros in sorted(self.times):
            left -= self.times[micros]
            if left <= 0:
                return micros / 1e6
        return math.inf


class Meter:
    """Adds up what came after its first reading."""

    def __init__(self, first: Reading) -> None:
        self._last = dict(first)
        self._sums: dict[tuple[str, int], int] = {}

    def take(self, reading: Reading, *, timed: bool = True) -> None:
        """Take in the next reading. ``timed`` False: leave its times out, for the clock jumped."""
        for count, value in reading.items():
            before = self._last.get(count, 0)
            if timed or count.what < 0:
                key = (count.set, count.what)
                self._sums[key] = self._sums.get(key, 0) + (value - before if value >= before else value)
        self._last.update(reading)

    def figures(self, set_id: str) -> Figures:
        """What a set has done since the first reading."""
        return _figures({what: value for (name, what), value in self._sums.items() if name == set_id})


def so_far(reading: Reading, set_id: str) -> Figures:
    """What a set has done as far as HAProxy has counted it."""
    sums: dict[int, int] = {}
    for count, value in reading.items():
        if count.set == set_id:
            sums[count.what] = sums.get(count.what, 0) + value
    return _figures(sums)


def counts(pid: int, counters: Iterable[Counters], times: Mapping[tuple[str, int], int]) -> dict[Count, int]:
    """The reading of one HAProxy process."""
    found: dict[Count, int] = {}
    for one in counters:
        name = one.server.partition(":")[0]
        where = f"{pid}/{one.backend}/{one.server}"
        failures = one.server_errors + one.connect_failures + one.response_failures
        answered = one.answers + one.connect_failures + one.response_failures if one.is_http else one.requests
        found[Count(name, ANSWERED, where)] = answered
        found[Count(name, FAILED, where)] = failures if one.is_http else one.connect_failures
        found[Count(name, BEGUN, where)] = one.requests
        found[Count(name, ENDED, where)] = one.retries + one.aborts if one.is_http else 0
    for (name, micros), count in times.items():
        found[Count(name, micros, str(pid))] = count
    return found


def _figures(sums: Mapping[int, int]) -> Figures:
    answers = sums.get(ANSWERED, 0)
    times = {what: value for what, value in sums.items() if what >= 0 and value}
    pending = sums.get(BEGUN, 0) - sums.get(ENDED, 0) - answers
    return Figures(answers, sums.get(FAILED, 0), max(0, pending), times)
