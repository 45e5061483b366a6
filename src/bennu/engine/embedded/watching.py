"""Watching a set that has just got the traffic: does a replica end or fall ill, are its answers bad or slow?

The old set has no traffic any more; what the new one is compared with is what the old one answered before the switch,
as far as HAProxy has counted it.
"""

from __future__ import annotations

import threading
import time
from typing import Final

from bennu.engine.actions import WatchSet
from bennu.engine.base import Report
from bennu.engine.embedded.judging import described, refusal
from bennu.engine.embedded.measuring import Measurement
from bennu.engine.embedded.wellness import Wellness
from bennu.errors import Failed
from bennu.switch.meter import Figures, so_far

POLL_SECONDS: Final = 0.25
TELL_SECONDS: Final = 5.0
"""How often figures are told."""


def watch(
    action: WatchSet, wellness: Wellness, measured: Measurement, report: Report, cancel: threading.Event
) -> Figures:
    """Return when the time is up, or on ``cancel``, with what was answered. ``Failed`` when the set is not well."""
    told = time.monotonic()
    deadline = told + action.seconds
    old = so_far(measured.first, action.old) if action.old is not None else Figures()
    report(f"watched for {action.seconds:g} s")
    while True:
        left = deadline - time.monotonic()
        measured.take()
        seen = measured.figures(action.set)
        reason = refusal(action.limits, seen, old, final=left <= 0)
        if reason is not None:
            raise Failed(f"set {action.set}: {reason} while it was watched")
        wellness.check()
        if time.monotonic() - told >= TELL_SECONDS:
            told = time.monotonic()
            report(described(seen))
        if left <= 0 or cancel.wait(min(left, POLL_SECONDS)):
            return seen
