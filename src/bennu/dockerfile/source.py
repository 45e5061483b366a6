"""Where things stand in a Dockerfile: the source text, positions and spans.

A ``Source`` owns the text and turns offsets into lines and columns; a ``Span`` is a range of it that carries enough to
report an error later, when the source is long gone. Offsets count characters of the decoded text; lines and columns
count from 1; ends are exclusive. Read ``lexer`` next.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import Final

import msgspec

from bennu.errors import Invalid, Unsupported

UNDECODED: Final = "[\ud800-\udfff]"
_MARK = "\ufeff"


class Span(msgspec.Struct, frozen=True):
    """A range of the source: ``text`` is what stands there, ``excerpt`` the whole source line on which it begins."""

    file: str
    start: int
    end: int
    line: int
    column: int
    end_line: int
    end_column: int
    text: str
    excerpt: str

    def invalid(self, message: str, hint: str | None = None) -> Invalid:
        """The error for malformed input at this place, for the caller to raise."""
        return Invalid(message, hint, file=self.file, line=self.line, column=self.column, excerpt=self.excerpt)

    def unsupported(self, message: str, hint: str | None = None) -> Unsupported:
        """The error for what is well formed at this place but not built, for the caller to raise."""
        return Unsupported(message, hint, file=self.file, line=self.line, column=self.column, excerpt=self.excerpt)

    def narrow(self, fragment: str) -> Span:
        """The first place inside this span where ``fragment`` stands literally; the span itself where it does not."""
        at = self.text.find(fragment) if fragment else -1
        return self if at < 0 else self.part(at, at + len(fragment))

    def part(self, start: int, end: int) -> Span:
        """The characters from ``start`` to the one before ``end``, counted from this span's first."""
        line, column = _advance(self.line, self.column, self.text[:start])
        end_line, end_column = _advance(line, column, self.text[start:end])
        excerpt = self.excerpt if line == self.line else self.text.split("\n")[line - self.line].rstrip("\r")
        return Span(
            file=self.file,
            start=self.start + start,
            end=self.start + end,
            line=line,
            column=column,
            end_line=end_line,
            end_column=end_column,
            text=self.text[start:end],
            excerpt=excerpt,
        )


def _advance(line: int, column: int, text: str) -> tuple[int, int]:
    newlines = text.count("\n")
    if newlines == 0:
        return line, column + len(text)
    return line + newlines, len(text) - text.rfind("\n")


def decoded(text: str) -> str:
    """A text with U+FFFD for each byte that is not UTF-8."""
    return text if text.isascii() else re.sub(UNDECODED, "\ufffd", text)


class Source:
    """The decoded text of one file and its line table.

    Bytes that are not UTF-8 become lone surrogates (PEP 383), so that no byte is lost and a comment in an old encoding
    does no harm; ``grammar`` says what becomes of them inside an instruction.
    """

    def __init__(self, text: bytes | str, file: str) -> None:
        self.file = file
        self.text = text.decode("utf-8", "surrogateescape") if isinstance(text, bytes) else text
        self._starts = [0]
        at = self.text.find("\n")
        while at >= 0:
            self._starts.append(at + 1)
            at = self.text.find("\n", at + 1)

    def physical_lines(self) -> list[tuple[int, int]]:
        """``(start, end)`` of each line with its newline; together they tile the text. Only a line feed ends a line."""
        ends = [*self._starts[1:], len(self.text)]
        return [(start, end) for start, end in zip(self._starts, ends, strict=True) if start < end]

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column, both from 1, of an offset; a byte order mark takes no column, as no editor shows it."""
        line = bisect_right(self._starts, offset)
        is_marked = line == 1 and self.text.startswith(_MARK)
        return line, max(offset - self._starts[line - 1] + 1 - is_marked, 1)

    def span(self, start: int, end: int) -> Span:
        """The range ``[start, end)`` with all that an error needs."""
        line, column = self.position(start)
        end_line, end_column = self.position(end)
        return Span(
            file=self.file,
            start=start,
            end=end,
            line=line,
            column=column,
            end_line=end_line,
            end_column=end_column,
            text=self.text[start:end],
            excerpt=self._line_text(line),
        )

    def _line_text(self, line: int) -> str:
        start = self._starts[line - 1]
        end = self.text.find("\n", start)
        text = (self.text[start:] if end < 0 else self.text[start:end]).rstrip("\r")
        return text.removeprefix(_MARK) if line == 1 else text
