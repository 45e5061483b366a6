"""When a drain is over."""

import threading

import pytest

from bennu.errors import Failed
from bennu.switch.drain import Progress, next_step, wait


def test_two_counts_of_nothing_end_it():
    first = next_step(Progress(), 0, 10)
    assert isinstance(first, Progress)
    assert next_step(first, 0, 10) == "done"


def test_a_session_between_them_starts_the_count_again():
    step = next_step(Progress(quiet=1), 3, 10)
    assert isinstance(step, Progress)
    assert step.quiet == 0


def test_time_runs_out_only_while_something_is_left_or_unsure():
    assert next_step(Progress(), 1, 0) == "late"
    assert next_step(Progress(quiet=1), 0, -1) == "done"


def test_pauses_grow_up_to_a_bound_and_never_past_the_deadline():
    step: object = Progress()
    for _ in range(40):
        assert isinstance(step, Progress)
        step = next_step(step, 1, 100)
    assert isinstance(step, Progress)
    assert step.pause_seconds == 0.2
    late = next_step(step, 1, 0.05)
    assert isinstance(late, Progress)
    assert late.pause_seconds == 0.05


def test_wait_says_how_many_are_left():
    counts = iter([3, 1, 0, 1, 0, 0])
    assert wait(lambda: next(counts), 10) == 0
    assert wait(lambda: 2, 0.02) == 2


def test_wait_can_be_interrupted():
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Failed, match="interrupted"):
        wait(lambda: 1, 10, cancel)
