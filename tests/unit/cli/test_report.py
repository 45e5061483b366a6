"""Errors as people see them."""

from __future__ import annotations

from bennu.cli.report import render
from bennu.errors import Failed, Invalid, InvalidMany, NotFound


def test_the_object_first_then_the_hint():
    assert render(NotFound("image 'x' does not exist", "bennu images"), coloured=False) == (
        "error: image 'x' does not exist\nhint: bennu images\n"
    )


def test_a_place_in_a_file_is_shown_with_a_caret():
    error = Invalid("'prots' is not a key of a service", "did you mean 'ports'?", file="c.yaml", line=12, column=5,
                    excerpt="    prots: []")  # fmt: skip
    assert render(error, coloured=False) == (
        "c.yaml:12:5: error: 'prots' is not a key of a service\n"
        "  12 |     prots: []\n"
        "     |     ^\n"
        "hint: did you mean 'ports'?\n"
    )


def test_the_caret_stands_under_its_column_behind_tabs():
    error = Invalid("bad", file="f", line=1, column=3, excerpt="\t\tx")
    assert render(error, coloured=False).splitlines()[2] == "    | \t\t^"


def test_a_column_outside_the_line_gets_no_caret():
    assert "^" not in render(Invalid("bad", file="f", line=1, column=9, excerpt="x"), coloured=False)


def test_all_that_is_wrong_is_reported():
    error = InvalidMany((Invalid("a", file="f", line=1), Invalid("b", file="f", line=2)))
    assert render(error, coloured=False) == "f:1: error: a\nf:2: error: b\n2 errors\n"


def test_a_failed_command_shows_its_last_lines():
    error = Failed("step 'RUN false' ended with status 1", command=("false",), status=1, tail=("one", "two"))
    assert render(error, coloured=False) == "error: step 'RUN false' ended with status 1\n  | one\n  | two\n"


def test_colours_change_no_words():
    error = Invalid("bad", "help", file="f", line=1, column=1, excerpt="x")
    coloured = render(error, coloured=True)
    plain = coloured
    for code in ("\x1b[31;1m", "\x1b[34m", "\x1b[2m", "\x1b[1m", "\x1b[0m"):
        plain = plain.replace(code, "")
    assert "\x1b[31;1merror:\x1b[0m" in coloured
    assert plain == render(error, coloured=False)
