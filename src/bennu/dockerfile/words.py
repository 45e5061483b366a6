"""Splitting a logical line into its parts: keyword, flags, arguments.

Four ways of reading arguments, chosen per instruction by ``grammar``: blank-separated, quoted, a JSON array, or the
whole rest as one string. Each part keeps its offset in the logical line, so that an error can point at it. Quotes
and escapes stay in quoted words (``expansion`` takes them out) and are taken out of flags here, as BuildKit does.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import msgspec

from bennu.dockerfile.source import decoded

SPACE: Final = "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"
"""What Unicode calls white space. ``str.isspace`` also counts the separators 0x1c to 0x1f, which Docker does not."""

_BLANKS = re.compile(r"[\t\v\f\r ]+")
_ESCAPED = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.", re.DOTALL
)


class Word(NamedTuple):
    """A part of a logical line, and the offset at which it begins there."""

    text: str
    offset: int


class Head(NamedTuple):
    """A logical line taken apart: ``rest`` is stripped on both sides."""

    keyword: Word
    flags: tuple[Word, ...]
    rest: Word


class NotStringsError(ValueError):
    """A JSON array holds something other than strings."""


def split_head(line: str, escape: str, offset: int = 0) -> Head:
    """Keyword, flags and rest of ``line[offset:]``. Flags are the leading words that begin with two dashes."""
    start = offset + _leading(line[offset:])
    end = len(line.rstrip(SPACE))
    gap = _BLANKS.search(line, start, end)
    if gap is None:
        return Head(Word(line[start:end], start), (), Word("", max(start, end)))
    flags, at = _flags(line, gap.end(), end, escape)
    at += _leading(line[at:end])
    return Head(Word(line[start : gap.start()], start), flags, Word(line[at:end], at))


def _leading(text: str) -> int:
    return len(text) - len(text.lstrip(SPACE))


def _flags(line: str, at: int, end: int, escape: str) -> tuple[tuple[Word, ...], int]:
    flags: list[Word] = []
    while True:
        while at < end and line[at] in SPACE:
            at += 1
        if not line.startswith("--", at, end):
            return tuple(flags), at
        begin = at
        text, at = _flag(line, at, end, escape)
        if text == "--":  # the end of the flags, as in POSIX's utility syntax
            return tuple(flags), at
        flags.append(Word(text, begin))


def _flag(line: str, at: int, end: int, escape: str) -> tuple[str, int]:
    """One flag from ``at``, without its quotes and escapes, and the offset after it."""
    quote = ""
    out: list[str] = []
    while at < end:
        ch = line[at]
        if quote == "" and ch in SPACE:
            break
        at += 1
        if quote == "" and ch in "'\"":
            quote = ch
        elif ch == quote:
            quote = ""
        elif ch == escape:
            out.append(line[at : min(at + 1, end)])
            at += 1
        else:
            out.append(ch)
    return "".join(out), min(at, end)


def blank_words(rest: Word) -> tuple[Word, ...]:
    """Words between runs of blanks; quotes mean nothing."""
    words: list[Word] = []
    at = 0
    for gap in _BLANKS.finditer(rest.text):
        words.append(Word(rest.text[at : gap.start()], rest.offset + at))
        at = gap.end()
    if rest.text:
        words.append(Word(rest.text[at:], rest.offset + at))
    return tuple(words)


def quoted_words(rest: Word, escape: str) -> tuple[Word, ...]:
    """Words between white space outside quotes. Quotes and escapes are kept; an escape that ends the line is not."""
    words: list[Word] = []
    text, end, at = rest.text, len(rest.text), 0
    while True:
        while at < end and text[at] in SPACE:
            at += 1
        if at == end:
            return tuple(words)
        begin = at
        word, at = _quoted(text, at, escape)
        if word:
            words.append(Word(word, rest.offset + begin))


def _quoted(text: str, at: int, escape: str) -> tuple[str, int]:
    quote = ""
    out: list[str] = []
    while at < len(text):
        ch = text[at]
        if quote == "" and ch in SPACE:
            break
        at += 1
        if ch == escape and quote != "'":  # between single quotes nothing is escaped
            if at < len(text):
                out.append(ch + text[at])
                at += 1
            continue
        if quote == "" and ch in "'\"":
            quote = ch
        elif ch == quote:
            quote = ""
        out.append(ch)
    return "".join(out), at


def _whole(escape: re.Match[str]) -> str:
    """An escape of JSON as it is; half of a surrogate pair as U+FFFD, which is what Go reads there."""
    return "\\ufffd" if escape[1] else escape[0]


def json_array(rest: str) -> tuple[str, ...] | None:
    """The strings of a JSON array, or None where the text is no JSON array and is to be read another way.

    Raises ``NotStringsError`` for an array that holds anything else, which the reference refuses.
    """
    if not rest.startswith("["):
        return None
    try:
        values = msgspec.json.decode(_ESCAPED.sub(_whole, decoded(rest)), type=list[object])
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return None
    if not all(isinstance(value, str) for value in values):
        raise NotStringsError
    return tuple(str(value) for value in values)
