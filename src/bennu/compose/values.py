"""The texts of single values: durations, sizes, numbers, booleans, command lines.

Each function takes the text and returns the value, or raises ``ValueError`` with a message that says what is wrong with
it and how it should look. Sources: the Compose Specification, 11-extension.md ("Specifying durations", "Specifying byte
values") and 05-services.md. ``fields`` calls these and adds the place.
"""

from __future__ import annotations

import re
import shlex
from decimal import Decimal
from typing import Final

from bennu.compose.nodes import core_int, core_kind

_DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:us|µs|ms|[smhdw]))+")
_DURATION_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(us|µs|ms|[smhdw])")
_SECONDS: Final = {
    "us": Decimal("0.000001"),
    "µs": Decimal("0.000001"),
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86400),
    "w": Decimal(604800),
}
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([kmgtp])(?:i?b)?|b)?", re.IGNORECASE)
_SIZE_POWER: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_TRUE: Final = frozenset({"true", "1", "yes", "y", "on", "t"})
_FALSE: Final = frozenset({"false", "0", "no", "n", "off", "f"})


def duration_seconds(text: str) -> float:
    """``1m30s``, ``2.5s``, ``10ms``, ``7d``: units us, ms, s, m, h, d, w. ``0`` needs none."""
    if text == "0":
        return 0.0
    if not _DURATION.fullmatch(text):
        hint = f"; perhaps {text + 's'!r}" if core_kind(text) in ("int", "float") else ""
        raise ValueError(f"{text!r} is not a duration such as 10s or 1m30s{hint}")
    total = sum((Decimal(number) * _SECONDS[unit] for number, unit in _DURATION_PART.findall(text)), Decimal(0))
    return float(total)


def duration_text(seconds: float) -> str:
    """The shortest spelling of a duration in hours, minutes and seconds (or parts of one)."""
    if seconds == 0:
        return "0s"
    micros = round(seconds * 1_000_000)
    if micros < 1_000_000:
        return f"{micros // 1000}ms" if micros % 1000 == 0 else f"{micros}us"
    whole, part = divmod(micros, 1_000_000)
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    second = f"{left}.{part:06d}".rstrip("0") if part else str(left)
    pieces = ((str(hours), "h"), (str(minutes), "m"), (second, "s"))
    return "".join(number + unit for number, unit in pieces if number != "0")


def size_bytes(text: str) -> int:
    """``512m``, ``1.5gb``, ``64k``, ``1024``: units of 1024 bytes, bytes where there is none."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a size such as 64m or 1.5gb")
    return int(Decimal(match[1]) * 1024 ** _SIZE_POWER[(match[2] or "").lower()])


def integer(text: str) -> int:
    """A whole number."""
    try:
        return core_int(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a whole number") from None


def number(text: str) -> float:
    """A finite decimal number."""
    if core_kind(text) not in ("int", "float") or "n" in text.lower():
        raise ValueError(f"{text!r} is not a number")
    return float(core_int(text)) if core_kind(text) == "int" else float(text)


def share(text: str) -> float:
    """A part of a whole: ``1%`` or ``0.01``. ``ValueError``."""
    value = number(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    if not 0 <= value <= 1:
        raise ValueError(f"{text!r} is no share of a whole")
    return value


def boolean(text: str) -> bool:
    """``true`` or ``false``; what YAML 1.1 and Compose took for them too, where a boolean is the only thing wanted."""
    lowered = text.lower()
    if lowered in _TRUE:
        return True
    if lowered in _FALSE:
        return False
    raise ValueError(f"{text!r} is neither true nor false")


def file_mode(text: str) -> int:
    """Permission bits: octal with or without ``0o``, as chmod takes them."""
    digits = text.removeprefix("0o")
    if not re.fullmatch(r"[0-7]{1,5}", digits) or int(digits, 8) > 0o7777:
        raise ValueError(f"{text!r} is not an octal mode such as 1777")
    return int(digits, 8)


def words(text: str) -> tuple[str, ...]:
    """A command line split as a shell splits words: quotes and backslashes, nothing else."""
    try:
        return tuple(shlex.split(text))
    except ValueError:
        raise ValueError(f"{text!r} has a quote that is never closed") from None


def ports(text: str) -> tuple[int, int]:
    """A port or a range of ports, as its first and its last."""
    first, dash, last = text.partition("-")
    numbers = [int(part) for part in ((first, last) if dash else (first,)) if re.fullmatch(r"[0-9]{1,5}", part)]
    if len(numbers) != (2 if dash else 1):
        raise ValueError(f"{text!r} is not a port")
    if not all(0 <= each <= 65535 for each in numbers):
        raise ValueError(f"{text!r} is not a port: ports go from 1 to 65535")
    if numbers[0] > numbers[-1]:
        raise ValueError(f"range {text!r} ends before it begins")
    return numbers[0], numbers[-1]
