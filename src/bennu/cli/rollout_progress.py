"""How a rollout looks on standard error: a line when a phase begins, a line for each thing done, with its time.

Plain lines, so that a log of a deploy reads the same as the terminal did; an ongoing wait rewrites its line only
where there is a terminal. Implements ``deploy.apply.Reporter``.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from bennu.cli.context import Context
from bennu.cli.human import clock
from bennu.cli.output import truncated

if TYPE_CHECKING:
    from bennu.deploy.states import Command, State
    from bennu.engine.actions import Receipt
    from bennu.errors import BennuError


FAILURE_COLUMNS = 100
QUIET_SECONDS = 1.0
"""Where lines stay, in a log, news of one action comes no more often than this."""


class RolloutProgress:
    """Writes to the context's standard error; safe from several threads."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._live = context.is_coloured(context.stderr)
        self._last = ""
        self._told: dict[str, float] = {}

    def state(self, state: State) -> None:
        """A phase begins."""
        self._write(f"==> {state.value}")

    def progress(self, action: Command, line: str) -> None:
        """News of something under way; repeated news is said once."""
        what = subject(action)
        text = f"    {what}: {line}"
        with self._lock:
            now = time.monotonic()
            if text == self._last or (not self._live and now - self._told.setdefault(what, now) < QUIET_SECONDS):
                return
            self._last = text
            self._told[what] = now
            if self._live:
                width, _ = self._context.size(self._context.stderr)
                self._context.stderr.write(f"\r\x1b[K{text[: width - 1]}")
            else:
                self._context.stderr.write(text + "\n")
            self._context.stderr.flush()

    def done(self, action: Command, receipt: Receipt, seconds: float) -> None:
        """Something has been done."""
        self._write(f"    {subject(action)}: {receipt.summary} ({clock(seconds)})")

    def failed(self, action: Command, error: BennuError) -> None:
        """Something has failed; the whole report follows at the end."""
        self._write(f"    {subject(action)}: FAILED: {truncated(error.message, FAILURE_COLUMNS)}")

    def say(self, line: str) -> None:
        """A line for people."""
        self._write(line)

    def _write(self, text: str) -> None:
        with self._lock:
            self._last = ""
            self._context.stderr.write(f"\r\x1b[K{text}\n" if self._live else f"{text}\n")
            self._context.stderr.flush()


def subject(action: Command) -> str:
    """What an action is about: a set or one of its replicas, an event of hooks, or the project."""
    event = getattr(action, "event", None)
    if event is not None:
        return f"hooks {event}"
    spec = getattr(action, "spec", None)
    if spec is not None:
        return str(spec.id)
    trials = getattr(action, "trials", None)
    if trials:
        return ", ".join(trial.set for trial in trials)
    sets = getattr(action, "sets", None)
    if sets:
        return ", ".join(sets.values())
    services = getattr(action, "services", None)
    if isinstance(services, tuple):
        return ", ".join(services)
    name = str(getattr(action, "set", "") or getattr(action, "project", ""))
    index = getattr(action, "index", None)
    return name if index is None else f"{name}.{index}"
