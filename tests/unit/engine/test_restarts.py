"""Restarts: policies, and delays that grow as long as a replica keeps ending."""

import pytest

from bennu.compose.model import Restart
from bennu.engine.embedded.restarts import (
    LONGEST_DELAY_SECONDS,
    STABLE_SECONDS,
    Attempts,
    after_attempt,
    after_end,
    comes_back,
)


@pytest.mark.parametrize(
    ("policy", "status", "count", "expected"),
    [
        (None, 0, 1000, True),
        (None, 1, 0, True),
        (Restart(condition="no"), 1, 0, False),
        (Restart(condition="always"), 0, 1000, True),
        (Restart(condition="unless-stopped"), 0, 5, True),
        (Restart(condition="on-failure"), 0, 0, False),
        (Restart(condition="on-failure"), 1, 1000, True),
        (Restart(condition="on-failure", max_attempts=2), 1, 1, True),
        (Restart(condition="on-failure", max_attempts=2), 1, 2, False),
        (Restart(condition="always", max_attempts=0), 0, 0, False),
    ],
)
def test_policies(policy, status, count, expected):
    assert comes_back(policy, status, count) is expected


def crash_loop(lives: list[float], policy: Restart | None = None) -> list[float]:
    """The delay before each restart of a replica that lives so long each time."""
    now, delays, attempts = 1000.0, [], Attempts()
    for life in lives:
        started, ended = now, now + life
        attempts = after_end(attempts, started=started, ended=ended, policy=policy)
        assert after_end(attempts, started=started, ended=ended + 5, policy=policy) == attempts
        delays.append(round(attempts.not_before - ended, 3))
        now = attempts.not_before
        attempts = after_attempt(attempts, now, policy)
    return delays


def test_the_delay_doubles_to_a_minute():
    delays = crash_loop([0.0] * 20)
    assert delays[:5] == [0.1, 0.2, 0.4, 0.8, 1.6]
    assert delays[-1] == LONGEST_DELAY_SECONDS
    assert delays == sorted(delays)


def test_it_begins_anew_after_a_while_of_running():
    assert crash_loop([0, 0, 0, STABLE_SECONDS, 0]) == [0.1, 0.2, 0.4, 0.1, 0.2]


def test_the_files_own_delay():
    delays = crash_loop([0, 0, 0], Restart(condition="always", delay_seconds=5))
    assert delays == [5, 10, 20]
    assert crash_loop([0], Restart(condition="always", delay_seconds=90)) == [90]


def test_an_attempt_that_fails_waits_too():
    attempts = after_attempt(after_attempt(Attempts(), 100.0), 101.0)
    assert (attempts.count, attempts.not_before) == (2, pytest.approx(101.4))


def test_one_that_never_started():
    attempts = after_end(Attempts(), started=None, ended=50.0)
    assert attempts.not_before == pytest.approx(50.1)
