"""A line of somebody's file with a caret under what is meant, for errors and for warnings. ``line_of`` reads it.

A terminal and an editor count columns differently: wide characters take two cells, combining ones none, a tab as many
as the terminal likes (so it is copied into the caret's line). A line that is too long is cut on both sides of the
column. Nothing of the file reaches the terminal as a control sequence.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from typing import NamedTuple

from bennu.cli.output import width

Paint = Callable[[str, str], str]
"""Text and an escape sequence in, coloured text out."""

RED, DIM = "\x1b[31;1m", "\x1b[2m"
_MOST_BYTES = 16 << 20
_LEAST_COLUMNS = 20
_ELLIPSIS = "\u2026"


class Place(NamedTuple):
    """A line and the part of it that is meant: ``column`` from 1, None for the whole line; ``length`` in characters."""

    text: str
    line: int | None = None
    column: int | None = None
    length: int = 1


def rendered(place: Place, paint: Paint, columns: int) -> Iterator[str]:
    """The line with its number, and below it the caret; the latter only where the column is one of the line's."""
    number = "" if place.line is None else str(place.line)
    cells = [_cell(char) for char in place.text.rstrip("\r\n")]
    at = None if place.column is None else place.column - 1
    if at is not None and not 0 <= at <= len(cells):
        at = None
    begin, end = _window(cells, at or 0, max(columns - len(number) - 6, _LEAST_COLUMNS))
    head = _ELLIPSIS if begin else ""
    tail = _ELLIPSIS if end < len(cells) else ""
    yield f"  {paint(f'{number} |', DIM)} {head}{''.join(cells[begin:end])}{tail}".rstrip()
    if at is not None:
        before = "".join("\t" if cell == "\t" else " " * width(cell) for cell in cells[begin:at])
        mark = paint(_mark(cells[at:end], place.length), RED)
        yield f"  {paint(' ' * len(number) + ' |', DIM)} {' ' * len(head)}{before}{mark}"


def _mark(cells: list[str], length: int) -> str:
    """``^`` under the first cell, ``~`` under the others, not under blanks at the end."""
    meant = cells[: max(length, 1)]
    while len(meant) > 1 and not meant[-1].strip():
        meant.pop()
    tail = "".join("\t" if cell == "\t" else "~" * width(cell) for cell in meant)
    return "^" + tail[1:]


def _cell(char: str) -> str:
    if char == "\t" or char.isprintable():
        return char
    return "\ufffd" if "\ud800" <= char <= "\udfff" else "?"


def _window(cells: list[str], at: int, limit: int) -> tuple[int, int]:
    """The cells to show: all, or ``limit`` columns with the one that is meant in their first half."""
    if sum(map(_columns, cells)) <= limit:
        return 0, len(cells)
    begin, room = at, limit // 2
    while begin > 0 and room >= _columns(cells[begin - 1]):
        begin -= 1
        room -= _columns(cells[begin])
    end, room = begin, limit - 2
    while end < len(cells) and room >= _columns(cells[end]):
        room -= _columns(cells[end])
        end += 1
    while end == len(cells) and begin > 0 and room >= _columns(cells[begin - 1]):
        begin -= 1
        room -= _columns(cells[begin])
    return begin, end


def _columns(cell: str) -> int:
    return 8 if cell == "\t" else width(cell)


def line_of(file: str, line: int) -> str | None:
    """The line, from 1, of a file; None where it cannot be read or is no text of a reasonable size."""
    try:
        with open(file, "rb") as stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_size > _MOST_BYTES:
                return None
            lines = stream.read().split(b"\n")
    except (OSError, ValueError):
        return None
    if not 1 <= line <= len(lines):
        return None
    return lines[line - 1].decode("utf-8", "surrogateescape").removesuffix("\r")
