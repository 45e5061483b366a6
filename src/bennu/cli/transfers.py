"""How a pull or a push is shown: on a terminal a line a layer that is under way, elsewhere a line a layer that is done.

Layers are called by twelve digits of their digest, as Docker calls them. Called from several threads.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final, Self

from bennu.cli.human import size
from bennu.cli.output import truncated

if TYPE_CHECKING:
    from bennu.cli.context import Context
    from bennu.digest import Digest
    from bennu.registry.pull import State

DRAW_SECONDS: Final = 0.1
BAR_COLUMNS: Final = 30
SHOWN_LAYERS: Final = 12


class Transfers:
    """The listener of one transfer. ``verb`` is what bytes under way are: ``Downloading``, ``Pushing``. Leave the block
    to end the drawing.
    """

    def __init__(self, context: Context, verb: str, done: str, there: str, *, quiet: bool = False) -> None:
        self._context = context
        self._words = {"downloading": verb, "unpacking": verb, "done": done, "there": there, "waiting": "Waiting"}
        self._quiet = quiet
        self._draws = not quiet and context.can_draw(context.stderr)
        self._lock = threading.Lock()
        self._under_way: dict[Digest, tuple[State, int, int]] = {}
        self._told: set[Digest] = set()
        self._rows = 0
        self._drawn = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._erase()
            self._draws = False
            self._context.stderr.flush()

    def layer(self, digest: Digest, state: State, done_bytes: int, size_bytes: int) -> None:
        """News of one layer."""
        with self._lock:
            if self._quiet or digest in self._told:
                return
            if state in {"done", "there"}:
                self._told.add(digest)
                self._under_way.pop(digest, None)
                self._tell(f"{digest.rpartition(':')[2][:12]}: {self._words[state]}")
                return
            before = self._under_way.get(digest)
            if state == "unpacking" and before is not None:
                done_bytes = before[1]
            self._under_way[digest] = (state, done_bytes, size_bytes)
            if self._draws and time.monotonic() - self._drawn > DRAW_SECONDS:
                self._draw()

    def say(self, line: str) -> None:
        """One line for people, above what is drawn."""
        with self._lock:
            self._tell(line)

    def _tell(self, line: str) -> None:
        self._erase()
        self._context.say(line)
        if self._draws:
            self._draw()

    def _erase(self) -> None:
        if self._rows:
            self._context.stderr.write(f"\x1b[{self._rows}A\x1b[J")
            self._rows = 0

    def _draw(self) -> None:
        columns, rows = self._context.size(self._context.stderr)
        self._erase()
        shown = list(self._under_way.items())[: min(SHOWN_LAYERS, max(1, rows - 2))]
        for digest, (state, done, whole) in shown:
            self._context.stderr.write(truncated(self._line(digest, state, done, whole), columns - 1) + "\n")
        self._rows = len(shown)
        self._drawn = time.monotonic()
        self._context.stderr.flush()

    def _line(self, digest: Digest, state: State, done: int, whole: int) -> str:
        name = digest.rpartition(":")[2][:12]
        if state == "waiting":
            return f"{name}: {self._words[state]}"
        filled = BAR_COLUMNS * done // whole if whole else BAR_COLUMNS
        bar = "=" * max(0, filled - 1) + ">" * (filled > 0)
        return f"{name}: {self._words[state]} [{bar:{BAR_COLUMNS}}] {size(done)}/{size(whole)}"
