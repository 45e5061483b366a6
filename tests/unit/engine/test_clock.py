from bennu.compose.model import Restart
from bennu.engine.clock import believable
from bennu.engine.embedded.health import Answer, Check, HealthState, after, due
from bennu.engine.embedded.restarts import Attempts, after_attempt, longest_delay

DAY = 86400.0


def test_what_is_due_is_believed_as_far_as_it_can_have_been_put():
    assert believable(110, 100, 10) == 110
    assert believable(90, 100, 10) == 90
    assert believable(111, 100, 10) == 100


def test_a_clock_that_is_set_back_puts_off_no_probe():
    check = Check(test=("CMD", "true"), interval_seconds=30)
    state = after(check, HealthState(started=DAY), Answer(0, ""), DAY + 5)
    assert due(check, state) == DAY + 35
    assert believable(due(check, state), DAY + 10, check.longest_seconds) == DAY + 35
    assert believable(due(check, state), 100.0, check.longest_seconds) == 100.0


def test_a_clock_that_is_set_back_keeps_no_replica_from_coming_back():
    patient = Restart(condition="any", delay_seconds=300)
    for policy in (None, patient):
        attempts = Attempts()
        for _ in range(20):
            attempts = after_attempt(attempts, DAY, policy)
        longest = longest_delay(policy)
        assert believable(attempts.not_before, DAY, longest) == DAY + longest
        assert believable(attempts.not_before, 0.0, longest) == 0.0
