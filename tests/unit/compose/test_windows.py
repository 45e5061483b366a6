"""``windows``, ``jitter`` and ``rebuild`` of ``x-bennu``."""

from __future__ import annotations

import pytest

from bennu.compose.extension import Window
from bennu.compose.windows import window, window_text
from bennu.errors import Invalid
from tests.unit.compose.support import project

MINIMAL = "services: {web: {image: nginx}}\n"
WEEK = tuple(range(7))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("mon-fri 02:00-05:00 Europe/Berlin", Window(days=(0, 1, 2, 3, 4), start=120, end=300, zone="Europe/Berlin")),
        ("02:30-24:00", Window(days=WEEK, start=150, end=1440)),
        ("22:00-02:00 Asia/Kolkata", Window(days=WEEK, start=1320, end=120, zone="Asia/Kolkata")),
        ("Sat,sun 00:00-24:00", Window(days=(5, 6), start=0, end=1440)),
        ("fri-mon,wed 01:00-02:00", Window(days=(0, 2, 4, 5, 6), start=60, end=120)),
    ],
)
def test_a_window_is_read_and_written(text: str, wanted: Window):
    assert window(text) == wanted
    assert window(window_text(wanted)) == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no window such as"),
        ("mon", "is no window such as"),
        ("mon tue 01:00-02:00", "is no window such as"),
        ("01:00-02:00 03:00-04:00", "is no window such as"),
        ("01:00-02:00 UTC UTC", "is no window such as"),
        ("1:00-2:00", "is no window such as"),
        ("mno 01:00-02:00", "'mno' is no day"),
        ("mon- 01:00-02:00", "'' is no day"),
        ("24:00-25:00", "not between 00:00 and 24:00"),
        ("01:00-01:00", "no time at all"),
        ("01:00-02:00 Europe/Berlni", "'Europe/Berlni' is no time zone"),
        ("01:00-02:00 ../../etc/passwd", "is no time zone"),
    ],
)
def test_what_is_no_window_is_refused(text: str, message: str):
    with pytest.raises(ValueError, match=message):
        window(text)


def test_they_stand_at_the_top_of_the_file():
    found = project("x-bennu: {max_age: 7d, jitter: 1h, rebuild: true, windows: '01:00-02:00'}\n" + MINIMAL).x_bennu
    assert (found.max_age_seconds, found.jitter_seconds, found.rebuild) == (604800, 3600, True)
    assert found.windows == (window("01:00-02:00"),)
    for text, message in (
        ("{jitter: 1h}", "means nothing without 'max_age'"),
        ("{max_age: 1h, jitter: 1h}", "is not shorter than 'max_age'"),
        ("{windows: [x]}", "is no window"),
    ):
        with pytest.raises(Invalid, match=message):
            project(f"x-bennu: {text}\n{MINIMAL}")
