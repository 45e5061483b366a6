"""How much the build cache may take on the disk. Pure: the size of the file system is an argument.

``BENNU_BUILD_CACHE_LIMIT`` is a size (``20GB``, ``512MiB``), a part of the file system (``10%``) or ``none``. Without
it the limit is 20 GB, or a quarter of the file system where that is less.
"""

from __future__ import annotations

import re
from typing import Final

from bennu.errors import Invalid

VARIABLE: Final = "BENNU_BUILD_CACHE_LIMIT"
DEFAULT_BYTES: Final = 20_000_000_000
DEFAULT_PART: Final = 4

_WRITTEN: Final = r"(\d+(?:\.\d+)?)\s*(%|(?:([kmgtp])(i?))?b?)"


def limit_bytes(written: str | None, file_system_bytes: int) -> int | None:
    """The limit in bytes, None for none. Units are decimal, those with an ``i`` binary. ``Invalid``."""
    if written is None:
        return min(DEFAULT_BYTES, file_system_bytes // DEFAULT_PART)
    return parse_limit(written, file_system_bytes, VARIABLE)


def parse_limit(written: str, file_system_bytes: int, what: str) -> int | None:
    """A limit as it is written; ``what`` names it in errors."""
    text = written.strip()
    if text.lower() == "none":
        return None
    match = re.fullmatch(_WRITTEN, text, re.IGNORECASE)
    if match is None:
        raise Invalid(f"{what} is {written!r}, which is no size", "write it as 20GB, 512MiB, 10% or none")
    number = float(match[1])
    if match[2] == "%":
        if number > 100:
            raise Invalid(f"{what} is {written!r}, which is more than there is", "write it as 20GB, 10% or none")
        return int(file_system_bytes * number / 100)
    power = " kmgtp".index((match[3] or " ").lower())
    return int(number * (1024 if match[4] else 1000) ** power)
