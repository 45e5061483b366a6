"""A source line with a caret, whatever stands in the line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bennu.cli.excerpt import Place, line_of, rendered
from bennu.cli.main import main
from bennu.cli.output import width
from bennu.cli.report import complete
from bennu.errors import Invalid, InvalidMany


def shown(text: str, column: int | None, *, line: int | None = 7, length: int = 1, columns: int = 40) -> list[str]:
    return list(rendered(Place(text, line, column, length), lambda text, _: text, columns))


@pytest.mark.parametrize(
    ("text", "column", "length", "want"),
    [
        ("COPY a b", 6, 1, ["  7 | COPY a b", "    |      ^"]),
        ("COPY a b", 6, 3, ["  7 | COPY a b", "    |      ^~~"]),
        ("COPY a b", 6, 99, ["  7 | COPY a b", "    |      ^~~"]),
        ("COPY a   ", 6, 99, ["  7 | COPY a", "    |      ^"]),
        ("\tCOPY\ta", 7, 1, ["  7 | \tCOPY\ta", "    | \t    \t^"]),
        ("a\tb", 1, 3, ["  7 | a\tb", "    | ^\t~"]),
        ("RUN \u65e5\u672c x", 8, 1, ["  7 | RUN \u65e5\u672c x", "    |          ^"]),
        ("\u65e5\u672c", 1, 2, ["  7 | \u65e5\u672c", "    | ^~~~"]),
        ("e\u0301 x", 4, 1, ["  7 | e\u0301 x", "    |   ^"]),
        ("FROM a\r", 6, 1, ["  7 | FROM a", "    |      ^"]),
        ("FROM", 5, 1, ["  7 | FROM", "    |     ^"]),
        ("x\x1b[2Jy\udcff", 6, 1, ["  7 | x?[2Jy\ufffd", "    |      ^"]),
        ("", 1, 1, ["  7 |", "    | ^"]),
        ("FROM", 6, 1, ["  7 | FROM"]),
        ("FROM", None, 1, ["  7 | FROM"]),
    ],
)
def test_the_caret_stands_under_its_column(text, column, length, want):
    assert shown(text, column, length=length) == want


def test_a_long_line_is_cut_around_the_column():
    text = "RUN " + "a" * 200 + " WRONG " + "b" * 200
    line, caret = shown(text, text.index("WRONG") + 1, length=5)
    assert line.startswith("  7 | \u2026a")
    assert line.endswith("b\u2026")
    assert len(line) <= 40
    assert line[caret.index("^") : caret.index("^") + 5] == "WRONG"


@pytest.mark.parametrize("column", [1, 3])
def test_a_long_line_is_shown_from_its_beginning_where_that_holds_the_column(column):
    line, caret = shown("FROM " + "x" * 300, column)
    assert line.startswith("  7 | FROM x")
    assert caret.index("^") == 5 + column


def test_the_end_of_a_long_line_fills_the_room():
    line, caret = shown("x" * 300 + "END", 303)
    assert line.endswith("xEND")
    assert len(line) > 30
    assert caret.index("^") == len(line) - 1


def test_a_place_without_a_number():
    assert shown("abc", 2, line=None) == ["   | abc", "   |  ^"]


@given(st.text(max_size=300), st.integers(1, 300), st.integers(0, 50), st.integers(1, 100))
def test_no_text_breaks_the_two_lines(text, column, length, columns):
    lines = shown(text, column, length=length, columns=columns)
    assert len(lines) == 1 + (1 <= column <= len(text.rstrip("\r\n")) + 1)
    if "\t" not in text:
        assert all(width(line) <= max(columns, 30) for line in lines)


def test_a_line_is_read_from_the_file(tmp_path):
    path = tmp_path / "compose.yaml"
    path.write_bytes(b"a: 1\r\n\xffb: 2\n")
    assert [line_of(str(path), line) for line in (0, 1, 2, 3, 4)] == [None, "a: 1", "\udcffb: 2", "", None]
    assert line_of(str(tmp_path), 1) is None
    assert line_of(str(tmp_path / "none"), 1) is None
    assert line_of("/dev/zero", 1) is None


def test_errors_without_a_line_get_it(tmp_path):
    path = tmp_path / "f"
    path.write_text("one\ntwo\n")
    errors = InvalidMany(
        (Invalid("a", file=str(path), line=2), Invalid("b", file=str(path)), Invalid("c", file="gone", line=1))
    )
    complete(errors)
    assert [error.excerpt for error in errors.errors] == ["two", None, None]


def test_a_compose_file_that_is_wrong_is_shown(tmp_path, capsys):
    (tmp_path / "compose.yaml").write_text("services:\n  a:\n    image: x\n    prots: []\n")
    assert main(["config", "-f", str(tmp_path / "compose.yaml")], {"BENNU_ROOT": str(tmp_path / "root")}) == 1
    lines = capsys.readouterr().err.splitlines()
    assert "prots" in lines[0]
    assert lines[1:3] == ["  4 |     prots: []", "    |     ^"]


def test_a_dockerfile_that_is_wrong_is_shown(tmp_path, capsys):
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPPY a b\n")
    status = main(["build", str(tmp_path)], {"BENNU_ROOT": str(tmp_path / "root")})
    lines = capsys.readouterr().err.splitlines()
    assert status == 1
    assert lines[1:] == ["  2 | COPPY a b", "    | ^", "hint: did you mean COPY?"]
