"""How a build looks: each renderer over the same events; the logs of steps."""

from __future__ import annotations

import io
import json
import re

import pytest

from bennu.build.logs import KEPT, BuildLogs
from bennu.build.progress import Broken, Cached, Finished, Output, Started, together
from bennu.cli.build_progress import renderer
from bennu.cli.context import Context
from bennu.config import Settings

MAKE = "[web 2/3] RUN make"
EVENTS = (
    Cached(1, "[web 1/3] FROM base"),
    Started(2, MAKE),
    Output(2, MAKE, "stdout", b"one\ntw"),
    Output(2, MAKE, "stderr", b"bad\n"),
    Output(2, MAKE, "stdout", b"o\nrest \xff"),
    Finished(2, MAKE, seconds=1.26),
    Started(3, "[web 3/3] RUN test"),
    Broken(3, "[web 3/3] RUN test", seconds=0.1, reason="it ended with 2"),
)


class Screen(io.StringIO):
    """A terminal's stream."""

    def isatty(self) -> bool:
        return True


def shown(kind: str, stream: io.StringIO | None = None, events=EVENTS) -> str:
    stream = stream or io.StringIO()
    view = renderer(kind, Context({"TERM": "xterm", "COLUMNS": "40"}, stderr=stream))
    for event in events:
        view(event)
    view.close()
    return stream.getvalue()


def test_plain_writes_whole_lines_with_their_step():
    lines = shown("plain").splitlines()
    assert lines[:3] == ["#1 [web 1/3] FROM base", "#1 CACHED", "#2 [web 2/3] RUN make"]
    number, seconds, text = zip(*(line.split(" ", 2) for line in lines[3:7]), strict=True)
    assert set(number) == {"#2"}
    assert all(float(each) >= 0 for each in seconds)
    assert text == ("one", "bad", "two", "rest \ufffd")
    assert lines[7:] == ["#2 DONE 1.3s", "#3 [web 3/3] RUN test", "#3 ERROR: it ended with 2"]


def test_plain_is_what_a_pipe_gets_and_the_moving_picture_what_a_terminal_gets():
    assert "\x1b" not in shown("auto")
    assert "\x1b" in shown("auto", Screen())


def test_a_cancelled_step_is_told_apart():
    event = Broken(4, "[web 4/4] RUN sleep", reason="whatever", cancelled=True)
    assert shown("plain", events=(event,)) == "#4 CANCELED\n"


def test_quiet_says_nothing():
    assert shown("quiet") == ""


def test_json_is_one_object_an_event():
    found = [json.loads(line) for line in shown("rawjson").splitlines()]
    assert [each["type"] for each in found] == [type(event).__name__ for event in EVENTS]
    assert found[2] == {"type": "Output", "number": 2, "label": MAKE, "data": "one\ntw"}


def on_screen(text: str, columns: int = 40) -> list[str]:
    """What a terminal shows in the end: cursor up, to the line's start, clear to the end, wrapping off, colours."""
    lines, row, at = [""], 0, 0
    for part in re.split(r"(\x1b\[\??\d*[A-Za-z]|\n|\r)", text):
        if part == "\n":
            row, at = row + 1, 0
            lines[row:] = lines[row:] or [""]
        elif part == "\r":
            at = 0
        elif part.endswith("A") and part.startswith("\x1b"):
            row -= int(part[2:-1])
        elif part == "\x1b[J":
            lines[row:] = [lines[row][:at]]
        elif not part.startswith("\x1b"):
            assert len(part) <= columns
            lines[row] = lines[row][:at] + part + lines[row][at + len(part) :]
            at += len(part)
    return lines


def test_the_terminal_keeps_what_is_final_and_takes_the_rest_away():
    stream = Screen()
    text = shown("tty", stream)
    assert on_screen(text) == [
        " => CACHED [web 1/3] FROM base",
        " => [web 2/3] RUN make  1.3s",
        " => ERROR [web 3/3] RUN test  0.10s",
        "",
    ]
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h")


@pytest.mark.parametrize(("kind", "environ"), [("auto", {"TERM": "dumb"}), ("plain", {})])
def test_a_dumb_terminal_gets_plain_lines(kind, environ):
    stream = Screen()
    renderer(kind, Context(environ, stderr=stream))(EVENTS[0])
    assert stream.getvalue() == "#1 [web 1/3] FROM base\n#1 CACHED\n"


def test_no_color_leaves_the_moving_picture():
    stream = Screen()
    view = renderer("auto", Context({"TERM": "xterm", "NO_COLOR": "1"}, stderr=stream))
    view(EVENTS[0])
    view.close()
    assert stream.getvalue() == "\r\x1b[J => CACHED [web 1/3] FROM base\n"


def test_characters_that_arrive_in_pieces_are_whole_in_json():
    events = (Output(1, "", "stdout", b"\xc3"), Output(1, "", "stderr", b"x"), Output(1, "", "stdout", b"\xa9"))
    found = [json.loads(line)["data"] for line in shown("rawjson", events=events).splitlines()]
    assert found == ["", "x", "\xe9"]


def test_every_listener_is_told():
    one: list[object] = []
    two: list[object] = []
    together(one.append, two.append)(EVENTS[0])
    assert one == two == [EVENTS[0]]


def test_logs_hold_all_that_a_step_wrote(root_settings: Settings):
    with BuildLogs(root_settings) as logs:
        for event in EVENTS:
            logs(event)
    assert logs.path(2).read_bytes() == b"one\ntwbad\no\nrest \xff"
    assert [path.name for path in logs.directory.iterdir()] == ["2.log"]


def test_a_build_that_writes_nothing_leaves_no_log(root_settings: Settings):
    with BuildLogs(root_settings) as logs:
        logs(EVENTS[0])
    assert not root_settings.builds.exists()


def test_old_logs_go(root_settings: Settings):
    for number in range(KEPT + 3):
        (root_settings.builds / f"20200101T0000{number:02}-1-ab").mkdir(parents=True)
    with BuildLogs(root_settings) as logs:
        logs(EVENTS[2])
    assert len(list(root_settings.builds.iterdir())) == KEPT
    assert logs.path(2).exists()
