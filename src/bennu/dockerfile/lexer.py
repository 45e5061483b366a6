"""From the source to logical lines.

Owns: the byte order mark, parser directives, comments (between instructions and inside continued ones), continuation
by the escape character, blank lines inside continuations, and the bodies of heredocs. Every character of the source
is in exactly one ``Piece``, and a ``LogicalLine`` maps each of its characters back to the source, so nothing is lost
and an error can point at any of it. What the lines say is read by ``grammar``.
"""

from __future__ import annotations

import enum
import re
from bisect import bisect_right
from typing import Final, NamedTuple

from bennu.dockerfile.expansion import ExpansionError
from bennu.dockerfile.heredoc import Opening, openings
from bennu.dockerfile.instructions import Directive, EmptyContinuation, Heredoc
from bennu.dockerfile.source import Source, Span
from bennu.dockerfile.words import SPACE

_DIRECTIVE = re.compile(r"([a-zA-Z][a-zA-Z0-9]*)[\t\n\f\r ]*=[\t\n\f\r ]*(.+?)[\t\n\f\r ]*\Z")
_KNOWN_DIRECTIVES: Final = frozenset({"syntax", "escape", "check"})
_CONTINUED: Final = {
    "\\": re.compile(r"(?:[^\\]|^)(\\[ \t]*)\Z"),
    "`": re.compile(r"(?:[^`]|^)(`[ \t]*)\Z"),
}
_BOM: Final = "\ufeff"


class PieceKind(enum.Enum):
    """What a run of source characters is."""

    BOM = "byte order mark"
    DIRECTIVE = "directive"
    COMMENT = "comment"
    BLANK = "blank"
    CODE = "code"
    BREAK = "line break or continuation"
    HEREDOC = "heredoc content"
    TERMINATOR = "heredoc end"


class Piece(NamedTuple):
    """Characters ``[start, end)`` of the source; the pieces of a file tile it."""

    kind: PieceKind
    start: int
    end: int


class LogicalLine:
    """One instruction's text with continuations joined, its heredocs, and the comments directly above it.

    ``code`` holds the source ranges whose texts, joined, are ``text``.
    """

    def __init__(self, source: Source, comments: tuple[str, ...]) -> None:
        self.source = source
        self.comments = comments
        self.code: list[Piece] = []
        self.heredocs: list[Heredoc] = []
        self.end = 0
        self._offsets: list[int] = []
        self._length = 0
        self.text = ""

    def add(self, start: int, end: int) -> None:
        """Append the source characters ``[start, end)``."""
        self.code.append(Piece(PieceKind.CODE, start, end))
        self._offsets.append(self._length)
        self._length += end - start
        self.text += self.source.text[start:end]
        self.end = end

    def origin(self, offset: int) -> int:
        """The source offset of a character of ``text``."""
        index = max(bisect_right(self._offsets, offset) - 1, 0)
        piece = self.code[index]
        return min(piece.start + offset - self._offsets[index], piece.end)

    def span(self, start: int, end: int) -> Span:
        """The source from the character ``start`` of ``text`` to the one before ``end``."""
        begin = self.origin(start)
        return self.source.span(begin, self.origin(end - 1) + 1 if end > start else begin)

    @property
    def whole(self) -> Span:
        """The source from the first character to the end of the line, or of its last heredoc."""
        end = self.heredocs[-1].span.end if self.heredocs else self.end
        return self.source.span(self.origin(0), end)


class Lexed(NamedTuple):
    """A whole file: its directives, its logical lines in order, and the pieces that tile it."""

    escape: str
    directives: tuple[Directive, ...]
    lines: tuple[LogicalLine, ...]
    pieces: tuple[Piece, ...]
    empty_continuations: tuple[EmptyContinuation, ...]


def directive_of(comment: str) -> tuple[str, str] | None:
    """The parser directive that a comment, without its ``#``, reads like: its name in lower case, and its value."""
    found = _DIRECTIVE.match(comment.lstrip(SPACE))
    name = found[1].lower() if found else ""
    return (name, found[2]) if found and name in _KNOWN_DIRECTIVES else None


def lex(source: Source) -> Lexed:
    """Read a whole source. Raises ``Invalid`` for a bad directive and for a heredoc without its end."""
    return _Lexer(source).run()


class _Lexer:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.physical = source.physical_lines()
        self.next = 0
        self.escape = "\\"
        self.in_directives = True
        self.escape_allowed = True
        self.directives: list[Directive] = []
        self.lines: list[LogicalLine] = []
        self.pieces: list[Piece] = []
        self.empty: list[EmptyContinuation] = []
        self.comments: list[str] = []

    def run(self) -> Lexed:
        self._byte_order_mark()
        while self.next < len(self.physical):
            start, end = self._take()
            text = self.source.text[start:end]
            stripped = text.strip(SPACE)
            if stripped.startswith("#"):
                self._hash_line(start, end, stripped)
            elif stripped == "":
                self._piece(PieceKind.BLANK, start, end)
                self.in_directives = False
            else:
                self.in_directives = False
                self._instruction(start, end)
        return Lexed(self.escape, tuple(self.directives), tuple(self.lines), tuple(self.pieces), tuple(self.empty))

    def _take(self) -> tuple[int, int]:
        self.next += 1
        return self.physical[self.next - 1]

    def _piece(self, kind: PieceKind, start: int, end: int) -> None:
        if start < end:
            self.pieces.append(Piece(kind, start, end))

    def _content_end(self, start: int, end: int) -> int:
        return start + len(self.source.text[start:end].rstrip("\r\n"))

    def _byte_order_mark(self) -> None:
        if self.source.text.startswith(_BOM):
            self._piece(PieceKind.BOM, 0, 1)
            start, end = self.physical[0]
            self.physical[0] = (start + 1, end)
            if end == start + 1:
                self.physical.pop(0)

    def _hash_line(self, start: int, end: int, stripped: str) -> None:
        """A directive while only directives came before, else a comment. A ``#!`` line may stand above them."""
        if self.in_directives and self.next == 1 and stripped.startswith("#!"):
            self.escape_allowed = False
            self._piece(PieceKind.COMMENT, start, end)
            return
        found = directive_of(stripped[1:]) if self.in_directives else None
        if found:
            self._directive(*found, start, end)
            return
        self.in_directives = False
        self._piece(PieceKind.COMMENT, start, end)
        comment = stripped[1:].strip(SPACE)
        if comment:
            self.comments.append(comment)
        else:
            self.comments.clear()

    def _directive(self, name: str, value: str, start: int, end: int) -> None:
        self._piece(PieceKind.DIRECTIVE, start, end)
        span = self.source.span(start, self._content_end(start, end))
        if any(directive.name == name for directive in self.directives):
            raise span.invalid(f"parser directive {name!r} stands here a second time", "remove one of the two")
        if name == "escape" and self.escape_allowed:
            if value not in _CONTINUED:
                raise span.narrow(value).invalid(
                    f"escape directive {value!r} is neither a backslash nor a backtick", "write # escape=` or remove it"
                )
            self.escape = value
        self.directives.append(Directive(name=name, value=value, span=span))

    def _instruction(self, start: int, end: int) -> None:
        line = LogicalLine(self.source, tuple(self.comments))
        self.comments.clear()
        text = self.source.text
        begin = start + len(text[start:end]) - len(text[start:end].lstrip(SPACE))
        self._piece(PieceKind.BLANK, start, begin)
        more = self._code(line, begin, end)
        blank: Span | None = None
        while more and self.next < len(self.physical):
            start, end = self._take()
            stripped = text[start:end].strip(SPACE)
            if stripped.startswith("#"):
                self._piece(PieceKind.COMMENT, start, end)
            elif stripped == "":
                self._piece(PieceKind.BLANK, start, end)
                blank = blank or self.source.span(start, self._content_end(start, end))
            else:
                more = self._code(line, start, end)
        if blank:
            self.empty.append(EmptyContinuation(blank, self.source.span(start, self._content_end(start, end))))
        self._heredocs(line)
        self.lines.append(line)

    def _code(self, line: LogicalLine, start: int, end: int) -> bool:
        """Take one physical line into ``line``; True where the escape character continues it."""
        stop = self._content_end(start, end)
        continued = _CONTINUED[self.escape].search(self.source.text[start:stop])
        if continued:
            stop = start + continued.start(1)
        self._piece(PieceKind.CODE, start, stop)
        self._piece(PieceKind.BREAK, stop, end)
        line.add(start, stop)
        return continued is not None

    def _heredocs(self, line: LogicalLine) -> None:
        try:
            found = openings(line.text, self.escape)
        except ExpansionError as error:
            raise line.whole.invalid(f"heredoc name: {error}") from error
        for opening in found:
            line.heredocs.append(self._heredoc(line, opening))

    def _heredoc(self, line: LogicalLine, opening: Opening) -> Heredoc:
        begin = self.physical[self.next][0] if self.next < len(self.physical) else len(self.source.text)
        while self.next < len(self.physical):
            start, end = self._take()
            text = self.source.text[start : self._content_end(start, end)]
            if (text.lstrip("\t") if opening.chomp else text) == opening.name:
                self._piece(PieceKind.HEREDOC, begin, start)
                self._piece(PieceKind.TERMINATOR, start, end)
                return Heredoc(
                    name=opening.name,
                    content=self.source.text[begin:start],
                    expand=opening.expand,
                    chomp=opening.chomp,
                    descriptor=opening.descriptor,
                    span=self.source.span(begin, self._content_end(start, end)),
                )
        raise line.whole.narrow("<<").invalid(
            f"heredoc {opening.name!r} has no end",
            f"close it with a line that holds only {opening.name}",
        )
