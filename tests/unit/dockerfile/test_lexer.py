"""The lexer loses nothing: spans tile the source, and logical lines map back to it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bennu.dockerfile.lexer import PieceKind, lex
from bennu.dockerfile.source import Source
from bennu.errors import Invalid

FRAGMENTS = st.sampled_from(
    [
        *("FROM a", "RUN x", "COPY <<EOF /d", "RUN <<-'E' cat", "ONBUILD RUN <<EOF", "EOF", "E", "\tE", "CMD [1]"),
        *(
            "\n",
            "\n",
            "\n",
            "\r\n",
            "\\\n",
            "\\ \t\n",
            "`\n",
            "\\",
            "`",
            " ",
            "\t",
            "\f",
            "\x1c",
            "\ufeff",
            "é",
            "\udcff",
        ),
        *("# c", "#", "# escape=`\n", "# syntax=x", "#!x\n", '"', "'", "<<", "$x", "${"),
    ]
)
SOURCES = st.lists(FRAGMENTS, max_size=24).map("".join)


def lexed(text: str | bytes):
    return lex(Source(text, "Dockerfile"))


@given(SOURCES)
def test_pieces_tile_the_source(text):
    source = Source(text, "Dockerfile")
    try:
        result = lex(source)
    except Invalid as error:
        assert error.line is not None and error.column is not None
        return
    assert [piece.start for piece in result.pieces] == [0, *(piece.end for piece in result.pieces)][
        : len(result.pieces)
    ]
    assert "".join(text[piece.start : piece.end] for piece in result.pieces) == text


@given(SOURCES)
def test_logical_lines_are_made_of_the_code_pieces(text):
    try:
        result = lexed(text)
    except Invalid:
        return
    code = [piece for piece in result.pieces if piece.kind is PieceKind.CODE]
    assert [piece for line in result.lines for piece in line.code if piece.start < piece.end] == code
    for line in result.lines:
        assert line.text == "".join(text[piece.start : piece.end] for piece in line.code)
        for offset, ch in enumerate(line.text):
            assert text[line.origin(offset)] == ch


@given(st.binary(max_size=60))
def test_bytes_of_any_kind_come_back(data):
    source = Source(data, "Dockerfile")
    assert source.text.encode("utf-8", "surrogateescape") == data
    for start, end in source.physical_lines():
        span = source.span(start, end)
        assert span.text == source.text[start:end]
        assert (span.line, span.column) == (source.text[:start].count("\n") + 1, 1)


def test_continuations_join_without_a_blank_of_their_own():
    (line,) = lexed("RUN a \\\n  b\\\nc\n").lines
    assert line.text == "RUN a   bc"
    assert line.whole.end_line == 3


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("RUN a \\  \t\nb", ["RUN a b"]),
        ("RUN a \\\r\nb\r\n", ["RUN a b"]),
        ("RUN a \\\\\nUSER b", ["RUN a \\\\", "USER b"]),
        ("\\\nRUN a", ["RUN a"]),
        ("RUN a \\", ["RUN a "]),
        ("RUN a \\\n# gone\n  # too\nb", ["RUN a b"]),
        ("RUN a \\\n\n   \nb", ["RUN a b"]),
        ("RUN a # kept", ["RUN a # kept"]),
        ("   RUN a", ["RUN a"]),
        ("# escape=`\nRUN c:\\ `\nb\\\nUSER u", ["RUN c:\\ b\\", "USER u"]),
        ("\n# escape=`\nRUN a `\nUSER u", ["RUN a `", "USER u"]),
        ("#!/bin/x\n# escape=`\nRUN a `\nUSER u", ["RUN a `", "USER u"]),
        ("\ufeff# escape=`\nRUN a `\nb", ["RUN a b"]),
    ],
)
def test_logical_lines(text, want):
    assert [line.text for line in lexed(text).lines] == want


def test_blank_lines_inside_a_continuation_are_reported():
    (found,) = lexed("RUN a \\\n\n\nb \\\n\nc").empty_continuations
    assert (found.first.line, found.last.line) == (2, 6)


def test_blank_lines_that_end_the_file_are_reported():
    (found,) = lexed("RUN a \\\n\n\n").empty_continuations
    assert (found.first.line, found.last.line) == (2, 3)


def test_directives_stand_first_and_in_lower_case():
    result = lexed("# Syntax = docker/dockerfile:1\n#check=skip=all\n# other=1\n# escape=`\nRUN a")
    assert [(directive.name, directive.value) for directive in result.directives] == [
        ("syntax", "docker/dockerfile:1"),
        ("check", "skip=all"),
    ]
    assert result.escape == "\\"


def test_a_directive_twice_is_refused():
    with pytest.raises(Invalid, match="second time") as caught:
        lexed("# escape=`\n# ESCAPE=`\n")
    assert caught.value.line == 2


def test_another_escape_is_refused():
    with pytest.raises(Invalid, match="'x'") as caught:
        lexed("# escape=x\n")
    assert (caught.value.line, caught.value.column, caught.value.excerpt) == (1, 10, "# escape=x")


def test_comments_above_go_with_the_instruction():
    lines = lexed("# gone\n#\n# one\n# two\nRUN a\nRUN b").lines
    assert [line.comments for line in lines] == [("one", "two"), ()]


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("RUN <<EOF\na\nEOF\n", [("EOF", "a\n", True, False, 0)]),
        ("RUN <<EOF\nEOF", [("EOF", "", True, False, 0)]),
        ("RUN <<'EOF'\n$a\nEOF", [("EOF", "$a\n", False, False, 0)]),
        ('RUN <<E"O"F\n$a\nEOF', [("EOF", "$a\n", False, False, 0)]),
        ("RUN <<-EOF\n\ta\n\t\tEOF", [("EOF", "\ta\n", True, True, 0)]),
        ("RUN <<EOF\n EOF\nEOF", [("EOF", " EOF\n", True, False, 0)]),
        ("RUN 3<<EOF\nx\nEOF", [("EOF", "x\n", True, False, 3)]),
        ("RUN << EOF\nx\nEOF", [("EOF", "x\n", True, False, 0)]),
        ("RUN <<A cat <<B\n1\nA\n2\nB\n", [("A", "1\n", True, False, 0), ("B", "2\n", True, False, 0)]),
        ("RUN <<EOF\n# kept\n\\\nEOF", [("EOF", "# kept\n\\\n", True, False, 0)]),
        ("RUN <<EOF\r\na\r\nEOF\r\n", [("EOF", "a\r\n", True, False, 0)]),
        ("ONBUILD RUN <<EOF\nx\nEOF", [("EOF", "x\n", True, False, 0)]),
        ("COPY --chown=1 <<a /b\nx\na", [("a", "x\n", True, False, 0)]),
        ("RUN a \\\n <<EOF\nx\nEOF", [("EOF", "x\n", True, False, 0)]),
        ('RUN ["a", "<<EOF"]', []),
        ("RUN cat <<<EOF", []),
        ("RUN echo $((1<<2))", []),
        ("RUN echo '<<EOF'", []),
        ('RUN echo "it\'s <<EOF"', []),
        ("CMD <<EOF", []),
    ],
)
def test_heredocs(text, want):
    (line,) = lexed(text).lines
    assert [(doc.name, doc.content, doc.expand, doc.chomp, doc.descriptor) for doc in line.heredocs] == want


def test_instructions_go_on_behind_a_heredoc():
    lines = lexed("RUN <<EOF\nUSER x\nEOF\nUSER y").lines
    assert [line.text for line in lines] == ["RUN <<EOF", "USER y"]
    assert lines[0].whole.end_line == 3


def test_a_heredoc_without_its_end_is_refused_where_it_begins():
    with pytest.raises(Invalid, match="'EOF' has no end") as caught:
        lexed("FROM a\nRUN cat <<EOF\nx\n")
    assert (caught.value.line, caught.value.column, caught.value.excerpt) == (2, 9, "RUN cat <<EOF")


def test_chomping_takes_leading_tabs_of_every_line():
    (line,) = lexed("RUN <<-EOF\n\t\ta\n \tb\n\tc\n\tEOF").lines
    assert line.heredocs[0].body == "a\n \tb\nc\n"
