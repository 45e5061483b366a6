"""What a rollout measures: gaps from stop to traffic, and the gap that is to be expected."""

from __future__ import annotations

from bennu.deploy.history import Revision
from bennu.deploy.measured import Measured, expected_gap
from bennu.deploy.planning import plan as planning
from bennu.engine.actions import Activate, Drain, Receipt, StopSet
from tests.unit.deploy.fleets import PROJECT, observation, seen, shop


def test_a_gap_runs_from_the_stop_to_the_traffic():
    old, new = shop(db="1"), shop("2", db="2")
    found = observation(*(seen(old.spec(name)) for name in old.services))
    measured = Measured(planning.make(new, found, revision=1))
    measured.note(StopSet(set=old.spec("db").id), Receipt(summary=""), 12.0, 2.0)
    measured.note(StopSet(set=old.spec("web").id), Receipt(summary=""), 12.0, 2.0)
    measured.note(Activate(project=PROJECT, sets={"db": new.spec("db").id}), Receipt(summary=""), 14.5, 0.5)
    measured.note(Activate(project=PROJECT, sets={"web": new.spec("web").id}), Receipt(summary=""), 15.0, 0.5)
    drained = Drain(set=old.spec("web").id, timeout_seconds=1)
    measured.note(drained, Receipt(summary="", figures={"sessions_left": 2.0}), 16.0, 1.0)
    assert measured.all == {"db": {"gap_seconds": 4.5}, old.spec("web").id: {"sessions_left": 2.0}}


def test_going_back_is_no_gap_of_the_new_set():
    old, new = shop(db="1"), shop(db="2")
    found = observation(*(seen(old.spec(name)) for name in old.services))
    measured = Measured(planning.make(new, found, revision=1))
    measured.note(StopSet(set=old.spec("db").id), Receipt(summary=""), 12.0, 2.0)
    measured.note(Activate(project=PROJECT, sets={"db": old.spec("db").id}), Receipt(summary=""), 14.5, 0.5)
    assert measured.all == {}


def revision(number: int, gap: float | None) -> Revision:
    return Revision(
        project=PROJECT, number=number, kind="apply", release=shop().digest, origin=number, sets={}, state="superseded",
        author="me", started=1.0, figures={} if gap is None else {"db": {"gap_seconds": gap}},
    )  # fmt: skip


def test_the_expected_gap_is_the_median_of_the_last_ones():
    assert expected_gap("db", []) is None
    assert expected_gap("db", [revision(2, None), revision(1, 3.0)]) == 3.0
    gaps = [1.0, 2.0, 9.0, 3.0, 4.0, 100.0, 100.0, 100.0]
    assert expected_gap("db", [revision(10 - at, gap) for at, gap in enumerate(gaps)]) == 3.0
    assert expected_gap("web", [revision(1, 3.0)]) is None
