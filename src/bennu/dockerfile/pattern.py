r"""The patterns inside ``${v#p}``, ``${v%p}`` and ``${v/p/r}``: ``*`` and ``?``, no brackets.

A backslash escapes ``*``, ``?`` and itself; before ``}`` and ``/`` it only kept those from ending the substitution.
Any other escape is refused, as BuildKit does. Wildcards do not cross a newline.
"""

from __future__ import annotations

import re
from functools import lru_cache


class BadPatternError(ValueError):
    """The pattern escapes something that cannot be escaped."""


def remove_prefix(value: str, pattern: str, *, longest: bool) -> str:
    """``value`` without the shortest (or longest) prefix that matches."""
    found = re.match("".join(_translate(pattern, longest)), value)
    return value if found is None else value[found.end() :]


def remove_suffix(value: str, pattern: str, *, longest: bool) -> str:
    """``value`` without the shortest (or longest) suffix that matches.

    A regular expression finds the leftmost match, not the shortest one that ends at the end; both sides are reversed.
    """
    found = re.match("".join(reversed(_translate(pattern, longest))), value[::-1])
    return value if found is None else value[: len(value) - found.end()]


def replace(value: str, pattern: str, replacement: str, *, everywhere: bool) -> str:
    """``value`` with the first (or every) longest match of the pattern replaced, literally."""
    expression = re.compile("".join(_translate(pattern, longest=True)))
    result: list[str] = []
    at, last_end = 0, -1
    for found in expression.finditer(value):
        if found.start() == found.end() == last_end:
            continue  # Go finds no empty match right behind another match; Python does
        result += (value[at : found.start()], replacement)
        at = last_end = found.end()
        if not everywhere:
            break
    return "".join((*result, value[at:]))


@lru_cache(maxsize=128)
def _translate(pattern: str, longest: bool) -> tuple[str, ...]:
    """The pattern as regular expression atoms, each of which reads the same in a reversed sequence."""
    atoms: list[str] = []
    at = 0
    while at < len(pattern):
        ch = pattern[at]
        at += 1
        if ch == "*":
            atoms.append(".*" if longest else ".*?")
        elif ch == "?":
            atoms.append(".")
        elif ch == "\\":
            escaped = pattern[at : at + 1]
            at += 1
            if escaped not in ("}", "/", "*", "?", "\\"):
                raise BadPatternError(f"nothing to escape in '\\{escaped}'")
            atoms.append(re.escape(escaped))
        else:
            atoms.append(re.escape(ch))
    return tuple(atoms)
