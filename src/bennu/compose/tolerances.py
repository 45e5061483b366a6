"""``canary`` and ``watch`` of ``x-bennu``: how long a new set is looked at under traffic, and what is tolerated of it.

Both have the same limits: ``max_errors`` and ``max_p99`` are absolute, ``compare`` says how much worse than the old set
the new one may be. A canary that is given no limit of its errors is compared with the old set, since one without any
would let everything through that stays up.
"""

from __future__ import annotations

import re
from typing import Final

from bennu.compose import schema, values
from bennu.compose.extension import Canary, Tolerance, Watch
from bennu.compose.fields import Field
from bennu.compose.nodes import core_kind

DEFAULT_MORE_ERRORS: Final = 0.01
_PERCENT: Final = re.compile(r"([0-9]{1,3})%")


def read_watch(field: Field | None) -> Watch | None:
    """The watch: a duration alone, or with limits."""
    if field is None:
        return None
    if not field.is_mapping:
        seconds = field.read(values.duration_seconds)
        return Watch(seconds=seconds) if seconds else None
    if not schema.check(field, schema.WATCH, "'watch'"):
        return None
    seconds = _length(field)
    limits = _tolerance(field)
    return Watch(seconds=seconds, **_fields(limits)) if seconds else None


def read_canary(field: Field | None) -> Canary | None:
    """The canary: a duration alone, or with its weight and limits."""
    if field is None:
        return None
    if not field.is_mapping:
        seconds = field.read(values.duration_seconds)
        return Canary(seconds=seconds, more_error_share=DEFAULT_MORE_ERRORS) if seconds else None
    if not schema.check(field, schema.CANARY, "'canary'"):
        return None
    seconds = _length(field)
    found = _fields(_tolerance(field))
    if found["max_error_share"] is None and found["more_error_share"] is None:
        found["more_error_share"] = DEFAULT_MORE_ERRORS
    weight, least = field.get("weight"), field.get("min_requests")
    percent = weight.read(_percent) if weight else None
    requests = least.integer(1) if least else None
    return Canary(seconds=seconds, percent=percent or 10, min_requests=requests, **found) if seconds else None


def _length(field: Field) -> float | None:
    length = field.get("for")
    if length is None:
        field.fail("has no 'for'", "say how long: for: 60s")
        return None
    return length.read(values.duration_seconds)


def _tolerance(field: Field) -> Tolerance:
    errors, p99, compare = field.get("max_errors"), field.get("max_p99"), field.get("compare")
    if compare is not None and not schema.check(compare, schema.COMPARISON, "'compare'"):
        compare = None
    more, slower = (compare.get(key) if compare else None for key in ("errors", "p99"))
    text = slower.text() if slower else None
    is_share = text is not None and (text.endswith("%") or core_kind(text) == "float")
    return Tolerance(
        max_error_share=errors.read(values.share) if errors else None,
        max_p99_seconds=p99.read(values.duration_seconds) if p99 else None,
        more_error_share=more.read(values.share) if more else None,
        more_p99_seconds=slower.read(values.duration_seconds) if slower and not is_share else None,
        more_p99_share=slower.read(_growth) if slower and is_share else None,
    )


def _fields(limits: Tolerance) -> dict[str, float | None]:
    return {name: getattr(limits, name) for name in Tolerance.__struct_fields__}


def _percent(text: str) -> int:
    match = _PERCENT.fullmatch(text)
    if match is None or not 1 <= int(match[1]) <= 99:
        raise ValueError(f"{text!r} is no share of the traffic; write whole percents from 1% to 99%")
    return int(match[1])


def _growth(text: str) -> float:
    """``50%``, ``0.5`` or ``200%``: so much more."""
    value = values.number(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    if value < 0:
        raise ValueError(f"{text!r} is less than nothing")
    return value
