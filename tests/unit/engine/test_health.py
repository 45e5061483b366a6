"""Health: which probe there is, when it is due, what its answers mean."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bennu.compose.extension import Probe, XBennu
from bennu.compose.model import Healthcheck, Service
from bennu.engine.embedded.health import Answer, Check, HealthState, after, check_of, due, due_eagerly
from bennu.oci import image_config
from bennu.oci.image_config import ContainerConfig

GOOD, BAD = Answer(0, "fine"), Answer(1, "first line\nno\n")
CHECK = Check(test=("CMD", "probe"), interval_seconds=10, retries=3, start_period_seconds=20, start_interval_seconds=2)


def service(**fields: object) -> Service:
    return Service(name="web", **fields)


def image(*test: str, **fields: int) -> ContainerConfig:
    return ContainerConfig(healthcheck=image_config.Healthcheck(test=test, **fields))


def test_there_is_none():
    assert check_of(service(), ContainerConfig()) is None
    assert check_of(service(), image("NONE")) is None
    assert check_of(service(healthcheck=Healthcheck(test=("NONE",))), image("CMD", "a")) is None
    assert check_of(service(healthcheck=Healthcheck(interval_seconds=3)), ContainerConfig()) is None


def test_dockers_defaults():
    found = check_of(service(healthcheck=Healthcheck(test=("CMD", "a"))), ContainerConfig())
    assert found == Check(
        test=("CMD", "a"),
        interval_seconds=30,
        timeout_seconds=30,
        retries=3,
        start_period_seconds=0,
        start_interval_seconds=5,
    )


def test_the_files_fields_win_over_the_images_one_by_one():
    config = image("CMD", "theirs", interval_ns=7_000_000_000, timeout_ns=2_000_000_000, retries=9)
    assert check_of(service(), config).interval_seconds == 7
    found = check_of(service(healthcheck=Healthcheck(interval_seconds=1)), config)
    assert (found.test, found.interval_seconds, found.timeout_seconds, found.retries) == (("CMD", "theirs"), 1, 2, 9)
    found = check_of(service(healthcheck=Healthcheck(test=("CMD-SHELL", "mine"), retries=1)), config)
    assert (found.test, found.interval_seconds, found.retries) == (("CMD-SHELL", "mine"), 7, 1)


def test_a_probe_of_our_own_wins():
    probe = Probe(kind="http", port=80, path="/up")
    found = check_of(
        service(x_bennu=XBennu(probe=probe), healthcheck=Healthcheck(interval_seconds=1)), image("CMD", "a")
    )
    assert found.test == probe
    assert found.interval_seconds == 1
    assert found.words == "http probe of port 80/up"


def test_one_good_answer_is_health():
    state = after(CHECK, after(CHECK, HealthState(started=100), BAD, 101), GOOD, 102)
    assert state == HealthState(verdict="healthy", started=100, since=102, failures=0, last=102, answer=GOOD)
    assert state.problem is None


def test_failures_in_the_start_period_do_not_count():
    state = HealthState(started=100)
    for now in range(101, 150):
        state = after(CHECK, state, BAD, now)
    assert state.verdict == "starting"
    assert state.problem == "probe ended with 1: no"
    state = after(CHECK, state, BAD, 100 + CHECK.patience_seconds)
    assert (state.verdict, state.since) == ("unhealthy", 150)


def test_a_healthy_one_has_its_retries():
    state = after(CHECK, HealthState(started=0), GOOD, 1)
    for now in (10, 20):
        state = after(CHECK, state, BAD, now)
        assert state.verdict == "healthy"
    assert (state.since, state.failures) == (1, 2)
    state = after(CHECK, state, BAD, 30)
    assert (state.verdict, state.since) == ("unhealthy", 30)
    assert after(CHECK, state, BAD, 40).since == 30
    assert after(CHECK, state, GOOD, 40).verdict == "healthy"


def test_when_probes_are_due():
    fresh = HealthState(started=100)
    assert due(CHECK, fresh) == due_eagerly(CHECK, fresh) == 100
    starting = after(CHECK, fresh, BAD, 101)
    assert due(CHECK, starting) == 103
    assert due_eagerly(CHECK, starting) == pytest.approx(101.1)
    healthy = after(CHECK, fresh, GOOD, 101)
    assert due(CHECK, healthy) == 111
    late = after(CHECK, fresh, BAD, 125)
    assert due(CHECK, late) == 135
    assert due_eagerly(CHECK, late) == 127.5
    assert due_eagerly(CHECK, late, since=125) == 125.1


@given(st.lists(st.booleans(), max_size=30), st.floats(0.05, 20))
def test_eager_probes_never_condemn_sooner(answers, pause):
    """However often it is asked, a replica has its start period and its retries before it is unhealthy."""
    state, now = HealthState(started=0.0), 0.0
    for good in answers:
        state = after(CHECK, state, GOOD if good else BAD, now)
        if good:
            assert state.verdict == "healthy"
        if state.verdict == "unhealthy" and not any(answers):
            assert now >= CHECK.patience_seconds
        assert due_eagerly(CHECK, state) <= due(CHECK, state)
        now += pause
