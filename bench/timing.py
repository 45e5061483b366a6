"""Timings of whole processes for the benches: contenders in turn, medians, ratios.

Contenders take turns within one run, because a machine's speed drifts; a figure is only ever compared with figures of
the same run. Nothing here knows what is measured.
"""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Contender = Sequence[str] | Callable[[], object]


@dataclass(frozen=True, slots=True)
class Timing:
    """What one contender took, in seconds, round by round."""

    name: str
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def __str__(self) -> str:
        low, high = min(self.seconds), max(self.seconds)
        return f"{self.name:<32} {self.median:8.4f} s  ({low:.4f}-{high:.4f}, n={len(self.seconds)})"


def alternate(
    contenders: Mapping[str, Contender],
    rounds: int,
    *,
    warm_up: int = 1,
    before_each: Callable[[str], object] = lambda _name: None,
) -> dict[str, Timing]:
    """Time every contender once a round, in an order that turns by one each round.

    A contender is a command (which must exit with 0) or a function. ``before_each`` is not timed.
    """
    names = list(contenders)
    taken: dict[str, list[float]] = {name: [] for name in names}
    for number in range(-warm_up, rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            before_each(name)
            start = time.perf_counter()
            _do(contenders[name])
            seconds = time.perf_counter() - start
            if number >= 0:
                taken[name].append(seconds)
    return {name: Timing(name, tuple(seconds)) for name, seconds in taken.items()}


def report(timings: Mapping[str, Timing], against: str) -> None:
    """Print every timing, and its ratio to the one named ``against``."""
    base = timings[against].median
    for name, timing in timings.items():
        print(timing if name == against else f"{timing}  {timing.median / base:6.2f} x {against}")


def _do(contender: Contender) -> None:
    if callable(contender):
        contender()
        return
    done = subprocess.run(contender, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(contender)}: status {done.returncode}\n{done.stderr.decode(errors='replace')}")
