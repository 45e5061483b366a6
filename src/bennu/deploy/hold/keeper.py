"""Holds carried out: begun, renewed, released, and by the agent warned about, journalled and ended.

What is to be stands in the records before the engine does it, and what is done afterwards; both can be repeated. So
whoever is killed in between leaves a hold in the stage ``beginning`` or ``ending``, which the next command or the agent
completes. A hold is begun under the deploy lock, since it takes a replica out of a set; it ends without, since by then
it is none of anybody's sets, and its end must not wait for a deploy.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

import msgspec

from bennu.deploy.apply import Deployer, Reporter
from bennu.deploy.hold import lease
from bennu.deploy.hold import looks as hold_looks
from bennu.deploy.hold.lease import Hold, Moment, Step
from bennu.deploy.hold.records import Holds, Line
from bennu.engine.actions import EndHold, HoldReplica
from bennu.engine.base import Engine
from bennu.errors import BennuError, Conflict, NotFound, Unsupported
from bennu.host import clock, process

TAKEN_UP_SECONDS: Final = 60.0
"""How long the agent waits for a replacement, if it goes on with somebody's hold."""


class Notify(Protocol):
    """Owes the event ``hold_expiring`` to a project's hooks."""

    def __call__(self, hold: Hold, step: Step, text: str, left: float) -> None:
        """``step`` is the warning that it is."""


def this_moment() -> Moment:
    """What the clocks say."""
    return Moment(time.time(), process.boot_id(), clock.uptime_seconds())


class HoldKeeper:
    """The holds of all projects of one root."""

    def __init__(self, engine: Engine, holds: Holds, *, moment: Callable[[], Moment] = this_moment) -> None:
        self._engine = engine
        self.holds = holds
        self._moment = moment

    def begin(
        self,
        deployer: Deployer,
        service: str,
        index: int,
        reporter: Reporter,
        *,
        seconds: float,
        reason: str,
        in_traffic: bool = False,
        ready_seconds: float = 300.0,
        wait_seconds: float | None = 0,
    ) -> Hold:
        """Hold a replica of the active set. ``Conflict`` if it is held already; ``Invalid``, ``NotFound``, ``Failed``.

        An error leaves nothing behind, unless it says that the replica is held.
        """
        if not self._engine.capabilities().holds_in_place:
            name = self._engine.capabilities().name
            raise Unsupported(
                f"the engine {name!r} cannot hold a replica", "hold one of a project that runs on this host"
            )
        wanted = lease.begun(
            deployer.project, service, index, seconds=seconds, reason=reason, author=deployer.author.partition(",")[0],
            in_traffic=in_traffic, now=self._moment(),
        )  # fmt: skip
        with deployer.exclusive(reporter, wait_seconds=wait_seconds):
            self._forget_half_begun(wanted)
            hold = self.holds.add(wanted)
            return self._carry_out(hold, reporter.say, ready_seconds)

    def renew(self, project: str, service: str, index: int, seconds: float) -> Hold:
        """Give a hold a new length from now on. ``Conflict`` for one that is over."""
        found, now = self.holds.find(project, service, index), self._moment()

        def change(hold: Hold) -> Hold:
            if lease.due(hold, now) == "end":
                raise Conflict(f"the hold of {hold.name} is over, and it is being destroyed")
            return lease.renewed(hold, seconds, now)

        renewed = self.holds.change(found, change)
        if renewed is None:
            raise Conflict(f"the hold of {found.name} is over")
        text = f"for {lease.spell(seconds)} from then on"
        self.holds.note(found, [Line(kind="event", what=f"renewal {renewed.renewals}", detail=text)], now.wall)
        return renewed

    def release(self, project: str, service: str, index: int, say: Callable[[str], None]) -> Hold:
        """End a hold now."""
        hold = self.holds.find(project, service, index)
        self.holds.change(hold, lambda found: _ending(found, "released"))
        self._end(hold, say, threading.Event())
        return hold

    # what is due

    def keep(self, hold: Hold, say: Callable[[str], None], notify: Notify, cancel: threading.Event) -> bool:
        """Do what is due of a hold: warn, end. Whether it lives on."""
        now = self._moment()
        current = self.holds.change(hold, lambda found: _kept(found, now))
        if current is None:
            return False
        if current.stage == "ending":
            if hold.stage == "held":
                say(f"{hold.project}: the time of {hold.name} is up ({hold.reason})")
            self._end(current, say, cancel)
            return False
        step = lease.due(current, now)
        if step is not None:
            text = lease.warning(current, now)
            notify(current, step, text, lease.left_seconds(current, now))
            say(f"{current.project}: {text}")
            line = Line(kind="event", what=f"one {step} left", detail="warned")
            self.holds.note(current, [line], now.wall)
            self.holds.change(current, lambda found: lease.warned(found, step))
        return True

    def look(self, hold: Hold) -> int:
        """Journal what is new in a held replica; how many lines."""
        return hold_looks.look(self._engine, self.holds, hold, self._moment().wall)

    def complete(self, hold: Hold, deployer: Deployer, reporter: Reporter) -> None:
        """Go on with a hold that somebody was beginning and died over; nothing while he may still be at it."""
        with suppress(Conflict), deployer.exclusive(reporter, wait_seconds=0):
            current = self.holds.find(hold.project, hold.service, hold.index)
            if current.id == hold.id and current.stage == "beginning":
                reporter.say(f"{hold.project}: {current.author} left {hold.name} half held; taking it up")
                self._carry_out(current, reporter.say, TAKEN_UP_SECONDS)

    def next_seconds(self, hold: Hold) -> float:
        """How long until something is due of a hold."""
        return lease.next_seconds(hold, self._moment())

    def is_lost(self, hold: Hold, say: Callable[[str], None]) -> bool:
        """Record that a held replica was taken away by somebody else; whether it was."""
        if hold.stage != "held" or self._engine.observe(hold.project).hold(hold.name) is not None:
            return False
        self.holds.end(hold, "somebody removed its container", self._moment().wall)
        say(f"{hold.project}: {hold.name} was held, and somebody removed its container")
        return True

    # parts

    def _forget_half_begun(self, wanted: Hold) -> None:
        """Make way where the same replica was being held by somebody who died before anything was done."""
        with suppress(NotFound):
            found = self.holds.find(wanted.project, wanted.service, wanted.index)
            if found.stage == "beginning":  # his lock is free, so he is dead; what he has done is taken up
                self.holds.forget(found)

    def _carry_out(self, hold: Hold, say: Callable[[str], None], ready_seconds: float) -> Hold:
        action = HoldReplica(
            project=hold.project, service=hold.service, index=hold.index, in_traffic=hold.in_traffic,
            timeout_seconds=ready_seconds,
        )  # fmt: skip
        trouble: BennuError | None = None
        try:
            say(self._engine.execute(action, say, threading.Event()).summary)
        except BennuError as error:
            trouble = error
        seen = self._engine.observe(hold.project).hold(hold.name)
        if seen is None:
            self.holds.forget(hold)
            raise trouble or NotFound(
                f"{hold.name} went away while it was being held", "`bennu status` shows what runs"
            )

        def change(found: Hold) -> Hold:
            return msgspec.structs.replace(
                found, stage="held", set=seen.replica.set, container=seen.replica.container,
                in_traffic=seen.traffic == "in",
            )  # fmt: skip

        held = self.holds.change(hold, change) or hold
        with suppress(BennuError, OSError, sqlite3.Error):  # the agent looks again
            self.look(held)
        if trouble is not None:
            raise trouble
        return held

    def _end(self, hold: Hold, say: Callable[[str], None], cancel: threading.Event) -> None:
        with suppress(BennuError, OSError):  # the last look, while there is something to see
            self.look(hold)
        receipt = self._engine.execute(
            EndHold(project=hold.project, service=hold.service, index=hold.index), say, cancel
        )
        if self.holds.end(hold, "ended", self._moment().wall):  # else somebody else was at it too, and has said so
            say(f"{hold.project}: {receipt.summary}")


def _ending(hold: Hold, outcome: str) -> Hold:
    return hold if hold.stage == "ending" else msgspec.structs.replace(hold, stage="ending", outcome=outcome)


def _kept(hold: Hold, now: Moment) -> Hold:
    anchored = lease.anchored(hold, now)
    return _ending(anchored, "its time was up") if lease.due(anchored, now) == "end" else anchored
