"""Errors as text: one clear message, where it is, what helps.

``render`` is pure and gives the lines for any ``BennuError``; ``main`` writes them to standard error. The order is
fixed: place and message, the source line with a caret, the last output of a failed command, the hint. Colours mark and
never carry meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from bennu.errors import BennuError, Failed, Invalid, InvalidMany

_Paint = Callable[[str, str], str]
_RED, _BLUE, _DIM, _BOLD, _END = "\x1b[31;1m", "\x1b[34m", "\x1b[2m", "\x1b[1m", "\x1b[0m"


def render(error: BennuError, *, coloured: bool) -> str:
    """The whole report of an error, with a newline at the end."""
    paint = _paint if coloured else _plain
    errors = error.errors if isinstance(error, InvalidMany) else (error,)
    lines: list[str] = []
    for one in errors:
        lines += _lines(one, paint)
    if len(errors) > 1:
        lines.append(f"{len(errors)} errors")
    return "\n".join(lines) + "\n"


def _lines(error: BennuError, paint_as: _Paint) -> Iterator[str]:
    where = error.where if isinstance(error, Invalid) else ""
    head = paint_as("error:", _RED)
    yield f"{paint_as(where + ':', _BOLD)} {head} {error.message}" if where else f"{head} {error.message}"
    if isinstance(error, Invalid) and error.excerpt is not None:
        yield from _excerpt(error, paint_as)
    if isinstance(error, Failed):
        for line in error.tail:
            yield f"  {paint_as('|', _DIM)} {line}"
    if error.hint:
        yield f"{paint_as('hint:', _BLUE)} {error.hint}"


def _excerpt(error: Invalid, paint_as: _Paint) -> Iterator[str]:
    """The source line, and a caret under the column; tabs stay tabs, so that the caret stands where the eye looks."""
    assert error.excerpt is not None
    number = "" if error.line is None else str(error.line)
    yield f"  {paint_as(f'{number} |', _DIM)} {error.excerpt}"
    if error.column is not None and 1 <= error.column <= len(error.excerpt) + 1:
        before = "".join("\t" if char == "\t" else " " for char in error.excerpt[: error.column - 1])
        yield f"  {paint_as(' ' * len(number) + ' |', _DIM)} {before}{paint_as('^', _RED)}"


def _plain(text: str, _colour: str) -> str:
    return text


def _paint(text: str, colour: str) -> str:
    return f"{colour}{text}{_END}"
