"""``windows`` of ``x-bennu``: ``mon-fri 02:00-05:00 Europe/Berlin``. Days and zone may be left out: every day, UTC.

Days are names, ranges of names and lists of both; a range may go past Sunday. ``24:00`` is the end of the day.
"""

from __future__ import annotations

import re
from typing import Final
from zoneinfo import ZoneInfo

from bennu.compose.extension import Window
from bennu.compose.fields import Field

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TIMES: Final = re.compile(r"([0-2][0-9]):([0-5][0-9])-([0-2][0-9]):([0-5][0-9])")
_ZONE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_+/-]*")
_DAY_MINUTES: Final = 24 * 60


def read_windows(field: Field | None) -> tuple[Window, ...]:
    """The windows in their order."""
    if field is None:
        return ()
    found = (item.read(window) for item in field.items_or_one())
    return tuple(one for one in found if one is not None)


def window(text: str) -> Window:
    """One window. ``ValueError`` says what is wrong with it."""
    words = text.split()
    times = [number for number, word in enumerate(words) if _TIMES.fullmatch(word)]
    if len(times) != 1 or len(words) > times[0] + 2 or times[0] > 1:
        raise ValueError(f"{text!r} is no window such as 'mon-fri 02:00-05:00 Europe/Berlin'")
    at = times[0]
    start, end = _minutes(words[at])
    zone = words[at + 1] if len(words) > at + 1 else "UTC"
    return Window(days=_days(words[0]) if at else tuple(range(7)), start=start, end=end, zone=_zone(zone))


def window_text(one: Window) -> str:
    """A window as it is read."""
    days = ",".join(DAYS[day] for day in one.days)
    return f"{days} {_clock(one.start)}-{_clock(one.end)} {one.zone}"


def _minutes(text: str) -> tuple[int, int]:
    hours, minutes, end_hours, end_minutes = (int(part) for part in re.split("[:-]", text))
    start, end = hours * 60 + minutes, end_hours * 60 + end_minutes
    if start >= _DAY_MINUTES or end > _DAY_MINUTES:
        raise ValueError(f"{text!r} is not between 00:00 and 24:00")
    if start == end:
        raise ValueError(f"{text!r} is no time at all; the whole day is 00:00-24:00")
    return start, end


def _days(text: str) -> tuple[int, ...]:
    days: set[int] = set()
    for part in text.lower().split(","):
        first, dash, last = part.partition("-")
        for name in (first, last) if dash else (first,):
            if name not in DAYS:
                raise ValueError(f"{name!r} is no day; days are {', '.join(DAYS)}")
        start, end = DAYS.index(first), DAYS.index(last if dash else first)
        days.update(day % 7 for day in range(start, end + 1 if end >= start else end + 8))
    return tuple(sorted(days))


def _zone(name: str) -> str:
    try:
        known = bool(_ZONE.fullmatch(name)) and ZoneInfo(name) is not None
    except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        known = False
    if not known:
        raise ValueError(f"{name!r} is no time zone that this host knows, such as Europe/Berlin")
    return name


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
