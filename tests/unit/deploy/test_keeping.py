"""Kept sets cool down at their time."""

from __future__ import annotations

import pytest

from bennu.deploy.keeping import LATER_SECONDS, Cooling, Keeping, cooling
from bennu.engine.sets import SetObservation
from tests.unit.deploy.fleets import observation, release, seen, service

ACTIVE = seen(release(service("web"), version="2").spec("web"))
KEPT = release(service("web"), version="1").spec("web")
WRITER = release(service("db", writes=True), version="1").spec("db")
USUAL = Keeping(warm_seconds=600, frozen=1)
NOTHING = Cooling()


def older(version: str, released: float, state: str = "running") -> SetObservation:
    return seen(release(service("web"), version=version).spec("web"), released=released, state=state)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        (seen(KEPT, released=1000), Cooling(later_seconds=600)),
        (seen(KEPT, released=500), Cooling(later_seconds=100)),
        (seen(KEPT, released=400), Cooling(freeze=(KEPT.id,))),
        (seen(KEPT, released=0.0), Cooling(freeze=(KEPT.id,))),
        (seen(KEPT, released=1030.0), Cooling(later_seconds=630)),  # the clock was set back by a little
        (seen(KEPT, released=100_000.0), Cooling(freeze=(KEPT.id,))),  # by a lot
        (seen(KEPT, released=0.0, state="paused"), NOTHING),  # it is frozen already
        (seen(KEPT, released=0.0, state="exited"), NOTHING),  # it is cold already
        (seen(KEPT, released=0.0, state="created"), NOTHING),
        (seen(KEPT), NOTHING),  # a candidate
        (seen(WRITER, released=1000), Cooling(stop=(WRITER.id,))),  # never kept warm
        (seen(WRITER, released=1000, state="paused"), Cooling(stop=(WRITER.id,))),  # nor frozen
    ],
)
def test_a_kept_set_is_frozen_when_its_time_is_over(kept, expected):
    assert cooling(observation(ACTIVE, kept=[kept]), USUAL, 1000) == expected


def test_only_the_newest_kept_sets_are_frozen():
    kept = [older("a", 100), older("b", 300), older("c", 200, "paused"), older("d", 50, "exited")]
    seen_now = observation(ACTIVE, kept=kept)
    assert cooling(seen_now, USUAL, 1000) == Cooling(freeze=(kept[1].id,), stop=tuple(sorted((kept[0].id, kept[2].id))))
    two = cooling(seen_now, Keeping(warm_seconds=600, frozen=2), 1000)
    assert two == Cooling(freeze=(kept[1].id,), stop=(kept[0].id,))
    none = cooling(seen_now, Keeping(warm_seconds=600), 1000)
    assert none == Cooling(stop=tuple(sorted(one.id for one in kept[:3])))


def test_a_warm_set_that_is_newer_is_the_one_that_will_be_frozen():
    kept = [older("a", 100, "paused"), older("b", 900)]
    assert cooling(observation(ACTIVE, kept=kept), USUAL, 1000) == Cooling(stop=(kept[0].id,), later_seconds=500)


def test_a_set_that_is_half_frozen_is_frozen_wholly():
    half = seen(release(service("web", replicas=2), version="1").spec("web"), released=1.0, state="paused")
    mixed = SetObservation(
        spec=half.spec, released=1.0, replicas=(half.replicas[0], seen(half.spec, there=[2]).replicas[0])
    )
    assert cooling(observation(ACTIVE, kept=[mixed]), USUAL, 1000) == Cooling(freeze=(half.id,))


def test_an_active_set_never_cools():
    assert cooling(observation(seen(KEPT, released=0.0)), Keeping(), 1e9) == NOTHING


def test_the_next_one_says_when_to_look_again():
    others = [older(f"k{at}", at) for at in (900, 950, 1)]
    due = cooling(observation(ACTIVE, kept=others), USUAL, 1000)
    assert due == Cooling(stop=(others[2].id,), later_seconds=500)
    assert LATER_SECONDS > 500
