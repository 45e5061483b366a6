"""Errors as text: one clear message, where it is, what helps.

``render`` is pure and gives the lines for any ``BennuError``; ``main`` writes them to standard error. ``complete``
reads the source line of an error that has none. The order is fixed: place and message, the source line with a caret,
the last output of a failed command, the hint. Colours mark and never carry meaning.
"""

from __future__ import annotations

from collections.abc import Iterator

from bennu.cli.build_screen import visible
from bennu.cli.excerpt import Paint, Place, line_of, rendered
from bennu.cli.output import printable
from bennu.errors import BennuError, Failed, Invalid, InvalidMany

_RED, _BLUE, _DIM, _BOLD, _END = "\x1b[31;1m", "\x1b[34m", "\x1b[2m", "\x1b[1m", "\x1b[0m"
SOURCE_LINES = 12
LOG_COLUMNS = 120
"""Where there is no terminal whose width counts."""


def render(error: BennuError, *, coloured: bool, columns: int = LOG_COLUMNS) -> str:
    """The whole report of an error, with a newline at the end; source lines are cut to ``columns``."""
    paint = _paint if coloured else _plain
    errors = error.errors if isinstance(error, InvalidMany) else (error,)
    lines: list[str] = []
    for one in errors:
        lines += _lines(one, paint, columns)
    if len(errors) > 1:
        lines.append(f"{len(errors)} errors")
    return "\n".join(lines) + "\n"


def _lines(error: BennuError, paint_as: Paint, columns: int) -> Iterator[str]:
    where = error.where if isinstance(error, Invalid) else ""
    head = paint_as("error:", _RED)
    # what somebody's file says is quoted, and must not reach the terminal as a control sequence
    message = printable(error.message)
    yield f"{paint_as(where + ':', _BOLD)} {head} {message}" if where else f"{head} {message}"
    if isinstance(error, Invalid) and error.excerpt is not None:
        yield from rendered(Place(error.excerpt, error.line, error.column), paint_as, columns)
    if isinstance(error, Failed):
        yield from _source(error, paint_as, columns)
        for line in error.tail:
            yield f"  {paint_as('|', _DIM)} {visible(line.encode(errors='replace'))}"
        yield from (f"  {printable(note)}" for note in error.notes)
    if error.hint:
        yield f"{paint_as('hint:', _BLUE)} {error.hint}"


def _source(error: Failed, paint_as: Paint, columns: int) -> Iterator[str]:
    """What failed as the file has it, as far as it is not too long."""
    lines = error.source.splitlines()
    for number, text in enumerate(lines[:SOURCE_LINES]):
        yield from rendered(Place(text, None if error.line is None else error.line + number, None), paint_as, columns)
    if len(lines) > SOURCE_LINES:
        yield f"  {paint_as(f'... {len(lines) - SOURCE_LINES} more lines', _DIM)}"


def complete(error: BennuError) -> None:
    """Add the source line to an error that names its place without it, where the file can be read."""
    for one in error.errors if isinstance(error, InvalidMany) else (error,):
        if isinstance(one, Invalid) and one.excerpt is None and one.file is not None and one.line is not None:
            one.excerpt = line_of(one.file, one.line)


def _plain(text: str, _colour: str) -> str:
    return text


def _paint(text: str, colour: str) -> str:
    return f"{colour}{text}{_END}"
