"""Errands of the agent: what takes long and must not keep it from tending, each in a thread of its own.

A *chore* is asked in every round of the agent's loop: it does at once what takes no time, begins an errand for what
does, and says when it wants to be asked again. An errand that is under way is never begun twice.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from bennu.deploy.history import History
from bennu.deploy.telling.calls import deliver_due
from bennu.deploy.telling.outbox import Outbox
from bennu.deploy.tidying import Tidying, described
from bennu.errors import BennuError

LATER_SECONDS: Final = 3600.0
BUSY_SECONDS: Final = 1.0
STOP_SECONDS: Final = 10.0
TIDY_SECONDS: Final = 3600.0
"""How often the agent tidies though nothing was deployed."""


class Chore(Protocol):
    """Something that the agent does besides tending."""

    def round(self, now: float) -> float:
        """Do or begin what is due at ``now`` (Unix seconds); the seconds until it wants to be asked again."""

    def stop(self) -> None:
        """The agent ends: end what is under way."""


class Errand:
    """One thing in a thread of its own. ``say`` is told of trouble, once as long as it stays the same."""

    def __init__(self, name: str, say: Callable[[str], None]) -> None:
        self._name = name
        self._say = say
        self._cancel = threading.Event()
        self._thread: threading.Thread | None = None
        self._trouble = ""

    @property
    def is_under_way(self) -> bool:
        """It has been begun and has not ended."""
        return self._thread is not None and self._thread.is_alive()

    def begin(self, work: Callable[[threading.Event], None]) -> bool:
        """Begin it, unless it is under way or the agent ends. The event that it gets is set to end it early."""
        if self.is_under_way or self._cancel.is_set():
            return False
        self._thread = threading.Thread(target=self._do, args=(work,), name=f"bennu-{self._name}", daemon=True)
        self._thread.start()
        return True

    def stop(self) -> None:
        """End it, and wait a while until it has ended."""
        self._cancel.set()
        if self._thread is not None:
            self._thread.join(STOP_SECONDS)

    def _do(self, work: Callable[[threading.Event], None]) -> None:
        try:
            work(self._cancel)
            self._trouble = ""
        except (BennuError, OSError, sqlite3.Error) as error:
            message = error.message if isinstance(error, BennuError) else str(error)
            if message != self._trouble:
                self._trouble = message
                self._say(f"{self._name}: {message}")


class Deliveries:
    """The chore that delivers what hooks are still owed."""

    def __init__(self, outbox: Outbox, environ: Mapping[str, str], say: Callable[[str], None]) -> None:
        self._outbox = outbox
        self._environ = environ
        self._say = say
        self._errand = Errand("hooks", say)

    def round(self, now: float) -> float:
        """Begin to deliver what is due."""
        due = self._outbox.next_due()
        if due is None:
            return LATER_SECONDS
        if due > now:
            return due - now
        self._errand.begin(lambda cancel: deliver_due(self._outbox, self._environ, self._say, cancel, now))
        return BUSY_SECONDS

    def stop(self) -> None:
        """Leave what is under way to the next agent."""
        self._errand.stop()


class Tidies:
    """The chore that tidies: soon after every deploy, and once an hour."""

    def __init__(self, history: History, tidying: Callable[[], Tidying], say: Callable[[str], None]) -> None:
        self._history = history
        self._tidying = tidying
        self._say = say
        self._errand = Errand("tidying", say)
        self._marker: tuple[int, float] | None = None
        self._last = 0.0

    def round(self, now: float) -> float:
        """Begin to tidy if something was deployed since, or an hour is over."""
        marker = self._history.marker()
        due = marker != self._marker or not 0 <= now - self._last < TIDY_SECONDS
        if due and self._errand.begin(self._tidy):
            self._marker, self._last = marker, now
        return BUSY_SECONDS if self._errand.is_under_way else TIDY_SECONDS - (now - self._last)

    def stop(self) -> None:
        """What is half done is done by the next."""
        self._errand.stop()

    def _tidy(self, _cancel: threading.Event) -> None:
        done = self._tidying().tidy()
        line = described(done)
        if line:
            self._say(line)
        if done.over_bytes:
            self._say(
                f"disk: {done.used_bytes} bytes are in use, {done.over_bytes} more than the limit; see `bennu gc`"
            )
