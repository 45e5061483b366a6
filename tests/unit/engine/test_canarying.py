"""Trials with a clock of their own, and what is measured while a clock jumps."""

from __future__ import annotations

import pytest

from bennu.compose.extension import Canary
from bennu.engine.actions import Trial
from bennu.engine.embedded.canarying import Trials
from bennu.engine.embedded.measuring import SETTLING_SECONDS, Measurement
from bennu.engine.embedded.wellness import Wellness
from bennu.engine.sets import ReplicaObservation, SetId
from bennu.errors import Failed
from bennu.switch.meter import ANSWERED, Count, Figures


def trial(service: str = "web", **canary: object) -> Trial:
    settings = Canary(**{"seconds": 60, "max_error_share": 0.01, **canary})  # type: ignore[arg-type]
    return Trial(set=SetId(f"{service}-new"), old=SetId(f"{service}-old"), canary=settings)


class Play:
    """Trials that begin at 100; what sets have answered is said as it goes."""

    def __init__(self, *trials: Trial) -> None:
        self.figures: dict[str, Figures] = {}
        self.trials = Trials(trials, lambda name: self.figures.get(name, Figures()), 100)

    def at(self, now: float, **figures: Figures) -> float:
        self.figures |= {f"{name}-new": found for name, found in figures.items()}
        return self.trials.look(now)


def test_a_trial_takes_its_time():
    play = Play(trial())
    assert play.at(100) == 60
    assert play.at(130, web=Figures(answers=500)) == 30
    assert play.at(160) == 0
    assert play.trials.notes == {}


def test_a_bad_trial_ends_at_once():
    play = Play(trial())
    play.at(101, web=Figures(answers=50, failures=1))
    with pytest.raises(Failed, match=r"canary web-new with 10% of the traffic: 6 of 100 answers failed \(6.0%"):
        play.at(102, web=Figures(answers=100, failures=6))


def test_several_end_with_the_longest_and_each_is_judged_at_its_own_time():
    play = Play(trial(), trial("api", seconds=90))
    assert play.at(159, web=Figures(answers=50), api=Figures(answers=50, failures=1)) == 31
    assert play.at(161) == 29
    with pytest.raises(Failed, match="canary api-new"):
        play.at(190)


@pytest.mark.parametrize(("answers", "said"), [(0, "only 0 requests in 60 s"), (1, "only 1 request in 60 s")])
def test_too_few_requests_are_said(answers, said):
    play = Play(trial())
    assert play.at(160, web=Figures(answers=answers)) == 0
    assert play.trials.notes == {"web-new": f"{said}, too few to tell"}
    assert play.trials.ended() == [f"{said}, too few to tell"]


def test_too_few_requests_fail_where_that_was_asked_for():
    play = Play(trial(min_requests=50))
    play.at(159, web=Figures(answers=49))
    with pytest.raises(Failed, match="only 49 requests in 60 s, and min_requests asks for 50"):
        play.at(160)


def test_what_is_told_under_way_and_at_the_end():
    play = Play(trial())
    play.at(110, web=Figures(answers=4, failures=1))
    assert play.trials.told() == "10%: 4 answers, 1 failed (25.0%); the old set: 0 answers, 0 failed (0.0%)"
    both = Play(trial(), trial("api"))
    both.at(160, web=Figures(answers=50))
    assert both.trials.told().startswith("web-new: 10%: 50 answers")
    assert both.trials.ended() == [
        "web-new: 50 answers, 0 failed (0.0%)", "api-new: only 0 requests in 60 s, too few to tell",
    ]  # fmt: skip


def test_times_around_a_jump_of_the_clock_are_left_out():
    now = {"wall": 1000.0, "steady": 0.0}
    counters: dict[Count, int] = {}

    def later(seconds: float, took: int, *, jump: float = 0) -> None:
        now["wall"] += seconds + jump
        now["steady"] += seconds
        counters[Count("a", took, "1")] = counters.get(Count("a", took, "1"), 0) + 1
        counters[Count("a", ANSWERED, "1")] = counters.get(Count("a", ANSWERED, "1"), 0) + 1
        measured.take()

    measured = Measurement(lambda: dict(counters), lambda: (now["wall"], now["steady"]))
    later(1, 100)
    later(1, 3_600_000_000, jump=3600)
    later(1, 3_600_000_000)  # it had begun before
    later(SETTLING_SECONDS - 1, 3_600_000_000)
    later(1, 200)
    assert measured.figures("a") == Figures(answers=5, times={100: 1, 200: 1})


def replica(**fields: object) -> ReplicaObservation:
    return ReplicaObservation(
        **{"service": "web", "set": "web-new", "index": 1, "container": "c1", "state": "running", **fields}  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("later", "message"),
    [
        ([replica()], None),
        ([replica(state="exited", exit_status=3, problem="boom")], "ended with exit status 3 (boom) as a canary"),
        ([replica(restarts=1)], "ended as a canary, and was started again"),
        ([replica(container="c2")], "ended as a canary, and was started again"),
        ([replica(health="unhealthy", problem="probe ended with 1")], "fell ill as a canary: probe ended with 1"),
        ([], "is gone as a canary"),
        ([replica(health="starting"), replica(index=2, state="exited")], None),
    ],
)
def test_a_set_that_is_not_well_is_refused(later, message):
    found = [replica()]
    wellness = Wellness(lambda: found, lambda _one: ("web.1 | last words",), "as a canary")
    wellness.check()
    found = later
    if message is None:
        wellness.check()
        return
    with pytest.raises(Failed) as caught:
        wellness.check()
    assert message in caught.value.message
