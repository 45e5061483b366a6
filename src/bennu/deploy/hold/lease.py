"""A hold: the lease on a replica that may drift, and what is due of it when. Pure; time is an argument.

Theory. A hold ends, whatever happens to the clocks. Two measure it. The wall clock says when it is over for people and
after a reboot, and can be set. The boot clock counts the seconds of one boot, those asleep too, and cannot; it knows
nothing of the time that a host was off. ``Anchor`` is one reading of both with what was left at that moment, made anew
every few minutes and in every boot. Whichever clock says that less is left is believed: one that is set back never
makes a hold longer. Only where the wall clock has run ahead of the boot clock in one boot, somebody has set it: then
the hold still gets its last hour, in which the clock may be set right, and people are told.

``holds`` keeps the records, ``hold_keeper`` does what is due.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple

import msgspec

from bennu.compose.struct import Value
from bennu.engine.sets import SetId
from bennu.errors import Invalid

MINUTE: Final = 60.0
HOUR: Final = 3600.0
DAY: Final = 86400.0
LONGEST_SECONDS: Final = 30 * DAY
TUNE_SECONDS: Final = 60.0
"""Clocks that are so far apart are not being tuned: somebody has set one."""
ANCHOR_SECONDS: Final = 300.0
WARNINGS: Final[tuple[tuple[Literal["day", "hour"], float], ...]] = (("day", DAY), ("hour", HOUR))
RENEWALS_UNTIL_TOLD: Final = 2

Stage = Literal["beginning", "held", "ending"]
Step = Literal["day", "hour", "end"]
"""What can be due: a warning, a day or an hour before; the end."""


class Moment(NamedTuple):
    """A reading of both clocks: Unix seconds, the boot's identity, seconds since that boot."""

    wall: float
    boot: str
    uptime: float


class Anchor(Value, frozen=True, kw_only=True):
    """A reading of both clocks, and the seconds that the boot clock left then."""

    wall: float
    boot: str
    uptime: float
    left: float


class Hold(Value, frozen=True, kw_only=True, omit_defaults=True):
    """The lease of one replica. ``until``: when it ends by the wall clock (Unix seconds).

    ``stage`` is what somebody has begun to do and may have died over. ``warned``: the warnings of this length that
    were given. ``overdue``: when (of which boot) the wall clock alone was first seen to have run ahead of this hold.
    ``outcome`` (one line) says why it is ending, ``ended`` when the replica was gone.
    """

    id: int = 0
    project: str
    service: str
    index: int
    reason: str
    author: str
    in_traffic: bool = False
    stage: Stage = "beginning"
    set: SetId = SetId("")
    container: str = ""
    began: float
    length_seconds: float
    until: float
    anchor: Anchor
    renewals: int = 0
    warned: tuple[Step, ...] = ()
    overdue: tuple[str, float] | None = None
    ended: float | None = None
    outcome: str | None = None

    @property
    def name(self) -> str:
        """``web.2``."""
        return f"{self.service}.{self.index}"


class Lease(Value, frozen=True, kw_only=True):
    """What a look at a project shows of a hold. ``until`` is Unix seconds by this host's clock."""

    replica: str
    until: float
    left_seconds: float
    reason: str
    author: str
    renewals: int


def begun(
    project: str, service: str, index: int, *, seconds: float, reason: str, author: str, in_traffic: bool, now: Moment
) -> Hold:
    """A new hold. ``Invalid`` for no reason, or for a length that none may have."""
    if not reason.strip():
        raise Invalid(
            f"a hold of {service}.{index} needs a reason", "--reason TEXT: whoever finds it wants to know why"
        )
    check_length(seconds)
    return Hold(
        project=project, service=service, index=index, reason=" ".join(reason.split()), author=author,
        in_traffic=in_traffic, began=now.wall, length_seconds=seconds, until=now.wall + seconds,
        anchor=_anchor(now, seconds),
    )  # fmt: skip


def check_length(seconds: float) -> None:
    """``Invalid`` for a length that no hold may have."""
    if not 0 < seconds <= LONGEST_SECONDS or math.isnan(seconds):
        what = "no time at all" if not seconds > 0 else f"longer than {spell(LONGEST_SECONDS)}, the longest there is"
        raise Invalid(
            f"a hold for {spell(seconds)} is {what}",
            f"--for {spell(LONGEST_SECONDS)} and `bennu hold --renew`; what has to stay belongs into the image",
        )


def renewed(hold: Hold, seconds: float, now: Moment) -> Hold:
    """The hold with a new length that begins now. ``Invalid`` as for a new one."""
    check_length(seconds)
    return msgspec.structs.replace(
        hold, length_seconds=seconds, until=now.wall + seconds, anchor=_anchor(now, seconds),
        renewals=hold.renewals + 1, warned=(), overdue=None,
    )  # fmt: skip


def admonition(hold: Hold) -> str | None:
    """What is said to somebody who renews again and again."""
    if hold.renewals < RENEWALS_UNTIL_TOLD:
        return None
    return (
        f"{hold.name} has been renewed {hold.renewals} times. If you set up a cron job to renew it, you are doing it"
        f" wrong: `bennu hold --harvest {hold.name}` turns what you found into lines for the Dockerfile."
    )


def left_seconds(hold: Hold, now: Moment) -> float:
    """What is left of a hold; 0 or less when it is over."""
    by_wall, by_boot = hold.until - now.wall, _left_by_boot(hold.anchor, now)
    if by_wall >= by_boot:
        return by_boot
    if not _is_ahead(hold, now):
        return by_wall
    since = hold.overdue[1] if hold.overdue is not None and hold.overdue[0] == now.boot else now.uptime
    return max(by_wall, min(by_boot, since + HOUR - now.uptime))


def anchored(hold: Hold, now: Moment) -> Hold:
    """The hold with a fresh reading of the clocks, where the last one is old or of another boot; else itself."""
    overdue = hold.overdue
    if not _is_ahead(hold, now) or hold.until - now.wall > HOUR:
        overdue = None
    elif overdue is None or overdue[0] != now.boot:
        overdue = (now.boot, now.uptime)
    anchor = hold.anchor
    if anchor.boot != now.boot or not 0 <= now.uptime - anchor.uptime < ANCHOR_SECONDS:
        anchor = _anchor(now, _left_by_boot(anchor, now))
    if (anchor, overdue) == (hold.anchor, hold.overdue):
        return hold
    return msgspec.structs.replace(hold, anchor=anchor, overdue=overdue)


def due(hold: Hold, now: Moment) -> Step | None:
    """What has to be done now. Of two warnings that are due only the later one is."""
    left = left_seconds(hold, now)
    if left <= 0 or hold.stage == "ending":
        return "end"
    steps = [step for step, before in _warnings(hold) if left <= before]
    return steps[-1] if steps else None


def warned(hold: Hold, step: Step) -> Hold:
    """The hold after a warning was given; those before it need not be any more."""
    names: list[Step] = [name for name, _ in WARNINGS]
    given = tuple(name for name in names if name in hold.warned or names.index(name) <= names.index(step))
    return msgspec.structs.replace(hold, warned=given)


def next_seconds(hold: Hold, now: Moment) -> float:
    """How long until something is due; 0 if it is."""
    left = left_seconds(hold, now)
    if due(hold, now) is not None:
        return 0.0
    return min((left, *(left - before for _, before in _warnings(hold))))


def _warnings(hold: Hold) -> list[tuple[Step, float]]:
    """The warnings that are not given yet: who asked for an hour needs no warning an hour before."""
    return [(step, before) for step, before in WARNINGS if step not in hold.warned and hold.length_seconds > before]


def _anchor(now: Moment, left: float) -> Anchor:
    return Anchor(wall=now.wall, boot=now.boot, uptime=now.uptime, left=left)


def _left_by_boot(anchor: Anchor, now: Moment) -> float:
    if now.boot == anchor.boot:
        return anchor.left - max(0.0, now.uptime - anchor.uptime)
    # how long the host was off, the wall clock alone can say; that this boot has lasted so long is sure
    return anchor.left - max(now.uptime, now.wall - anchor.wall, 0.0)


def _is_ahead(hold: Hold, now: Moment) -> bool:
    """The wall clock was set forward in this boot, as seen from the hold's anchor."""
    return now.boot == hold.anchor.boot and _left_by_boot(hold.anchor, now) - (hold.until - now.wall) > TUNE_SECONDS


def seen(hold: Hold, now: Moment) -> Lease:
    """A hold as it is seen now."""
    left = max(0.0, left_seconds(hold, now)) if hold.stage != "ending" else 0.0
    return Lease(
        replica=hold.name, until=now.wall + left, left_seconds=round(left, 3), reason=hold.reason,
        author=hold.author, renewals=hold.renewals,
    )  # fmt: skip


# words


def spell(seconds: float) -> str:
    """``7d``, ``6d 23h``, ``1h 5m``, ``40s``: two units at most."""
    if not math.isfinite(seconds):
        return str(seconds)
    whole = max(0, int(seconds))
    parts = [(whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "m"), (whole % 60, "s")]
    while len(parts) > 1 and not parts[0][0]:
        parts.pop(0)
    return " ".join(f"{count}{unit}" for count, unit in parts[:2] if count) or "0s"


def instant(seconds: float) -> str:
    """``2026-12-08 16:01 UTC``."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def countdown(hold: Hold, now: Moment) -> str:
    """``until 2026-12-08 16:01 UTC (6d 23h left)``."""
    left = left_seconds(hold, now)
    if left <= 0 or hold.stage == "ending":
        return "over; it is being destroyed"
    return f"until {instant(now.wall + left)} ({spell(left)} left)"


def sentence(hold: Hold, now: Moment) -> str:
    """``web.2 is held until ... by root@host: why``, for a plan, a status, a log."""
    return f"{hold.name} is held {countdown(hold, now)} by {hold.author}: {hold.reason}"


def plan_lines(holds: Iterable[Hold], now: Moment) -> list[str]:
    """What a plan says of a project's holds: they are no part of it."""
    return [f"{sentence(hold, now)}; it stays as it is" for hold in holds if hold.ended is None]


def warning(hold: Hold, now: Moment) -> str:
    """What is said a day and an hour before the end."""
    left = left_seconds(hold, now)
    text = (
        f"{hold.name} is held for {spell(left)} more and is then destroyed with all that it wrote ({hold.reason}):"
        f" `bennu hold --harvest {hold.name}` saves what was found"
    )
    if _is_ahead(hold, now) and hold.until - now.wall < left:
        text += "; the clock of this host was set forward, by which it would be over sooner"
    return text
