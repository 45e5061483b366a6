"""Kept sets cool down at their time."""

from __future__ import annotations

import pytest

from bennu.deploy.keeping import LATER_SECONDS, cooling
from tests.unit.deploy.fleets import observation, release, seen, service

ACTIVE = seen(release(service("web"), version="2").spec("web"))
KEPT = release(service("web"), version="1").spec("web")
WRITER = release(service("db", writes=True), version="1").spec("db")


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        (seen(KEPT, released=1000), ([], 600.0)),
        (seen(KEPT, released=500), ([], 100.0)),
        (seen(KEPT, released=400), ([KEPT.id], LATER_SECONDS)),
        (seen(KEPT, released=0.0), ([KEPT.id], LATER_SECONDS)),
        (seen(KEPT, released=0.0, state="exited"), ([], LATER_SECONDS)),  # it is cold already
        (seen(KEPT), ([], LATER_SECONDS)),  # a candidate
        (seen(WRITER, released=1000), ([WRITER.id], LATER_SECONDS)),  # never kept warm
    ],
)
def test_when_a_set_has_to_stop(kept, expected):
    due, later = cooling(observation(ACTIVE, kept=[kept]), 600, 1000)
    assert (list(due), later) == expected


def test_an_active_set_never_cools():
    assert cooling(observation(seen(KEPT, released=0.0)), 0, 1e9) == ((), LATER_SECONDS)


def test_the_next_one_says_when_to_look_again():
    others = [seen(release(service("web"), version=f"k{at}").spec("web"), released=at) for at in (900, 950, 1)]
    due, later = cooling(observation(ACTIVE, kept=others), 600, 1000)
    assert due == (others[2].id,)
    assert later == 500
