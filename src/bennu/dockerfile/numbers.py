"""Numbers as Go writes them, since Dockerfiles do: durations, sizes, booleans.

Each function returns None for text that Go's parser refuses; the caller has the place and the words for the error.
"""

from __future__ import annotations

import re
from typing import Final

_NANOSECONDS: Final = {
    "ns": 1,
    "us": 1_000,
    "\u00b5s": 1_000,  # micro sign
    "\u03bcs": 1_000,  # Greek mu
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_TERM: Final = r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|\u00b5s|\u03bcs|ms|s|m|h)"  # re keeps what it has compiled
_SIZE: Final = r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+) ?(?:([kmgtp])i?)?b?"
_INT64_MAX: Final = 2**63 - 1


def duration_nanoseconds(text: str) -> int | None:
    """``time.ParseDuration``: a sign, then numbers with units without blanks (``1m30s``, ``1.5h``); ``0`` alone."""
    from fractions import Fraction  # seldom needed, and slow to load

    negative = text.startswith("-")
    body = text[1:] if text[:1] in ("+", "-") else text
    if body == "0":
        return 0
    pattern = re.compile(_TERM)
    total, at = Fraction(0), 0
    while at < len(body):
        term = pattern.match(body, at)
        if term is None:
            return None
        total += Fraction(term[1].rstrip(".")) * _NANOSECONDS[term[2]]
        at = term.end()
    if not body or total > _INT64_MAX:
        return None
    return -int(total) if negative else int(total)


def size_bytes(text: str) -> int | None:
    """A size in powers of 1024: ``64m``, ``1.5GiB``, ``4096``."""
    from fractions import Fraction

    found = re.fullmatch(_SIZE, text, re.IGNORECASE)
    if found is None:
        return None
    power = " kmgtp".index(found[2].lower()) if found[2] else 0
    return int(Fraction(found[1].rstrip(".")) * 1024**power)


def boolean(text: str) -> bool | None:
    """``strconv.ParseBool``."""
    if text in ("1", "t", "T", "TRUE", "true", "True"):
        return True
    if text in ("0", "f", "F", "FALSE", "false", "False"):
        return False
    return None


def unsigned(text: str, base: int = 10, bits: int = 32) -> int | None:
    """``strconv.ParseUint``: digits only, no sign, blank or underscore."""
    digits = "0123456789"[:base]
    if not text or any(ch not in digits for ch in text):
        return None
    value = int(text, base)
    return value if value < 2**bits else None
