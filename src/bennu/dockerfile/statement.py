"""One instruction while it is being read: its parts, and errors that point at them.

``lexer`` makes the logical line, ``words`` takes it apart, ``grammar`` reads it; this is what they hand round.
"""

from __future__ import annotations

import re

from bennu.dockerfile.instructions import Heredoc
from bennu.dockerfile.lexer import LogicalLine
from bennu.dockerfile.source import UNDECODED, Span, decoded
from bennu.dockerfile.words import SPACE, NotStringsError, Word, json_array, split_head
from bennu.errors import Invalid


class Statement:
    """The keyword (``name`` is it in upper case), flags and rest of the logical line from ``offset`` on."""

    def __init__(self, line: LogicalLine, escape: str, offset: int = 0) -> None:
        self.line = line
        self.escape = escape
        head = split_head(line.text, escape, offset)
        self.keyword = head.keyword
        self.name = head.keyword.text.upper()
        self.flags = head.flags
        self.rest = head.rest

    @property
    def text(self) -> str:
        """The logical line from the keyword on, stripped."""
        return self.line.text[self.keyword.offset :].rstrip(SPACE)

    @property
    def span(self) -> Span:
        """From the keyword to the end of the line or of its last heredoc."""
        whole = self.line.whole
        return self.line.source.span(self.line.origin(self.keyword.offset), whole.end)

    @property
    def heredocs(self) -> tuple[Heredoc, ...]:
        """The documents that follow the line."""
        return tuple(self.line.heredocs)

    def span_of(self, word: Word) -> Span:
        """Where a word stands; a flag's span includes its quotes as far as it has none."""
        end = min(word.offset + max(len(word.text), 1), len(self.line.text))
        return self.line.span(word.offset, max(end, word.offset))

    def fail(self, message: str, word: Word | None = None, hint: str | None = None) -> Invalid:
        """The error at ``word``, or at the keyword, with the instruction's name in front."""
        return self.span_of(word or self.keyword).invalid(f"{self.name}: {message}", hint)

    def json(self) -> tuple[str, ...] | None:
        """The rest as a JSON array of strings, or None where it is to be read another way."""
        return self.json_of(self.rest)

    def json_of(self, word: Word) -> tuple[str, ...] | None:
        """The same for a part of the rest."""
        try:
            return json_array(word.text)
        except NotStringsError as error:
            raise self.fail(
                "the JSON array holds something other than strings", word, "put each element in double quotes"
            ) from error

    def subject(self) -> Statement:
        """The instruction that stands behind this one (ONBUILD)."""
        return Statement(self.line, self.escape, self.rest.offset)

    def replace_undecoded(self) -> None:
        """Put U+FFFD in the place of each byte that is not UTF-8, as Go does where it takes text apart."""
        if not self.line.text.isascii():
            self.line.text = decoded(self.line.text)
            again = split_head(self.line.text, self.escape, self.keyword.offset)
            self.flags, self.rest = again.flags, again.rest

    def refuse_undecoded(self) -> None:
        """Raise ``Invalid`` where the instruction or a heredoc of it holds bytes that are not UTF-8."""
        found = None if self.line.text.isascii() else re.search(UNDECODED, self.line.text)
        at = self.line.origin(found.start()) if found else None
        for heredoc in self.line.heredocs:
            if at is None and (found := re.search(UNDECODED, heredoc.content)):
                at = heredoc.span.start + found.start()
        if at is not None:
            byte = ord(self.line.source.text[at]) - 0xDC00
            message = f"{self.name}: byte 0x{byte:02x} is not UTF-8" if 0 <= byte <= 0xFF else f"{self.name}: not UTF-8"
            raise self.line.source.span(at, at + 1).invalid(message, "save the file as UTF-8")
