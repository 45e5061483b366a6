"""A build on a terminal: the lines for any number of steps, any size, and whatever a step writes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bennu.build.progress import Broken, Cached, Finished, Output, Started, Waiting
from bennu.cli.build_screen import CACHED_APART, Screen, frame, visible
from bennu.cli.output import width

MAKE = "[web 2/3] RUN make"


def screen(*events, now: float = 1.0) -> Screen:
    made = Screen(0.0, coloured=False)
    for event in events:
        made.take(event, now)
    return made


def wrote(data: bytes, number: int = 1) -> Output:
    return Output(number, "", "stdout", data)


def test_what_runs_has_its_time_and_its_last_lines_below_it():
    made = screen(Started(2, MAKE), wrote(b"one\ntwo\nthr", 2), Output(2, MAKE, "stderr", b"oops\n"))
    assert made.live(3.0, 60, 24) == [
        " => [web 2/3] RUN make  2.0s",
        "    one",
        "    two",
        "    oops",
        "    thr",
        "    3.0s: 1 running",
    ]
    assert made.final(60) == []


def test_only_the_last_lines_are_shown_and_empty_ones_are_none():
    made = screen(Started(1, MAKE), wrote(b"".join(b"%d\n\n" % number for number in range(100))))
    assert made.live(1.0, 60, 24)[1:-1] == ["    96", "    97", "    98", "    99"]


def test_an_end_is_final_and_given_once():
    made = screen(Started(2, MAKE), Finished(2, MAKE, seconds=1.26))
    assert made.final(60) == [" => [web 2/3] RUN make  1.3s"]
    assert made.final(60) == []
    assert made.live(2.0, 60, 24) == []


def test_failed_and_cancelled_steps_are_told_apart():
    made = screen(Broken(1, "[1/2] RUN a", seconds=1, reason="exit status 1"), Broken(2, "[2/2] RUN b", cancelled=True))
    assert made.final(60) == [" => ERROR [1/2] RUN a  1.0s", " => CANCELED [2/2] RUN b  0.00s"]


def test_who_is_waited_for_is_said():
    made = screen(Waiting(2, MAKE, holder="pid 42 (bennu build)"))
    assert made.live(3.0, 80, 24) == [
        " => [web 2/3] RUN make waits for pid 42 (bennu build)  2.0s",
        "    3.0s: 1 waiting",
    ]
    made.take(Started(2, MAKE), 4.0)
    assert made.live(4.0, 80, 24)[0] == " => [web 2/3] RUN make  0.00s"


def test_a_few_cached_steps_have_a_line_each():
    made = screen(*(Cached(number, f"[{number}/9] RUN {number}") for number in range(1, CACHED_APART + 1)))
    assert made.final(60, ended=True) == [f" => CACHED [{each}/9] RUN {each}" for each in range(1, CACHED_APART + 1)]


def test_many_cached_steps_are_one_line_in_their_place():
    made = screen(
        Finished(1, "[1/9] FROM base", seconds=0), *(Cached(each, f"[{each}/9] RUN {each}") for each in range(2, 9))
    )
    made.take(Finished(9, "[9/9] RUN 9", seconds=2.0), 1.0)
    assert made.final(90) == [
        " => [1/9] FROM base  0.00s",
        " => CACHED 7 steps: [2/9] RUN 2 to [8/9] RUN 8",
        " => [9/9] RUN 9  2.0s",
    ]


def test_sixty_steps_at_once_fit_and_the_rest_is_counted():
    made = screen(*(Started(number, f"[{number}/60] RUN x") for number in range(1, 61)))
    made.take(wrote(b"line\n"), 1.0)
    lines = made.live(2.0, 60, 23)
    assert len(lines) == 23
    assert lines[0] == " => [1/60] RUN x  1.0s"
    assert lines[-2:] == ["    and 39 more at work", "    2.0s: 60 running"]


def test_last_lines_share_what_rows_there_are():
    many = b"1\n2\n3\n4\n"
    made = screen(*(Started(each, f"[{each}/9] RUN x") for each in range(5)), *(wrote(many, each) for each in range(5)))
    assert len(made.live(2.0, 60, 23)) == 5 + 5 * 3 + 1


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\x1b[1;31mred\x1b[0m", "red"),
        (b"\x1b]0;a title\x07after", "after"),
        (b"\x1b]8;;https://here\x1b\\link\x1b]8;;\x1b\\", "link"),
        (b" 10%\r 50%\r100%", "100%"),
        (b"windows\r", "windows"),
        (b"a\tb", "a       b"),
        (b"bell\x07 back\x08space \x00nul\x7f", "bell backspace nul"),
        (b"\x1b[2J\x1b[H\x1b(B\x1b=\x1bMclear", "clear"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"cut \x1b[3", "cut 3"),
    ],
)
def test_no_byte_that_a_step_writes_moves_the_cursor(data, text):
    assert visible(data) == text


@given(
    st.lists(st.binary(max_size=60), max_size=6),
    st.text(max_size=80),
    st.integers(1, 100),
    st.integers(1, 30),
)
def test_no_line_is_wider_and_no_picture_higher_than_the_terminal(pieces, label, columns, rows):
    made = screen(Cached(1, label), Started(2, label), Waiting(3, label, holder="pid 1 (somebody)"), Started(4, label))
    for piece in pieces:
        made.take(wrote(piece, 2), 1.0)
    lines = made.live(2.0, columns, rows)
    assert 1 <= len(lines) <= rows
    final = made.final(columns, ended=True)
    for line in (*lines, *final):
        assert line.isprintable()
        assert width(line) <= columns


def test_a_line_without_an_end_is_not_kept_whole():
    made = screen(Started(1, MAKE))
    for _ in range(100):
        made.take(wrote(b"x" * 10000), 1.0)
    assert made.live(1.0, 20, 24)[1] == "    " + "x" * 15 + "\u2026"


def test_a_frame_leaves_the_cursor_where_the_next_one_begins():
    assert frame(["done"], ["a", "b", "c"]) == "\r\x1b[Jdone\n\x1b[?7la\nb\nc\r\x1b[?7h\x1b[2A"
    assert frame([], ["a"]) == "\r\x1b[J\x1b[?7la\r\x1b[?7h"
    assert frame(["done"], []) == "\r\x1b[Jdone\n"
