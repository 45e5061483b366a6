"""How a build looks: on a terminal, in a log, as JSON, or not at all. Listeners of ``build.progress``.

``plain`` is BuildKit's form (``#3 [web 2/5] RUN make``, output with the time since the step began); ``tty`` is a
picture that moves (``build_screen``); ``rawjson`` is one object an event.
"""

from __future__ import annotations

import codecs
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from bennu.build.progress import Event, Listener
    from bennu.cli.context import Context

REFRESH_SECONDS = 0.1
HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"


def renderer(kind: str, context: Context) -> Plain | Terminal | RawJson | Quiet:
    """The renderer that ``--progress`` asks for; ``auto`` and ``tty`` are ``plain`` where no terminal is."""
    if kind in {"auto", "tty"}:
        return Terminal(context) if context.can_draw(context.stderr) else Plain(context.stderr)
    return {"plain": Plain, "rawjson": RawJson, "quiet": Quiet}[kind](context.stderr)


@contextmanager
def watched(kind: str, context: Context) -> Iterator[Listener]:
    """A listener that shows builds and keeps what their steps write; an error of the block says where that is."""
    from bennu.build.logs import BuildLogs
    from bennu.build.progress import together
    from bennu.errors import Failed

    shown = renderer(kind, context)
    with BuildLogs(context.settings) as logs:
        try:
            yield together(logs, shown)
        except Failed as error:
            if logs.broken is not None and logs.path(logs.broken).exists():
                before = f"{error.hint}; " if error.hint else ""
                error.hint = f"{before}its whole output is in {logs.path(logs.broken)}"
            raise
        finally:
            shown.close()


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
    """One JSON object a line. A character whose bytes came apart is whole in the later object."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._decoders: dict[tuple[int, str], codecs.IncrementalDecoder] = {}

    def __call__(self, event: Event) -> None:
        """Write an event."""
        import json

        import msgspec

        record = msgspec.to_builtins(event, builtin_types=(bytes,))
        with self._lock:
            if "data" in record:
                key = (event.number, record.get("stream", "stdout"))
                decoder = self._decoders.setdefault(key, codecs.getincrementaldecoder("utf-8")("replace"))
                record["data"] = decoder.decode(record["data"])
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
            case "Waiting":
                return [f"{head} {event.label}", f"{head} waits for {event.holder}"]  # type: ignore[attr-defined]
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
    """A ``Screen``, drawn a few times a second by a thread and nowhere else: steps that write a lot cost nothing."""

    def __init__(self, context: Context) -> None:
        from bennu.cli.build_screen import Screen, frame

        super().__init__(context.stderr)
        self._frame = frame
        self._context = context
        self._screen = Screen(time.monotonic(), coloured=context.is_coloured(context.stderr))
        self._is_drawn = False
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._refresh, name="bennu-screen", daemon=True)
        self._thread.start()

    def __call__(self, event: Event) -> None:
        """Take note of an event."""
        with self._lock:
            self._screen.take(event, time.monotonic())

    def close(self) -> None:
        """Leave the final lines, and nothing else."""
        from bennu.host.terminal import uninterrupted

        with uninterrupted():  # a terminal without its cursor would be left behind
            self._done.set()
            self._thread.join()
            self._draw(ended=True)

    def _refresh(self) -> None:
        while not self._done.wait(REFRESH_SECONDS):
            self._draw()

    def _draw(self, *, ended: bool = False) -> None:
        columns, rows = self._context.size(self._stream)
        with self._lock:
            final = self._screen.final(columns, ended=ended)
            live = [] if ended else self._screen.live(time.monotonic(), columns, max(rows - 1, 1))
        if not (final or live or self._is_drawn):
            return
        cursor = HIDE if live and not self._is_drawn else SHOW if self._is_drawn and not live else ""
        self._stream.write(cursor + self._frame(final, live))
        self._stream.flush()
        self._is_drawn = bool(live)
