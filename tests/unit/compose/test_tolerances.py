"""``canary`` and ``watch`` of ``x-bennu``."""

from __future__ import annotations

import pytest

from bennu.compose.extension import Canary, Watch
from tests.unit.compose.support import service, service_error


def test_watches():
    assert service("x-bennu: {watch: 90s}").x_bennu.watch == Watch(seconds=90)
    assert service("x-bennu: {watch: {for: 1m, max_errors: 1%}}").x_bennu.watch == Watch(
        seconds=60, max_error_share=0.01
    )
    assert service("x-bennu: {watch: 0s}").x_bennu.watch is None
    for bad, message in (("{max_errors: 1%}", "no 'for'"), ("{for: 1m, max_errors: 200%}", "no share of a whole")):
        assert message in service_error(f"x-bennu: {{watch: {bad}}}").message


def test_all_limits_of_a_watch():
    text = "{for: 1m, max_errors: 1%, max_p99: 500ms, compare: {errors: 0.5%, p99: 100ms}}"
    assert service(f"x-bennu: {{watch: {text}}}").x_bennu.watch == Watch(
        seconds=60, max_error_share=0.01, max_p99_seconds=0.5, more_error_share=0.005, more_p99_seconds=0.1
    )
    found = service("x-bennu: {watch: {for: 1m, compare: {p99: 150%}}}").x_bennu.watch
    assert found == Watch(seconds=60, more_p99_share=1.5)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("30s", Canary(seconds=30, more_error_share=0.01)),
        ("{for: 30s}", Canary(seconds=30, more_error_share=0.01)),
        ("{for: 30s, weight: 25%, max_errors: 2%}", Canary(seconds=30, percent=25, max_error_share=0.02)),
        ("{for: 30s, compare: {errors: 0}, min_requests: 50}", Canary(seconds=30, more_error_share=0, min_requests=50)),
        ("{for: 30s, compare: {p99: 0.2}}", Canary(seconds=30, more_error_share=0.01, more_p99_share=0.2)),
        ("0s", None),
    ],
)
def test_a_canary_is_compared_with_the_old_set_unless_it_has_limits(text, wanted):
    assert service(f"x-bennu: {{canary: {text}}}").x_bennu.canary == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{weight: 10%}", "no 'for'"),
        ("{for: 1m, weight: 0%}", "is no share of the traffic"),
        ("{for: 1m, weight: 100%}", "is no share of the traffic"),
        ("{for: 1m, weight: 0.1}", "is no share of the traffic"),
        ("{for: 1m, min_requests: 0}", "less than 1"),
        ("{for: 1m, max_p99: 50}", "is not a duration"),
        ("{for: 1m, compare: {p99: -1%}}", "less than nothing"),
        ("{for: 1m, compare: {latency: 1s}}", "is not known in 'compare'"),
    ],
)
def test_what_is_wrong_is_said(text, message):
    assert message in service_error(f"x-bennu: {{canary: {text}}}").message
