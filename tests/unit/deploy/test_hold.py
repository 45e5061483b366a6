"""A hold by the clock: playbooks of two clocks, one of which anybody can set."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bennu.deploy.hold import lease as holding
from bennu.deploy.hold.lease import DAY, HOUR, Hold, Moment
from bennu.errors import Invalid

START = 1_800_000_000.0


@dataclass
class Clocks:
    """A host's clocks; ``sleep`` is both, ``set`` the wall clock alone, ``reboot`` a new boot after a while off."""

    wall: float = START
    boot: int = 1
    uptime: float = 5000.0

    def now(self) -> Moment:
        return Moment(self.wall, f"boot-{self.boot}", self.uptime)

    def sleep(self, seconds: float) -> None:
        self.wall += seconds
        self.uptime += seconds

    def set(self, seconds: float) -> None:
        self.wall += seconds

    def reboot(self, off: float = 60.0, *, battery: bool = True) -> None:
        self.wall = self.wall + off if battery else 0.0
        self.boot += 1
        self.uptime = 10.0


class Keeper:
    """An agent reduced to its decisions: what was due, when, in order."""

    def __init__(self, clocks: Clocks, hold: Hold) -> None:
        self.clocks, self.hold = clocks, hold
        self.done: list[tuple[str, float]] = []

    def look(self) -> None:
        now = self.clocks.now()
        self.hold = holding.anchored(self.hold, now)
        step = holding.due(self.hold, now)
        if step is None or self.is_over:
            return
        self.done.append((step, round(self.clocks.wall - START)))
        if step != "end":
            self.hold = holding.warned(self.hold, step)

    def run(self, seconds: float) -> None:
        """Live on, looking as often as the agent does."""
        end = self.clocks.uptime + seconds
        while self.clocks.uptime < end and not self.is_over:
            self.look()
            pause = max(holding.next_seconds(self.hold, self.clocks.now()), 1.0)
            self.clocks.sleep(min(pause, 30.0 if pause < 120 else 299.0, end - self.clocks.uptime))
        self.look()

    @property
    def is_over(self) -> bool:
        return any(step == "end" for step, _ in self.done)

    @property
    def steps(self) -> list[str]:
        return [step for step, _ in self.done]


def held(clocks: Clocks, seconds: float = 7 * DAY) -> Keeper:
    hold = holding.begun(
        "shop", "web", 2, seconds=seconds, reason="leaks", author="root@host", in_traffic=False, now=clocks.now()
    )
    return Keeper(clocks, hold)


def test_an_undisturbed_week():
    keeper = held(Clocks())
    keeper.run(8 * DAY)
    assert keeper.done == [("day", 6 * DAY), ("hour", 7 * DAY - HOUR), ("end", 7 * DAY)]


@pytest.mark.parametrize(
    ("seconds", "steps"),
    [
        (DAY + 1, ["day", "hour", "end"]),
        (DAY, ["hour", "end"]),
        (2 * HOUR, ["hour", "end"]),
        (HOUR, ["end"]),
        (5, ["end"]),
    ],
)
def test_nobody_is_warned_of_what_he_has_just_asked_for(seconds: float, steps: list[str]):
    keeper = held(Clocks(), seconds)
    keeper.run(2 * DAY)
    assert keeper.steps == steps


def test_an_agent_that_was_dead_ends_it_at_once_and_one_that_was_late_warns_once():
    clocks = Clocks()
    keeper = held(clocks)
    clocks.sleep(7 * DAY - 600)
    keeper.look()
    keeper.look()
    assert keeper.steps == ["hour"]
    clocks.sleep(20 * DAY)
    keeper.look()
    assert keeper.steps == ["hour", "end"]
    assert holding.countdown(keeper.hold, clocks.now()) == "over; it is being destroyed"


def test_a_reboot_after_the_end_ends_it_at_once():
    clocks = Clocks()
    keeper = held(clocks)
    keeper.run(DAY)
    clocks.reboot(off=6 * DAY)
    keeper.look()
    assert keeper.done == [("end", 7 * DAY)]


def test_the_time_that_a_host_is_off_counts():
    clocks = Clocks()
    keeper = held(clocks)
    keeper.run(DAY)
    clocks.reboot(off=2 * DAY)
    keeper.run(5 * DAY)
    assert keeper.done == [("day", 6 * DAY), ("hour", 7 * DAY - HOUR), ("end", 7 * DAY)]


@pytest.mark.parametrize("back", [600, HOUR, DAY, 365 * DAY])
def test_a_clock_that_is_set_back_makes_it_no_longer(back: float):
    clocks = Clocks()
    keeper = held(clocks)
    keeper.run(3 * DAY)
    clocks.set(-back)
    before = clocks.uptime
    keeper.run(30 * DAY)
    assert keeper.steps == ["day", "hour", "end"]
    assert clocks.uptime - before == pytest.approx(4 * DAY, abs=1)


def test_a_clock_that_is_set_back_while_nobody_looks():
    clocks = Clocks()
    keeper = held(clocks)
    clocks.sleep(3 * DAY)
    clocks.set(-10 * DAY)
    clocks.sleep(4 * DAY)
    keeper.look()
    assert keeper.steps == ["end"]


def test_a_clock_without_a_battery_takes_nothing_back():
    clocks = Clocks()
    keeper = held(clocks)
    keeper.run(3 * DAY)
    clocks.reboot(battery=False)
    before = clocks.uptime
    keeper.run(30 * DAY)
    assert keeper.is_over
    assert clocks.uptime - before == pytest.approx(4 * DAY, abs=600)


def test_many_reboots_with_a_clock_that_always_begins_at_nought():
    clocks = Clocks()
    keeper = held(clocks, 2 * DAY)
    lived = 0.0
    while not keeper.is_over:
        keeper.run(HOUR)
        lived += HOUR
        clocks.reboot(battery=False)
        assert lived < 3 * DAY
    assert lived <= 2 * DAY + HOUR


def test_a_clock_that_is_set_forward_leaves_an_hour():
    clocks = Clocks()
    keeper = held(clocks)
    keeper.run(DAY)
    clocks.set(100 * DAY)
    keeper.look()
    assert keeper.steps == ["hour"]
    assert "was set forward" in holding.warning(keeper.hold, clocks.now())
    before = clocks.uptime
    keeper.run(DAY)
    assert keeper.steps == ["hour", "end"]
    assert clocks.uptime - before == pytest.approx(HOUR, abs=60)


def test_a_clock_that_is_set_forward_and_right_again_costs_nothing():
    clocks = Clocks()
    keeper = held(clocks)
    keeper.run(DAY)
    clocks.set(100 * DAY)
    keeper.run(HOUR / 2)
    clocks.set(-100 * DAY)
    keeper.run(HOUR * 2)
    assert not keeper.is_over
    keeper.run(8 * DAY)
    assert keeper.done[-1] == ("end", 7 * DAY)


def test_a_clock_that_is_tuned_is_believed():
    clocks = Clocks()
    keeper = held(clocks, 2 * HOUR)
    for _ in range(100):
        keeper.run(60)
        clocks.set(0.3)
    keeper.run(HOUR)
    assert keeper.is_over
    assert keeper.done[-1][1] == pytest.approx(2 * HOUR, abs=31)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("sleep"), st.floats(0, 3 * DAY)),
            st.tuples(st.just("set"), st.floats(-400 * DAY, 400 * DAY)),
            st.tuples(st.just("run"), st.floats(0, DAY)),
        ),
        max_size=12,
    )
)
def test_in_one_boot_no_clock_makes_it_longer(events: list[tuple[str, float]]):
    clocks = Clocks()
    keeper = held(clocks, 2 * DAY)
    began = clocks.uptime
    for what, amount in events:
        getattr(keeper if what == "run" else clocks, what)(amount)
        lived = clocks.uptime - began
        assert holding.left_seconds(keeper.hold, clocks.now()) <= 2 * DAY - lived + 1e-3
        if lived > 2 * DAY:
            keeper.look()
            assert keeper.is_over


def test_a_renewal_begins_anew_and_is_counted():
    clocks = Clocks()
    keeper = held(clocks)
    keeper.run(6 * DAY + 100)
    assert keeper.steps == ["day"]
    keeper.hold = holding.renewed(keeper.hold, 2 * DAY, clocks.now())
    assert holding.admonition(keeper.hold) is None
    assert holding.due(keeper.hold, clocks.now()) is None
    keeper.run(3 * DAY)
    assert keeper.steps == ["day", "day", "hour", "end"]
    again = holding.renewed(keeper.hold, 2 * DAY, clocks.now())
    assert again.renewals == 2
    assert "If you set up a cron job to renew it, you are doing it wrong" in str(holding.admonition(again))


@pytest.mark.parametrize("seconds", [0, -1, 30 * DAY + 1, float("inf"), float("nan")])
def test_lengths_that_no_hold_may_have(seconds: float):
    with pytest.raises(Invalid, match="a hold for"):
        held(Clocks(), seconds)
    with pytest.raises(Invalid, match="a hold for"):
        holding.renewed(held(Clocks()).hold, seconds, Clocks().now())


def test_it_needs_a_reason():
    with pytest.raises(Invalid, match=r"web\.2 needs a reason"):
        holding.begun("shop", "web", 2, seconds=1, reason=" \n", author="me", in_traffic=False, now=Clocks().now())


def test_words():
    clocks = Clocks()
    keeper = held(clocks)
    clocks.sleep(30)
    assert holding.sentence(keeper.hold, clocks.now()) == (
        "web.2 is held until 2027-01-22 08:00 UTC (6d 23h left) by root@host: leaks"
    )
    assert holding.plan_lines([keeper.hold], clocks.now())[0].endswith("; it stays as it is")
    assert [holding.spell(one) for one in (0, 59, 60, 3700, 90000, 7 * DAY)] == [
        "0s",
        "59s",
        "1m",
        "1h 1m",
        "1d 1h",
        "7d",
    ]
