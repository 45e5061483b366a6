"""Words of the command line as values: the converters that several verbs' records share. Pure.

Each raises ValueError with the rest of a sentence ("is not a size, such as 512m"), as ``Arg.convert`` asks.
"""

from __future__ import annotations

import re
from typing import Final

_SIZE: Final = r"(\d+(?:\.\d+)?)\s*([kmgtp]?)i?b?"  # compiled at their first use: every verb imports this module
_DURATION_PART: Final = r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h|d)"
_SECONDS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def size_bytes(word: str) -> int:
    """``512m`` in bytes; units are powers of 1024, as Docker reads them for memory."""
    match = re.fullmatch(_SIZE, word.strip(), re.IGNORECASE)
    if match is None:
        raise ValueError("is not a size, such as 512m")
    return int(float(match[1]) * 1024 ** " kmgtp".index(match[2].lower() or " "))


def storage_bytes(word: str) -> int:
    """``20GB`` in bytes; units are powers of 1000, as Docker reads them for disks, and of 1024 with an ``i``."""
    match = re.fullmatch(_SIZE, word.strip(), re.IGNORECASE)
    if match is None:
        raise ValueError("is not a size, such as 20GB")
    return int(float(match[1]) * (1024 if "i" in word.lower() else 1000) ** " kmgtp".index(match[2].lower() or " "))


def duration_seconds(word: str) -> float:
    """``1h30m``, ``500ms``, ``7d`` or a bare number of seconds, in seconds."""
    try:
        return float(word) if word.replace(".", "", 1).isdigit() else _parts(word)
    except ValueError:
        raise ValueError("is not a duration, such as 90s or 1h30m") from None


def _parts(word: str) -> float:
    found = list(re.finditer(_DURATION_PART, word))
    if not found or "".join(part[0] for part in found) != word:
        raise ValueError(word)
    return sum(float(part[1]) * _SECONDS[part[2]] for part in found)


def positive(word: str) -> float:
    """A number above zero, such as a count of CPUs."""
    try:
        number = float(word)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise ValueError("is not a number above zero")
    return number


def count(word: str) -> int:
    """A whole number, zero or more."""
    if not (word.isascii() and word.isdigit()):
        raise ValueError("is not a whole number")
    return int(word)


def listed(word: str) -> tuple[str, ...]:
    """Names with commas between them."""
    names = tuple(name.strip() for name in word.split(","))
    if not all(names):
        raise ValueError("has an empty name in it")
    return names


def assignment(word: str) -> tuple[str, str | None]:
    """``K=V`` in two; the value is None where there is no ``=`` (take it from the environment)."""
    name, equals, value = word.partition("=")
    if not name:
        raise ValueError("has no name before the '='")
    return name, value if equals else None


def ulimit(word: str) -> tuple[str, int, int]:
    """``NAME=SOFT[:HARD]`` in three; -1 is unlimited."""
    name, _, values = word.partition("=")
    soft, _, hard = values.partition(":")
    try:
        return name, int(soft), int(hard or soft)
    except ValueError:
        raise ValueError("is not NAME=SOFT[:HARD]") from None


def host_address(word: str) -> tuple[str, str]:
    """``NAME:ADDRESS`` or ``NAME=ADDRESS`` in two; brackets around an IPv6 address are taken away."""
    name, separator, address = word.partition("=") if "=" in word else word.partition(":")
    if not name or not separator or not address:
        raise ValueError("is not NAME:ADDRESS")
    return name, address.strip("[]")


_CALLS: Final = ("build", "check", "outline", "targets")


def call(word: str) -> tuple[str, bool]:
    """``METHOD[,format=json]`` of ``bennu build --call``: the method, and whether it is to be shown as JSON."""
    name, *rest = word.split(",")
    if name not in _CALLS:
        raise ValueError(f"is not one of {', '.join(_CALLS)}")
    if not {*rest} <= {"format=json", "format=text"}:
        raise ValueError("is not METHOD or METHOD,format=json")
    return name, "format=json" in rest
