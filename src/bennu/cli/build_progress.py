"""How a build looks: on a terminal, in a log, as JSON, or not at all. Listeners of ``build.progress``.

``plain`` is BuildKit's form (``#3 [web 2/5] RUN make``, output with the time since the step began); ``tty`` shows
finished steps as lines and the running ones, with their last output, below them; ``rawjson`` is one object an event.
"""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, TextIO

from bennu.cli.human import clock
from bennu.cli.output import truncated

if TYPE_CHECKING:
    from bennu.build.progress import Event
    from bennu.cli.context import Context

REFRESH_SECONDS = 0.1
TAIL_LINES = 4


def renderer(kind: str, context: Context) -> Plain | Terminal | RawJson | Quiet:
    """The renderer that ``--progress`` asks for; ``auto`` is ``tty`` on a terminal and ``plain`` elsewhere."""
    if kind == "auto":
        kind = "tty" if context.is_coloured(context.stderr) else "plain"
    if kind == "tty":
        return Terminal(context)
    return {"plain": Plain, "rawjson": RawJson, "quiet": Quiet}[kind](context.stderr)


class Quiet:
    """Says nothing."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        """Take note of an event."""

    def close(self) -> None:
        """The build has ended."""


class RawJson(Quiet):
    """One JSON object a line."""

    def __call__(self, event: Event) -> None:
        """Write an event."""
        import msgspec

        record = msgspec.to_builtins(event, builtin_types=(bytes,))
        if "data" in record:
            record["data"] = record["data"].decode(errors="replace")
        with self._lock:
            self._stream.write(json.dumps(record) + "\n")
            self._stream.flush()


class Plain(Quiet):
    """Lines that never change once written."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._began: dict[int, float] = {}
        self._rest: dict[tuple[int, str], bytes] = {}

    def __call__(self, event: Event) -> None:
        """Write an event."""
        with self._lock:
            for line in self._lines(event):
                self._stream.write(line + "\n")
            self._stream.flush()

    def _lines(self, event: Event) -> list[str]:
        head = f"#{event.number}"
        match type(event).__name__:
            case "Started":
                self._began[event.number] = time.monotonic()
                return [f"{head} {event.label}"]
            case "Cached":
                return [f"{head} {event.label}", f"{head} CACHED"]
            case "Output":
                return self._output(event)
            case "Finished":
                return [*self._flush(event.number), f"{head} DONE {event.seconds:.1f}s"]  # type: ignore[attr-defined]
            case _:
                word = "CANCELED" if event.cancelled else f"ERROR: {event.reason}"  # type: ignore[attr-defined]
                return [*self._flush(event.number), f"{head} {word}"]

    def _output(self, event: Event) -> list[str]:
        key = (event.number, event.stream)  # type: ignore[attr-defined]
        *whole, rest = (self._rest.get(key, b"") + event.data).split(b"\n")  # type: ignore[attr-defined]
        self._rest[key] = rest
        return [self._line(event.number, line) for line in whole]

    def _flush(self, number: int) -> list[str]:
        left = [self._rest.pop((number, stream), b"") for stream in ("stdout", "stderr")]
        return [self._line(number, line) for line in left if line]

    def _line(self, number: int, data: bytes) -> str:
        since = time.monotonic() - self._began.get(number, time.monotonic())
        return f"#{number} {since:.3f} {data.decode(errors='replace').rstrip(chr(13))}"


class Terminal(Quiet):
    """Finished steps above, running ones with their last lines below; drawn again a few times a second."""

    def __init__(self, context: Context) -> None:
        super().__init__(context.stderr)
        self._context = context
        self._running: dict[int, tuple[str, float, list[str]]] = {}
        self._drawn = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._refresh, daemon=True)
        self._thread.start()

    def __call__(self, event: Event) -> None:
        """Take note of an event, and write what is final."""
        with self._lock:
            match type(event).__name__:
                case "Started":
                    self._running[event.number] = (event.label, time.monotonic(), [])
                case "Cached":
                    self._write_above(f"\x1b[34m => CACHED {event.label}\x1b[0m")
                case "Output":
                    self._take(event)
                case "Finished":
                    self._running.pop(event.number, None)
                    took = clock(event.seconds)  # type: ignore[attr-defined]
                    self._write_above(f" => {event.label}  \x1b[2m{took}\x1b[0m")
                case _:
                    self._running.pop(event.number, None)
                    word = "CANCELED" if event.cancelled else "ERROR"  # type: ignore[attr-defined]
                    self._write_above(f"\x1b[31m => {word} {event.label}\x1b[0m")

    def close(self) -> None:
        """Take the running part away."""
        self._done.set()
        self._thread.join()
        with self._lock:
            self._erase()
            self._stream.flush()

    def _take(self, event: Event) -> None:
        found = self._running.get(event.number)
        if found is not None:
            text = event.data.decode(errors="replace")  # type: ignore[attr-defined]
            lines = [line for line in text.replace("\r", "\n").split("\n") if line.strip()]
            found[2].extend(lines)
            del found[2][:-TAIL_LINES]

    def _refresh(self) -> None:
        while not self._done.wait(REFRESH_SECONDS):
            with self._lock:
                self._erase()
                self._draw()

    def _write_above(self, text: str) -> None:
        self._erase()
        self._stream.write(text + "\n")
        self._draw()

    def _erase(self) -> None:
        if self._drawn:
            self._stream.write(f"\x1b[{self._drawn}F\x1b[J")
            self._drawn = 0

    def _draw(self) -> None:
        width = self._context.width(self._stream) - 1
        lines: list[str] = []
        for label, began, tail in self._running.values():
            took = clock(time.monotonic() - began)
            lines.append(f" => {truncated(label, width - len(took) - 7)}  {took}")
            lines += [f"\x1b[2m    {truncated(_printable(line), width - 5)}\x1b[0m" for line in tail]
        self._stream.write("".join(line + "\n" for line in lines))
        self._drawn = len(lines)
        self._stream.flush()


def _printable(line: str) -> str:
    return "".join(char if char.isprintable() else " " for char in line)
