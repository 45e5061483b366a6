"""Which files of a build context are left out: ``.dockerignore`` and ``COPY --exclude``, with Docker's rules.

A pattern is cleaned as a path and rooted at the context; ``**`` stands for any number of directories; the last
pattern that matches wins, and ``!`` takes back. A pattern that matches a directory matches what is below it. The
walker asks ``Rules`` for a ``Verdict`` per entry, top down, handing in that of the directory above; where nothing
below a directory can be included any more, ``descend`` is False. An excluded directory that holds an included file
is itself created, so the walker keeps it back until then. Rules: Dockerfile reference, and moby/patternmatcher.

Theory. Patterns of one polarity that stand in a row act as one: each is only tried while the entry is not yet on its
side, so the first hit settles the row. A row is one regular expression, and an entry costs one match per row. What
matched a directory is inherited by row (``Verdict.rows``), never recomputed from the entry's path.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from bennu.dockerfile.match import (
    BadPatternError,
    Token,
    character_class,
    expression_of,
    may_match_below,
    parent_expressions,
    tokenize,
)
from bennu.dockerfile.source import Source
from bennu.dockerfile.words import SPACE


class Verdict(NamedTuple):
    """What the rules say of one entry. ``descend`` only means something for a directory.

    ``rows`` says which rows of patterns matched the entry or a directory above it; it is for the entries below.
    """

    excluded: bool
    descend: bool
    rows: tuple[bool, ...]


class _Row(NamedTuple):
    """Consecutive patterns of one polarity; ``includes`` for those with ``!``, which also keep their parents."""

    includes: bool
    expression: re.Pattern[str]
    parents: tuple[tuple[re.Pattern[str] | None, ...], ...]


class Rules:
    """An ordered list of patterns. No patterns exclude nothing. Raises ``BadPatternError`` from the constructor."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self.patterns = tuple(filter(None, map(clean, patterns)))
        rows: list[tuple[bool, list[str]]] = []
        for pattern in self.patterns:
            includes = pattern.startswith("!")
            if not rows or rows[-1][0] is not includes:
                rows.append((includes, []))
            rows[-1][1].append(pattern[includes:])
        self._rows = tuple(_row(includes, members) for includes, members in rows)

    @property
    def root(self) -> Verdict:
        """The verdict for the context itself, to hand in for its direct entries."""
        return Verdict(excluded=False, descend=True, rows=(False,) * len(self._rows))

    def verdict(self, path: str, above: Verdict) -> Verdict:
        """The verdict for ``path``, relative to the context, given that of the directory it is in."""
        excluded = False
        rows: list[bool] = []
        for row, inherited in zip(self._rows, above.rows, strict=True):
            matched = inherited or (row.includes is excluded and row.expression.fullmatch(path) is not None)
            rows.append(matched)
            if matched:
                excluded = not row.includes
        return Verdict(excluded, not excluded or self._may_include_below(path, rows), tuple(rows))

    def excludes(self, path: str) -> bool:
        """Whether one path is left out, where no walk leads to it."""
        verdict = self.root
        parts = path.split("/")
        for depth in range(1, len(parts) + 1):
            verdict = self.verdict("/".join(parts[:depth]), verdict)
        return verdict.excluded

    def _may_include_below(self, directory: str, rows: Sequence[bool]) -> bool:
        """Whether a ``!`` behind the last inherited exclusion could match something below."""
        for row, matched in zip(reversed(self._rows), reversed(rows), strict=True):
            if row.includes:
                if any(may_match_below(parents, directory) for parents in row.parents):
                    return True
            elif matched:
                return False
        return False


def parse(text: bytes | str, file: str) -> Rules:
    """The rules of a ``.dockerignore``. Raises ``Invalid`` at the first pattern that is malformed."""
    source = Source(text, file)
    patterns: list[str] = []
    for start, end in source.physical_lines():
        line = source.text[start:end].rstrip("\n")
        if start == 0:
            line = line.removeprefix("\ufeff")
        pattern = _read_line(line)
        if not pattern:
            continue
        try:
            clean(pattern)
        except BadPatternError as error:
            raise (
                source.span(start, end).narrow(line.strip(SPACE)).invalid(str(error), "correct the pattern")
            ) from error
        patterns.append(pattern)
    return Rules(patterns)


def _read_line(line: str) -> str:
    """The pattern of a line, empty for a comment or a blank one. A comment's ``#`` is the line's first character."""
    stripped = line.strip(SPACE)
    if line.startswith("#") or not stripped:
        return ""
    mark = "!" if stripped.startswith("!") else ""
    body = stripped[len(mark) :].strip(SPACE)
    if not body:
        return mark
    body = _clean_path(body)
    return mark + (body[1:] if len(body) > 1 and body.startswith("/") else body)


def _clean_path(path: str) -> str:
    """Go's ``filepath.Clean``; unlike Python's it keeps no second leading slash."""
    cleaned = posixpath.normpath(path)
    return cleaned[1:] if cleaned.startswith("//") else cleaned


def clean(pattern: str) -> str:
    """A pattern as it is matched, empty for a blank one. Raises ``BadPatternError`` for one that Go refuses."""
    stripped = pattern.strip(SPACE)
    if not stripped:
        return ""
    cleaned = _clean_path(stripped)
    if cleaned == "!":
        raise BadPatternError("pattern '!' takes back nothing")
    tokenize(cleaned.removeprefix("!"), is_expression=True)
    return cleaned


def _row(includes: bool, patterns: Sequence[str]) -> _Row:
    tokens = [_tokens(pattern) for pattern in patterns]
    expression = "|".join(map(expression_of, tokens))
    return _Row(
        includes=includes,
        expression=re.compile(expression, re.DOTALL),
        parents=tuple(parent_expressions(sequence) for sequence in tokens) if includes else (),
    )


_ANYTHING: Final = Token(".*", crosses=True)
_DIRECTORIES: Final = Token("(?:.*/)?", crosses=True)


def _tokens(pattern: str) -> list[Token]:
    """The pattern with ``**``: any directories in front of something, anything at the end.

    ``**name`` without further wildcards is a suffix of the whole path, not of a component; with one it is not.
    """
    tokens: list[Token] = []
    at = 0
    while at < len(pattern):
        if pattern.startswith("**", at):
            begin = at
            at += 3 if pattern.startswith("/", at + 2) else 2
            suffix = begin == 0 and at == 2 and re.search(r"[*?[\]\\]", pattern[at:]) is None
            tokens.append(_ANYTHING if suffix or at == len(pattern) else _DIRECTORIES)
        elif pattern[at] == "[":
            token, at = character_class(pattern, at + 1)
            tokens.append(token)
        else:
            width = 2 if pattern[at] == "\\" else 1
            tokens.extend(tokenize(pattern[at : at + width]))
            at += width
    return tokens
