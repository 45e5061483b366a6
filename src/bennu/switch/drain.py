"""Drains: waiting until a set that is out of the traffic has nothing left to do, or its time is up.

The decision is pure (``next_step``); ``wait`` asks and sleeps around it. Two counts of nothing in a row are needed: a
request that was just being given its backend when the map changed is in no count for an instant.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from bennu.errors import Failed

FIRST_PAUSE_SECONDS: Final = 0.005
LONGEST_PAUSE_SECONDS: Final = 0.2
QUIET_COUNTS: Final = 2


@dataclass(frozen=True, slots=True)
class Progress:
    """A drain under way: how often in a row nothing was left, and how long to wait before the next count."""

    quiet: int = 0
    pause_seconds: float = FIRST_PAUSE_SECONDS


Verdict = Literal["done", "late"]


def next_step(progress: Progress, sessions: int, remaining_seconds: float) -> Progress | Verdict:
    """What a count of sessions means: finished, out of time, or wait and count again."""
    quiet = 0 if sessions else progress.quiet + 1
    if quiet >= QUIET_COUNTS:
        return "done"
    if remaining_seconds <= 0:
        return "late"
    pause = FIRST_PAUSE_SECONDS if quiet else min(progress.pause_seconds * 1.5, LONGEST_PAUSE_SECONDS)
    return Progress(quiet, min(pause, max(remaining_seconds, FIRST_PAUSE_SECONDS)))


def wait(count: Callable[[], int], timeout_seconds: float, cancel: threading.Event | None = None) -> int:
    """Wait until ``count`` stays 0 or time is up; the sessions that are left. ``Failed`` when ``cancel`` is set."""
    deadline = time.monotonic() + timeout_seconds
    signal = cancel or threading.Event()
    step: Progress | Verdict = Progress()
    while isinstance(step, Progress):
        left = count()
        step = next_step(step, left, deadline - time.monotonic())
        if isinstance(step, Progress) and signal.wait(step.pause_seconds):
            raise Failed("the drain was interrupted", "run the command again; it carries on")
    return left
