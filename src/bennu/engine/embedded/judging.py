"""Is a new set good enough under traffic? What its limits say of its figures, and of the old set's. Pure.

A share of failures is judged once there are so many answers that one failure alone does not decide (100 for a limit of
1 %, never fewer than ``LEAST_ANSWERS``); the time of 99 % of the answers once there are ``LEAST_TIMES``. Before the end
only what would hardly get better is refused: a time over its limit for more than one answer in twenty. At the end the
limits hold as they are written. Requests that were begun and are not answered count as slow, so that a set which hangs
is not taken for one that nobody asked.
"""

from __future__ import annotations

import math
from typing import Final

from bennu.compose.extension import Tolerance
from bennu.switch.meter import PERCENTILE, Figures

LEAST_ANSWERS: Final = 20
LEAST_TIMES: Final = 100
EARLY_SHARE: Final = 0.95


def refusal(limits: Tolerance, new: Figures, old: Figures, *, final: bool) -> str | None:
    """Why a new set is not good enough, with its figures; None if it is, or if nothing can be told yet."""
    return _failures(limits, new, old, final=final) or _times(limits, new, old, final=final) or _hanging(new, final)


def described(figures: Figures) -> str:
    """``812 answers, 3 failed (0.4%), 99% within 34 ms``."""
    text = f"{figures.answers} answers, {figures.failures} failed ({figures.failed_share:.1%})"
    p99 = figures.p99_seconds
    return text if p99 is None else f"{text}, 99% within {_time(p99)}"


def _failures(limits: Tolerance, new: Figures, old: Figures, *, final: bool) -> str | None:
    most, more, share = limits.max_error_share, limits.more_error_share, new.failed_share
    said = f"{new.failures} of {new.answers} answers failed ({share:.1%}"
    if most is not None and share > most and _tells(new, most, final=final):
        return f"{said}, at most {_percent(most)} is allowed)"
    compares = more is not None and old.answers >= LEAST_ANSWERS and _tells(new, more, final=final)
    if more is not None and compares and share > old.failed_share + more:
        before = f"{old.failures} of {old.answers} of the old set, {old.failed_share:.1%}"
        return f"{said}; {before}; at most {_percent(more)} more is allowed)"
    return None


def _tells(new: Figures, limit: float, *, final: bool) -> bool:
    wanted = LEAST_ANSWERS if final or limit <= 0 else max(LEAST_ANSWERS, math.ceil(1 / limit))
    return new.answers >= wanted


def _times(limits: Tolerance, new: Figures, old: Figures, *, final: bool) -> str | None:
    share = PERCENTILE if final else EARLY_SHARE
    took = new.quantile_seconds(share)
    if took is None or new.timed < LEAST_TIMES:
        return None
    said = f"{share:.0%} of {new.timed} answers took up to {_time(took)}"
    if math.isinf(took):
        said = f"more than {1 - share:.0%} of {new.timed} requests are not answered yet"
    if limits.max_p99_seconds is not None and took > limits.max_p99_seconds:
        return f"{said} (99% within {_time(limits.max_p99_seconds)} is wanted)"
    before = old.p99_seconds
    if before is None or old.timed < LEAST_TIMES:
        return None
    allowed = _allowed(limits, before)
    if allowed is not None and took > allowed:
        return f"{said}; of the old set 99% within {_time(before)}, and at most {_time(allowed)} is allowed"
    return None


def _allowed(limits: Tolerance, before: float) -> float | None:
    """The time that the old set's allows."""
    if limits.more_p99_seconds is not None:
        return before + limits.more_p99_seconds
    return None if limits.more_p99_share is None else before * (1 + limits.more_p99_share)


def _hanging(new: Figures, final: bool) -> str | None:
    if final and new.answers < LEAST_ANSWERS <= new.pending:
        return f"{new.pending} requests are not answered, {new.answers} were"
    return None


def _percent(share: float) -> str:
    return f"{share * 100:.3g}%"


def _time(seconds: float) -> str:
    if math.isinf(seconds):
        return "no time known yet"
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"
