"""Sizes, ages and counts as people read them, in Docker's manner. Pure; time is an argument.

Sizes are decimal with three significant digits (``1.29kB``); ages are rounded the way Docker's listings are. Source of
the forms: the output of ``docker images`` and ``docker ps``.
"""

from __future__ import annotations

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_WEEK, _MONTH, _YEAR = 7 * _DAY, 30 * _DAY, 365 * _DAY


def size(size_bytes: float) -> str:
    """``0B``, ``999B``, ``1.29kB``, ``140MB``."""
    value = float(size_bytes)
    unit = 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value /= 1000
        unit += 1
    return f"{value:.3g}{_UNITS[unit]}"


def duration(seconds: float) -> str:
    """``Less than a second``, ``5 seconds``, ``About a minute``, ``3 hours``, ``2 weeks``."""
    whole = max(0, int(seconds))
    limit_and_text = (
        (1, "Less than a second"),
        (_MINUTE, _counted(whole, "second")),
        (2 * _MINUTE, "About a minute"),
        (_HOUR, _counted(whole // _MINUTE, "minute")),
        (1.5 * _HOUR, "About an hour"),
        (2 * _DAY, _counted(round(whole / _HOUR), "hour")),
        (2 * _WEEK, _counted(whole // _DAY, "day")),
        (2 * _MONTH, _counted(whole // _WEEK, "week")),
        (2 * _YEAR, _counted(whole // _MONTH, "month")),
    )
    return next((text for limit, text in limit_and_text if whole < limit), _counted(whole // _YEAR, "year"))


def age(seconds: float) -> str:
    """The shortest form, for columns: ``6s``, ``12m``, ``3h``, ``5d``."""
    whole = max(0, int(seconds))
    for unit, letter in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "m")):
        if whole >= 2 * unit or (unit == _MINUTE and whole >= unit):
            return f"{whole // unit}{letter}"
    return f"{whole}s"


def ago(then_seconds: float, now_seconds: float) -> str:
    """``3 hours ago``; a moment that lies ahead (a clock that jumped) counts as now."""
    return f"{duration(now_seconds - then_seconds)} ago"


def clock(seconds: float) -> str:
    """A measured time for progress lines: ``0.04s``, ``3.2s``, ``41s``, ``2m05s``, ``1h02m``."""
    if seconds < 1:
        return f"{seconds:.2f}s"
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole}s"
    if whole < _HOUR:
        return f"{whole // 60}m{whole % 60:02}s"
    return f"{whole // _HOUR}h{whole % _HOUR // 60:02}m"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
