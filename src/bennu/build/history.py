"""The words of an image's history: what BuildKit writes for each instruction. Pure.

People and scanners read these lines, so they are spelled as BuildKit spells them, down to Go's notation for lists,
strings and durations. Which instruction makes an entry, and whether it made a layer, is for ``stages``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Final

from bennu.oci.image_config import Healthcheck

COMMENT: Final = "buildkit.dockerfile.v0"
_ESCAPES: Final = {
    "\a": r"\a",
    "\b": r"\b",
    "\f": r"\f",
    "\n": r"\n",
    "\r": r"\r",
    "\t": r"\t",
    "\v": r"\v",
    "\\": r"\\",
    '"': r"\"",
}
_UNITS: Final = (("h", 3_600_000_000_000), ("m", 60_000_000_000))
_SECOND: Final = 1_000_000_000


def listed(words: Iterable[str]) -> str:
    """Go's ``%v`` of strings: ``[a b]``."""
    return f"[{' '.join(words)}]"


def listed_quoted(words: Iterable[str]) -> str:
    """Go's ``%q`` of strings: ``["a" "b"]``."""
    return listed(quoted(word) for word in words)


def quoted(text: str) -> str:
    """Go's ``%q`` of one string."""
    return f'"{"".join(_escaped(ch) for ch in text)}"'


def _escaped(ch: str) -> str:
    if ch in _ESCAPES:
        return _ESCAPES[ch]
    if ch.isprintable():
        return ch
    code = ord(ch)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def duration(nanoseconds: int) -> str:
    """Go's ``time.Duration``: ``1m30s``, ``1h0m0s``, ``500ms``, ``0s``."""
    if 0 < nanoseconds < _SECOND:
        for unit, size in (("ms", 1_000_000), ("\u00b5s", 1_000), ("ns", 1)):
            if nanoseconds >= size:
                return _decimal(nanoseconds, size) + unit
    text = ""
    for unit, size in _UNITS:
        count, nanoseconds = divmod(nanoseconds, size)
        if count or text:
            text += f"{count}{unit}"
    return f"{text}{_decimal(nanoseconds, _SECOND)}s"


def _decimal(value: int, size: int) -> str:
    whole, rest = divmod(value, size)
    fraction = f"{rest:0{len(str(size)) - 1}}".rstrip("0") if rest else ""
    return f"{whole}.{fraction}" if fraction else str(whole)


def healthcheck(check: Healthcheck) -> str:
    """The entry of HEALTHCHECK: Go's ``%q`` of the structure, in which a number is a character."""
    periods = (check.interval_ns, check.timeout_ns, check.start_period_ns, check.start_interval_ns)
    times = " ".join(quoted(duration(period)) for period in periods)
    return f"HEALTHCHECK &{{{listed_quoted(check.test)} {times} {_character(check.retries)}}}"


def _character(number: int) -> str:
    if number > sys.maxunicode or 0xD800 <= number < 0xE000:
        number = 0xFFFD
    return "'\\''" if chr(number) == "'" else "'\"'" if chr(number) == '"' else f"'{_escaped(chr(number))}'"


def run(arguments: Iterable[str], build_args: Mapping[str, str]) -> str:
    """The entry of RUN: the build arguments in force with their number, then the whole command."""
    in_force = (f"|{len(build_args)}", *(f"{name}={value}" for name, value in build_args.items()))
    return " ".join(("RUN", *(in_force if build_args else ()), *arguments, "# buildkit"))
