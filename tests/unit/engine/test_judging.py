"""What limits say of figures."""

from __future__ import annotations

import pytest

from bennu.compose.extension import Tolerance
from bennu.engine.embedded.judging import described, refusal
from bennu.switch.meter import Figures


def figures(answers: int, failures: int = 0, *, slow: int = 0, took: int = 10_000, pending: int = 0) -> Figures:
    """``slow`` of the answers took a second, the others ``took`` microseconds."""
    return Figures(answers, failures, pending, {took: answers - slow, 1_000_000: slow})


ONE = Tolerance(max_error_share=0.01)
MORE = Tolerance(more_error_share=0.01)
FAST = Tolerance(max_p99_seconds=0.5)
LIKE = Tolerance(more_p99_seconds=0.1)
HALF = Tolerance(more_p99_share=0.5)


@pytest.mark.parametrize(
    ("limits", "new", "old", "early", "late"),
    [
        (Tolerance(), figures(1000, 900, slow=900), figures(1000), None, None),
        (ONE, figures(1000, 10), Figures(), None, None),
        (ONE, figures(1000, 11), Figures(), "11 of 1000 answers failed (1.1%, at most 1% is allowed)", ...),
        (ONE, figures(99, 1), Figures(), None, "1 of 99 answers failed (1.0%, at most 1% is allowed)"),
        (ONE, figures(19, 19), Figures(), None, None),  # too few to tell
        (Tolerance(max_error_share=0), figures(20, 1), Figures(), "1 of 20 answers failed", ...),
        (MORE, figures(100, 5), figures(900, 45), None, None),  # the old one is no better
        (MORE, figures(100, 5), figures(900, 9), "5.0%; 9 of 900 of the old set, 1.0%; at most 1% more", ...),
        (MORE, figures(100, 5), figures(10), None, None),  # nothing to compare with
        (FAST, figures(1000, slow=10), Figures(), None, None),
        (FAST, figures(1000, slow=11), Figures(), None, "99% of 1000 answers took up to 1 s (99% within 500 ms"),
        (FAST, figures(1000, slow=51), Figures(), "95% of 1000 answers took up to 1 s", "99% of 1000 answers took"),
        (FAST, figures(99, slow=99), Figures(), None, None),
        (FAST, figures(90, pending=10), Figures(), "not answered yet", ...),
        (LIKE, figures(200, took=150_000), figures(900), "took up to 150 ms; of the old set 99% within 10 ms", ...),
        (LIKE, figures(200, took=110_000), figures(900), None, None),
        (LIKE, figures(200, took=150_000), figures(99), None, None),
        (HALF, figures(200, took=16_000), figures(900), "at most 15 ms is allowed", ...),
        (HALF, figures(200, took=15_000), figures(900), None, None),
        (Tolerance(), Figures(answers=2, pending=20), Figures(), None, "20 requests are not answered, 2 were"),
        (Tolerance(), Figures(answers=20, pending=20), Figures(), None, None),
    ],
)
def test_what_limits_say(limits, new, old, early, late):
    for final, expected in ((False, early), (True, early if late is ... else late)):
        found = refusal(limits, new, old, final=final)
        assert (found is None) == (expected is None), found
        assert expected is None or expected in found


def test_figures_in_words():
    assert described(figures(1000, 4)) == "1000 answers, 4 failed (0.4%), 99% within 10 ms"
    assert described(Figures(5, 1)) == "5 answers, 1 failed (20.0%)"
