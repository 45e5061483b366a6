"""The agent's part in holds: what is due is noticed in every round, and done in a thread of its own."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable
from typing import Final

from bennu.deploy.apply import Deployer
from bennu.deploy.errands import LATER_SECONDS, Errand
from bennu.deploy.hold.keeper import HoldKeeper
from bennu.deploy.hold.lease import Hold, Step
from bennu.deploy.states import Command, State
from bennu.deploy.telling.news import Detail, NotifyHooks
from bennu.engine.actions import Receipt
from bennu.errors import BennuError
from bennu.host import clock

LOOK_SECONDS: Final = 10.0
LOOK_SHARE: Final = 50.0
"""So many times as long as a look took is waited until the next: it never costs more than a fiftieth of a core."""
AGAIN_SECONDS: Final = 30.0
"""After something that failed."""


class _Says:
    """A reporter of lines alone, for what the agent takes up."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def state(self, state: State) -> None:
        """Not told."""

    def progress(self, action: Command, line: str) -> None:
        """Not told."""

    def done(self, action: Command, receipt: Receipt, seconds: float) -> None:
        """Not told."""

    def failed(self, action: Command, error: BennuError) -> None:
        """Told."""
        self.say(f"{type(action).__name__}: {error.message}")

    def say(self, line: str) -> None:
        """Told."""
        self._say(line)


class HoldChore:
    """The agent's part. What takes long is done in a thread, one hold after the other."""

    def __init__(
        self,
        keeper: HoldKeeper,
        deployer: Callable[[str, str], Deployer],
        say: Callable[[str], None],
        notify: NotifyHooks,
    ) -> None:
        self._keeper = keeper
        self._author = f"agent, pid {os.getpid()} (bennu agent run)"
        self._deployer = deployer
        self._say = say
        self._notify = notify
        self._errand = Errand("holds", say)
        self._looks: dict[int, float] = {}
        self._again: dict[int, float] = {}
        self._told: dict[int, str] = {}

    def round(self, now: float) -> float:
        """Begin what is due; the seconds until more is."""
        del now  # which can be set
        uptime = clock.uptime_seconds()
        holds = self._keeper.holds.living()
        waits = [self._wait(hold, uptime) for hold in holds]
        due = [hold for hold, wait in zip(holds, waits, strict=True) if wait <= 0]
        if due and not self._errand.is_under_way:
            self._errand.begin(lambda cancel: self._do(due, cancel))
        for gone in (self._looks.keys() | self._again.keys()) - {hold.id for hold in holds}:
            for kept in (self._looks, self._again, self._told):
                kept.pop(gone, None)
        return min([LATER_SECONDS, *(max(wait, 1.0) for wait in waits)])

    def stop(self) -> None:
        """Leave what is under way to the next agent."""
        self._errand.stop()

    def _wait(self, hold: Hold, uptime: float) -> float:
        again = self._again.get(hold.id, 0.0) - uptime
        if hold.stage != "held":
            return again
        return max(again, min(self._keeper.next_seconds(hold), self._looks.get(hold.id, 0.0) - uptime))

    def _do(self, holds: list[Hold], cancel: threading.Event) -> None:
        for hold in holds:
            if cancel.is_set():
                return
            try:
                self._do_one(hold, cancel)
                self._told.pop(hold.id, None)
            except (BennuError, OSError, sqlite3.Error) as error:  # one hold's trouble must not keep the others
                self._again[hold.id] = clock.uptime_seconds() + AGAIN_SECONDS
                text = error.message if isinstance(error, BennuError) else str(error)
                if self._told.get(hold.id) != text:
                    self._told[hold.id] = text
                    self._say(f"{hold.project}: hold of {hold.name}: {text}")

    def _do_one(self, hold: Hold, cancel: threading.Event) -> None:
        if hold.stage == "beginning":
            self._keeper.complete(hold, self._deployer(hold.project, self._author), _Says(self._say))
            self._again[hold.id] = clock.uptime_seconds() + 1.0  # somebody may still be at it
            return
        if self._keeper.is_lost(hold, self._say) or not self._keeper.keep(hold, self._say, self._warn, cancel):
            return
        began = clock.uptime_seconds()
        self._keeper.look(hold)
        ended = clock.uptime_seconds()
        self._looks[hold.id] = ended + max(LOOK_SECONDS, (ended - began) * LOOK_SHARE)

    def _warn(self, hold: Hold, step: Step, text: str, left: float) -> None:
        detail: Detail = {
            "replica": hold.name, "left_seconds": round(left), "reason": hold.reason, "author": hold.author,
            "renewals": hold.renewals, "warning": step,
        }  # fmt: skip
        key = f"{hold.id} {hold.renewals} {step}"
        self._notify(hold.project, "hold_expiring", reason=text, key=key, services=(hold.service,), detail=detail)
