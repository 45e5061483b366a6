"""What is made of HAProxy's counters."""

from __future__ import annotations

import math

import pytest

from bennu.switch.control import Counters
from bennu.switch.meter import Figures, Meter, counts, so_far


def counters(server: str, **values: int) -> Counters:
    names = ("sessions", "requests", "server_errors", "connect_failures", "response_failures", "answers", "aborts")
    numbers = {name: values.get(name, 0) for name in (*names, "retries", "rate")}
    return Counters(backend="web.0.80", server=server, is_http=values.get("is_http", 1) == 1, **numbers)


def reading(*servers: Counters, pid: int = 1, times: dict | None = None):
    return counts(pid, servers, times or {})


def test_only_what_came_since_the_first_reading_counts():
    meter = Meter(reading(counters("a:1", requests=10, answers=10, server_errors=2), times={("a", 500): 10}))
    assert meter.figures("a") == Figures()
    meter.take(
        reading(counters("a:1", requests=14, answers=13, server_errors=3), times={("a", 500): 11, ("a", 900): 2})
    )
    assert meter.figures("a") == Figures(answers=3, failures=1, pending=1, times={500: 1, 900: 2})
    assert meter.figures("b") == Figures()


def test_servers_of_a_set_are_added_up_and_what_breaks_off_is_a_failure():
    first = counters("a:1", requests=3, answers=1, connect_failures=1, response_failures=1)
    second = counters("a:2", requests=5, answers=2, aborts=1, retries=1)
    found = so_far(reading(first, second, counters("b:1", requests=9, answers=9)), "a")
    assert found == Figures(answers=5, failures=2, pending=1)


def test_connections_that_are_made_are_the_answers_of_tcp():
    found = so_far(reading(counters("a:1", requests=8, connect_failures=2, aborts=3, is_http=0)), "a")
    assert found == Figures(answers=8, failures=2)
    assert found.p99_seconds is None


def test_a_counter_that_begins_anew_takes_nothing_away():
    meter = Meter(reading(counters("a:1", requests=10, answers=10)))
    meter.take(reading(counters("a:1", requests=2, answers=2)))  # added again
    both = reading(counters("a:1", requests=2, answers=2)) | reading(counters("a:1", requests=5, answers=5), pid=2)
    meter.take(both)
    meter.take(reading(counters("a:1", requests=6, answers=6), pid=2))  # the older process has ended
    assert meter.figures("a").answers == 8


def test_a_jump_of_the_clock_takes_the_times_away_and_not_the_answers():
    meter = Meter(reading())
    meter.take(reading(counters("a:1", requests=1, answers=1), times={("a", 9_000_000): 1}), timed=False)
    meter.take(reading(counters("a:1", requests=2, answers=2), times={("a", 9_000_000): 1, ("a", 100): 1}))
    assert meter.figures("a") == Figures(answers=2, times={100: 1})


@pytest.mark.parametrize(
    ("times", "pending", "p99"),
    [
        ({}, 3, None),
        ({1000: 99, 5_000_000: 1}, 0, 0.001),
        ({1000: 98, 5_000_000: 2}, 0, 5.0),
        ({1000: 99}, 1, 0.001),
        ({1000: 98}, 2, math.inf),
        ({2000: 1}, 0, 0.002),
    ],
)
def test_a_percentile_counts_those_that_still_wait_as_slow(times, pending, p99):
    assert Figures(times=times, pending=pending).p99_seconds == p99
