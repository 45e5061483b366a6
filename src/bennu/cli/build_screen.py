"""A build as a terminal shows it: lines that are final, and below them what is going on. Pure: no stream, no clock.

A ``Screen`` takes events and answers with lines. Final ones are given once, in order; those of what is going on are
made anew for every drawing, and never take more columns or rows than there are, whatever a step writes: escape
sequences are dropped, a carriage return starts its line again, no character moves the cursor. Steps found in the cache
that follow each other become one line where they are many. ``build_progress`` draws.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from bennu.cli.human import clock
from bennu.cli.output import truncated, width

if TYPE_CHECKING:
    from bennu.build.progress import Event

TAIL_LINES = 4
KEPT_LINES = 2 * TAIL_LINES  # some of them show nothing
CACHED_APART = 3  # so many in a row have a line each
LINE_BYTES = 8192  # of a line without an end, its end is what is shown
LABEL_COLUMNS = 20  # what a label takes at least, whatever else its line says
NAME_COLUMNS = 40  # what it takes at most where two share a line
DIM, RED, BLUE, YELLOW, END = "\x1b[2m", "\x1b[31m", "\x1b[34m", "\x1b[33m", "\x1b[0m"

# ECMA-48: control sequences, control strings (a title, a link) to their terminator, and the shorter escapes
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[]PX^_][^\x07\x1b]*(?:\x07|\x1b\\|$)|[ -/]*[0-~])|\x1b")


def visible(data: bytes) -> str:
    """One line of output as plain text: what a terminal would show of it in the end, tabs as blanks."""
    text = _ESCAPES.sub("", data.decode(errors="replace")).rstrip("\r")
    text = text.rpartition("\r")[2].expandtabs(8)
    return "".join(char for char in text if char.isprintable())


class _Running:
    """A step at work, or waiting for somebody: since when, its last whole lines, and those without an end yet."""

    def __init__(self, label: str, began: float, waits_for: str = "") -> None:
        self.label = label
        self.began = began
        self.waits_for = waits_for
        self._lines: list[bytes] = []
        self._rest: dict[str, bytes] = {}

    def take(self, stream: str, data: bytes) -> None:
        *whole, rest = (self._rest.get(stream, b"") + data).split(b"\n")
        self._rest[stream] = rest[-LINE_BYTES:]
        self._lines += [line[-LINE_BYTES:] for line in whole[-KEPT_LINES:]]
        del self._lines[:-KEPT_LINES]

    def tail(self, lines: int) -> list[str]:
        shown = [visible(line) for line in (*self._lines, *self._rest.values())]
        return [line for line in shown if line.strip()][-lines:] if lines else []


class Screen:
    """What is known of one build. ``coloured`` off leaves every colour out."""

    def __init__(self, began: float, *, coloured: bool) -> None:
        self._began = began
        self._coloured = coloured
        self._running: dict[int, _Running] = {}
        self._cached: list[str] = []
        self._final: list[tuple[str, str, str]] = []
        self._counts = {"from the cache": 0, "done": 0}

    def take(self, event: Event, now: float) -> None:
        """Take note of an event. ``now``: seconds of the same clock as ``began``."""
        kind = type(event).__name__
        if kind == "Output":
            if (step := self._running.get(event.number)) is not None:
                step.take(event.stream, event.data)  # type: ignore[attr-defined]
            return
        if kind == "Waiting":
            self._running[event.number] = _Running(event.label, now, event.holder)  # type: ignore[attr-defined]
            return
        if kind == "Started":
            self._running[event.number] = _Running(event.label, now)
            return
        self._running.pop(event.number, None)
        if kind == "Cached":
            self._cached.append(event.label)
            self._counts["from the cache"] += 1
            return
        took = clock(event.seconds)  # type: ignore[attr-defined]
        self._settle()
        if kind == "Finished":
            self._counts["done"] += 1
            self._final.append(("", event.label, took))
        else:
            word, colour = ("CANCELED ", DIM) if event.cancelled else ("ERROR ", RED)  # type: ignore[attr-defined]
            self._final.append((colour, f"{word}{event.label}", took))

    def final(self, columns: int, *, ended: bool = False) -> list[str]:
        """The lines that are final and were not given yet. ``ended``: nothing more will come."""
        if ended:
            self._settle()
        lines = [self._row(label, took, columns, colour) for colour, label, took in self._final]
        self._final = []
        return lines

    def live(self, now: float, columns: int, rows: int) -> list[str]:
        """The lines of what is going on, at most ``rows``."""
        if not self._running and not self._cached:
            return []
        places = max(rows - 1, 1)
        steps = list(self._running.values())
        shown = steps if len(steps) <= places else steps[: max(places - 1, 0)]
        tails = min(TAIL_LINES, (places - len(shown)) // len(shown)) if shown else 0
        lines: list[str] = []
        for step in shown:
            waits = f" waits for {step.waits_for}" if step.waits_for else ""
            lines.append(self._row(step.label, clock(now - step.began), columns, YELLOW if waits else "", waits))
            lines += [self._painted(truncated(f"    {line}", columns), DIM) for line in step.tail(tails)]
        if len(shown) < len(steps):
            more = f"    and {len(steps) - len(shown)} more at work"
            lines.append(self._painted(truncated(more, columns), DIM))
        lines.append(self._painted(truncated(self._status(now), columns), DIM))
        return lines[-rows:]

    def _status(self, now: float) -> str:
        waiting = sum(bool(step.waits_for) for step in self._running.values())
        counts = {**self._counts, "running": len(self._running) - waiting, "waiting": waiting}
        words = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
        return f"    {clock(now - self._began)}: {words}"

    def _settle(self) -> None:
        """Steps found in the cache, one after the other until now, become final."""
        if len(self._cached) <= CACHED_APART:
            self._final += [(BLUE, f"CACHED {label}", "") for label in self._cached]
        else:
            first, last = (truncated(_flat(self._cached[at]), NAME_COLUMNS) for at in (0, -1))
            self._final.append((BLUE, f"CACHED {len(self._cached)} steps: {first} to {last}", ""))
        self._cached = []

    def _row(self, label: str, took: str, columns: int, colour: str, after: str = "") -> str:
        """A step's line: its label cut to what is left, then its time, where there is room for both."""
        room = columns - 4 - (width(took) + 2 if took else 0)
        if took and room < LABEL_COLUMNS:
            took, room = "", columns - 4
        text = truncated(_flat(label), max(room - width(after), LABEL_COLUMNS)) + after
        row = truncated(f" => {truncated(text, max(room, 1))}", columns)
        return self._painted(row, colour) + (self._painted(f"  {took}", DIM) if took else "")

    def _painted(self, text: str, colour: str) -> str:
        return f"{colour}{text}{END}" if colour and self._coloured else text


def _flat(label: str) -> str:
    """A label on one line."""
    return visible(" ".join(label.split()).encode(errors="replace"))


def frame(final: Sequence[str], live: Sequence[str]) -> str:
    """What to write so that a terminal shows these lines; the cursor is left at the first one of ``live``.

    Standing there it needs no count of what was drawn to draw again, so that it does not matter how a terminal that
    changed its size has broken the old lines. What is live is written with wrapping off: a character that the terminal
    takes for wider than we do spoils its own line and no other.
    """
    return "".join(_frame(final, live))


def _frame(final: Sequence[str], live: Sequence[str]) -> Iterator[str]:
    yield "\r\x1b[J"
    for line in final:
        yield f"{line}\n"
    if live:
        yield "\x1b[?7l" + "\n".join(live) + "\r\x1b[?7h"
        if len(live) > 1:
            yield f"\x1b[{len(live) - 1}A"
