"""``.env`` and ``env_file``: one ``NAME=value`` a line, as Compose reads them.

Source: the Compose Specification, 05-services.md, "Env_file format". ``export`` may stand in front, ``:`` may stand for
``=``, ``#`` begins a comment on a line of its own or after white space. Single quotes keep their text as it is, double
quotes know the usual escapes, and both may span lines; unquoted and double-quoted values are interpolated, with the
surroundings first and then the names that the file has set above. A name alone takes its value from the surroundings.
"""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Mapping
from typing import Final, NoReturn

from bennu.compose.interpolation import InterpolationError, expand
from bennu.errors import Invalid

_BLANK: Final = re.compile(r"(?:[ \t\r\f\v\n]|#[^\n]*)*")
_EXPORT: Final = re.compile(r"export[ \t]+(?=[^ \t=:\n])")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-\[\]]*")
_SPACES: Final = re.compile(r"[ \t\r\f\v]*")
_COMMENT: Final = re.compile(r"[ \t]#.*")
_ESCAPE: Final = re.compile(r"\\([abcfnrtv\\\"$]|0[0-7]{0,3})")
_ESCAPES: Final = {"a": "\a", "b": "\b", "c": "", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def parse(text: str, file: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that ``text`` sets. Raises ``Invalid`` with its place."""
    return _Reader(text.removeprefix("\ufeff"), file, environ).read()


class _Reader:
    def __init__(self, text: str, file: str, environ: Mapping[str, str]) -> None:
        self._text = text
        self._file = file
        self._environ = environ
        self._at = 0

    def read(self) -> dict[str, str]:
        values: dict[str, str] = {}
        scope = ChainMap(dict(self._environ), values)
        while True:
            self._skip(_BLANK)
            if self._at >= len(self._text):
                return values
            self._skip(_EXPORT)
            name = _NAME.match(self._text, self._at)
            if name is None:
                self._fail("a variable's name begins with a letter or an underscore", self._at)
            self._at = name.end()
            self._skip(_SPACES)
            mark = self._text[self._at : self._at + 1]
            if mark in ("", "\n", "#"):
                if name[0] in self._environ:
                    values[name[0]] = self._environ[name[0]]
                continue
            if mark not in ("=", ":"):
                self._fail(f"after the name {name[0]!r} comes {mark!r} instead of '='", self._at)
            self._at += 1
            self._skip(_SPACES)
            values[name[0]] = self._value(scope)

    def _skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self._text, self._at)
        if match is not None:
            self._at = match.end()

    def _value(self, scope: Mapping[str, str]) -> str:
        quote = self._text[self._at : self._at + 1]
        if quote not in ("'", '"') or not quote:
            start = self._at
            line = self._text[start:].partition("\n")[0]
            self._at = start + len(line)
            value = "" if line.startswith("#") else _COMMENT.sub("", line).rstrip()
            return self._expand(value, scope, start)
        return self._quoted(quote, scope)

    def _quoted(self, quote: str, scope: Mapping[str, str]) -> str:
        start = self._at + 1
        end = start
        while self._text[end : end + 1] != quote:
            if end >= len(self._text):
                self._fail("the quote that opens here is never closed", start - 1)
            end += 2 if self._text[end] == "\\" and self._text[end + 1 : end + 2] in (quote, "\\") else 1
        inner = self._text[start:end]
        self._at = end + 1
        self._skip(_SPACES)
        if self._text[self._at : self._at + 1] not in ("", "\n", "#"):
            self._fail("there is text after the closing quote", self._at)
        if quote == "'":
            return inner.replace("\\'", "'")
        return self._expand(_ESCAPE.sub(_unescape, inner), scope, start)

    def _expand(self, value: str, scope: Mapping[str, str], start: int) -> str:
        try:
            return expand(value, scope).text
        except InterpolationError as error:
            self._fail(error.message, start + error.offset, error.hint)

    def _fail(self, message: str, offset: int, hint: str | None = None) -> NoReturn:
        before = self._text[:offset]
        line = before.count("\n") + 1
        column = offset - (before.rfind("\n") + 1) + 1
        excerpt = self._text.split("\n")[line - 1]
        raise Invalid(message, hint, file=self._file, line=line, column=column, excerpt=excerpt)


def _unescape(match: re.Match[str]) -> str:
    what = match[1]
    if what == "$":
        return "$$"
    if what.startswith("0"):
        return chr(int(what, 8))
    return _ESCAPES.get(what, what)
