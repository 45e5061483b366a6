"""Moments on a clock that people and time servers set. Pure.

What has to outlive a process is remembered in Unix seconds, and that clock jumps. Forward it makes things due early,
which does no harm. Back it would put off for as long what was due within seconds: hence ``believable``. Waits inside a
process use the monotonic clock and need none of this.
"""

from __future__ import annotations


def believable(due: float, now: float, longest_seconds: float) -> float:
    """``due``, or ``now`` where it lies further ahead than it can have been put: the clock has been set back since."""
    return due if due - now <= longest_seconds else now
