r"""Go's ``filepath.Match``, which decides what a wildcard of COPY and ADD means.

``*`` and ``?`` do not cross a slash, ``[...]`` takes ranges and ``^`` and may match a slash, a backslash escapes the
next character; there is no ``**`` and a leading dot is nothing special. ``Pattern`` matches a whole relative path;
``split_wildcards`` gives the part of a source path that need not be searched. ``ignore`` shares the classes.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

NO_SLASH: Final = "[^/]"


class BadPatternError(ValueError):
    """The pattern is malformed; ``str()`` says how."""


class Pattern:
    """A compiled pattern. Raises ``BadPatternError`` for one that Go refuses."""

    def __init__(self, text: str) -> None:
        self.text = text
        tokens = tokenize(text)
        self._whole = re.compile(expression_of(tokens), re.DOTALL)
        self._parents = parent_expressions(tokens)

    def matches(self, path: str) -> bool:
        """Whether the pattern matches all of ``path``, which is relative and separated by slashes."""
        return self._whole.fullmatch(path) is not None

    def may_match_below(self, directory: str) -> bool:
        """Whether some path below ``directory`` could match; False means that it need not be walked."""
        return may_match_below(self._parents, directory)


class Token(NamedTuple):
    """One character, wildcard or class as a regular expression; ``crosses`` is True where it may match a slash."""

    expression: str
    crosses: bool = False
    separator: bool = False


STAR: Final = Token(f"{NO_SLASH}*")


def expression_of(tokens: list[Token]) -> str:
    """One regular expression for a sequence of tokens.

    Between two stars the leftmost fit of what stands there is as good as any other, since the second star takes up the
    difference. It is kept once found (an atomic group), so that many stars cost no more than one. A token that may
    match a slash ends such a stretch.
    """
    parts: list[str] = []
    waiting: list[str] | None = None  # what has been seen since the last star
    for token in tokens:
        if token == STAR:
            if waiting is not None:
                parts.append(f"(?>{NO_SLASH}*?{''.join(waiting)})" if waiting else "")
            waiting = []
        elif token.crosses:
            parts += ([STAR.expression, *waiting] if waiting is not None else []) + [token.expression]
            waiting = None
        else:
            (parts if waiting is None else waiting).append(token.expression)
    return "".join([*parts, *([STAR.expression, *waiting] if waiting is not None else [])])


def tokenize(text: str, *, is_expression: bool = False) -> list[Token]:
    """A pattern's tokens. Raises ``BadPatternError``. ``is_expression``: BuildKit makes a regular expression of it, so
    that no range may go backwards.
    """
    tokens: list[Token] = []
    at = 0
    while at < len(text):
        ch = text[at]
        at += 1
        if ch == "*":
            tokens.append(STAR)
        elif ch == "?":
            tokens.append(Token(NO_SLASH))
        elif ch == "[":
            token, at = character_class(text, at, is_expression=is_expression)
            tokens.append(token)
        elif ch == "\\":
            if at == len(text):
                raise BadPatternError(f"pattern '{text}' ends in a backslash")
            tokens.append(Token(re.escape(text[at]), separator=text[at] == "/"))
            at += 1
        else:
            tokens.append(Token(re.escape(ch), separator=ch == "/"))
    return tokens


def character_class(text: str, at: int, *, is_expression: bool = False) -> tuple[Token, int]:
    """The class whose ``[`` stands before ``at``, and the offset behind its ``]``. Raises ``BadPatternError``."""
    negated = text.startswith("^", at)
    at += negated
    ranges: list[tuple[str, str]] = []
    while not (ranges and text.startswith("]", at)):
        low, at = _class_character(text, at)
        high = low
        if text.startswith("-", at):
            high, at = _class_character(text, at + 1)
        if is_expression and low > high:
            raise BadPatternError(f"pattern '{text}' has the range {low}-{high}, which goes backwards")
        ranges.append((low, high))
    inside = "".join(f"{re.escape(low)}-{re.escape(high)}" for low, high in ranges if low <= high)
    crosses = negated != any(low <= "/" <= high for low, high in ranges)
    if not inside:  # nothing but empty ranges such as z-a
        return Token("." if negated else "(?!)", crosses=negated), at + 1
    return Token(f"[{'^' if negated else ''}{inside}]", crosses=crosses), at + 1


def _class_character(text: str, at: int) -> tuple[str, int]:
    escaped = text.startswith("\\", at)
    at += escaped
    if at >= len(text) or (not escaped and text[at] in "-]"):
        raise BadPatternError(f"pattern '{text}' has a malformed character class")
    return text[at], at + 1


def parent_expressions(tokens: list[Token]) -> tuple[re.Pattern[str] | None, ...]:
    """For each depth from 1 on, what a directory there must match for the pattern to match something below it.

    None at a depth stands for any directory there and further down: the pattern crosses slashes from there on.
    """
    parents: list[re.Pattern[str] | None] = []
    so_far: list[str] = []
    for token in tokens:
        if token.crosses:
            return (*parents, None)
        if token.separator:
            parents.append(re.compile("".join(so_far), re.DOTALL))
        so_far.append(token.expression)
    return tuple(parents)


def may_match_below(parents: tuple[re.Pattern[str] | None, ...], directory: str) -> bool:
    """Whether ``directory`` satisfies what ``parent_expressions`` found. All its own parents must have."""
    parts = directory.split("/")
    for depth in range(1, len(parts) + 1):
        if depth > len(parents):
            return False
        expression = parents[depth - 1]
        if expression is None:
            return True
        if expression.fullmatch("/".join(parts[:depth])) is None:
            return False
    return True


def has_wildcards(path: str) -> bool:
    """Whether a source path is to be searched for; escaped wildcards do not count."""
    return re.search(r"[*?[]", re.sub(r"\\.", "", path, flags=re.DOTALL)) is not None


def split_wildcards(path: str) -> tuple[str, str]:
    """The leading components without wildcards, and the rest, which is the empty string where there are none."""
    parts = path.split("/")
    for index, part in enumerate(parts):
        if has_wildcards(part):
            return "/".join(parts[:index]), "/".join(parts[index:])
    return path, ""
