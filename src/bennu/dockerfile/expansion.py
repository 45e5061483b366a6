"""Variables, quotes and escapes in one word: the small shell language of the Dockerfile reference.

``$v``, ``${v}`` and the modifiers ``:- - :+ + :? ? # ## % %% / //``; the modifier's word is itself expanded. Two
readings of the result: as one word (``expand_word``), or split where unquoted blanks stand after substitution
(``Expanded.words``, which EXPOSE and heredoc names use). Which fields of which instruction are expanded is in
``fields``; the patterns of ``#``, ``%`` and ``/`` are in ``pattern``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from bennu.dockerfile.pattern import BadPatternError, remove_prefix, remove_suffix, replace
from bennu.dockerfile.words import SPACE

_SPECIAL_PARAMETERS: Final = "@*#?-$!"  # and 0, which reads as a number
_END: Final = ""


class ExpansionError(ValueError):
    """The word cannot be expanded. ``str()`` is the reason; ``offset`` counts from the word's beginning."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


class Options(NamedTuple):
    """How a word is read.

    ``keep_quotes`` leaves quotes where they stand but still honours them; ``ignore_quotes`` takes them for ordinary
    characters; ``keep_escapes`` leaves escape characters in; ``keep_unset`` leaves a variable that is not set as
    it was written.
    """

    escape: str = "\\"
    keep_quotes: bool = False
    ignore_quotes: bool = False
    keep_escapes: bool = False
    keep_unset: bool = False


class Expanded(NamedTuple):
    """The result both ways, and the variables that were found (``used``) and not found (``unset``)."""

    text: str
    words: tuple[str, ...]
    used: frozenset[str]
    unset: frozenset[str]


DEFAULTS: Final = Options()


def expand(word: str, env: Mapping[str, str], options: Options = DEFAULTS) -> Expanded:
    """Expand ``word`` over ``env``. Raises ``ExpansionError``."""
    scan = _Scan(word, env, options)
    text, words = scan.until(_END, options.keep_escapes)
    return Expanded(text, words, frozenset(scan.used), frozenset(scan.unset))


def expand_word(word: str, env: Mapping[str, str], escape: str = "\\") -> str:
    """``word`` with its variables put in and its quotes and escapes taken out; blanks are kept."""
    return expand(word, env, Options(escape=escape)).text


class _Words:
    """Collects characters into words; ``split`` text is cut at white space, ``whole`` text is not."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self._open: list[str] = []

    def whole(self, text: str) -> None:
        self._open.append(text)

    def split(self, text: str) -> None:
        for ch in text:
            if ch not in SPACE:
                self._open.append(ch)
            else:
                self.close()

    def close(self) -> tuple[str, ...]:
        word = "".join(self._open)
        self._open.clear()
        if word:
            self.done.append(word)
        return tuple(self.done)


class _Scan:
    """One pass over one word. ``at`` is the next character; methods consume and return what they stand for."""

    def __init__(self, word: str, env: Mapping[str, str], options: Options) -> None:
        self.word = word
        self.env = env
        self.options = options
        self.keep_escapes = options.keep_escapes
        self.at = 0
        self.used: set[str] = set()
        self.unset: set[str] = set()

    def peek(self) -> str:
        return self.word[self.at : self.at + 1]

    def take(self) -> str:
        ch = self.word[self.at : self.at + 1]
        self.at += len(ch)
        return ch

    def fail(self, message: str) -> ExpansionError:
        return ExpansionError(message, min(self.at, max(len(self.word) - 1, 0)))

    def until(self, stop: str, keep_escapes: bool) -> tuple[str, tuple[str, ...]]:
        """Read to the unquoted ``stop`` character, which is consumed, or to the end where ``stop`` is empty."""
        outer, self.keep_escapes = self.keep_escapes, keep_escapes
        result: list[str] = []
        words = _Words()
        try:
            while (ch := self.peek()) != _END:
                if ch == stop:
                    self.take()
                    return "".join(result), words.close()
                result.append(self._piece(ch, words))
        finally:
            self.keep_escapes = outer
        if stop != _END:
            raise self.fail(f"missing {stop!r} in substitution")
        return "".join(result), words.close()

    def _piece(self, ch: str, words: _Words) -> str:
        if ch == "$":
            text = self._dollar()
            words.split(text)
            return text
        if ch in "'\"" and not self.options.ignore_quotes:
            text = self._single_quoted() if ch == "'" else self._double_quoted()
        elif ch == "<":
            text = self._angles()
        elif ch == self.options.escape:
            text = self._escaped()
        else:
            self.take()
            words.split(ch)
            return ch
        words.whole(text)
        return text

    def _escaped(self) -> str:
        mark = self.take()
        return (mark if self.keep_escapes else "") + self.take()

    def _angles(self) -> str:
        """``<<`` with the blanks after it, which belong to a heredoc's word and do not end it."""
        begin = self.at
        self.take()
        if self.peek() == "<":
            self.take()
            while self.peek() and self.peek() in "\t\r ":
                self.take()
        return self.word[begin : self.at]

    def _single_quoted(self) -> str:
        end = self.word.find("'", self.at + 1)
        if end < 0:
            raise self.fail("missing the closing single quote")
        text = self.word[self.at : end + 1]
        self.at = end + 1
        return text if self.options.keep_quotes else text[1:-1]

    def _double_quoted(self) -> str:
        quote = self.take() if self.options.keep_quotes else self.take()[:0]
        result = [quote]
        while (ch := self.peek()) != '"':
            if ch == _END:
                raise self.fail("missing the closing double quote")
            if ch == "$":
                result.append(self._dollar())
                continue
            self.take()
            if ch == self.options.escape:
                following = self.peek()
                if following == _END:
                    continue
                if following in ('"', "$", self.options.escape):  # the only characters that can be escaped here
                    ch = (ch if self.keep_escapes else "") + self.take()
            result.append(ch)
        self.take()
        result.append(quote)
        return "".join(result)

    def _dollar(self) -> str:
        self.take()
        if self.peek() != "{":
            name = self._name()
            if name == "":
                return "$"
            value = self._value(name)
            return f"${name}" if value is None and self.options.keep_unset else value or ""
        self.take()
        if self.peek() == _END:
            raise self.fail("missing '}' in substitution")
        if self.peek() in "{}:":
            raise self.fail("bad substitution")
        return self._substitution(self._name())

    def _name(self) -> str:
        """Digits, one special parameter, or letters, digits and underscores."""
        begin = self.at
        if self.peek().isdecimal():
            while self.peek().isdecimal():
                self.take()
        elif self.peek() and self.peek() in _SPECIAL_PARAMETERS:
            self.take()
        else:
            while self.peek().isalpha() or self.peek().isdecimal() or self.peek() == "_":
                self.take()
        return self.word[begin : self.at]

    def _value(self, name: str) -> str | None:
        value = self.env.get(name)
        (self.unset if value is None else self.used).add(name)
        return value

    def _substitution(self, name: str) -> str:
        """What follows the name inside braces."""
        modifier = self.take()
        if modifier == _END:
            raise self.fail("missing '}' in substitution")
        if modifier == "}":
            value = self._value(name)
            return f"${{{name}}}" if value is None and self.options.keep_unset else value or ""
        if modifier == "/":
            return self._replaced(name)
        empty_is_unset = modifier == ":"
        if empty_is_unset:
            modifier = self.take()
        written = (":" if empty_is_unset else "") + modifier
        if modifier == _END:
            raise self.fail("missing '}' in substitution")
        if modifier not in ("+-?" if empty_is_unset else "+-?#%"):
            raise self.fail(f"unsupported modifier {written!r} in substitution")
        word, _ = self.until("}", modifier in "#%")
        value = self._value(name)
        if value is None and self.options.keep_unset:
            return f"${{{name}{written}{word}}}"
        if modifier in "#%":
            return self._trimmed(modifier, word, value or "")
        return self._chosen(name, modifier, word, value, empty_is_unset)

    def _chosen(self, name: str, modifier: str, word: str, value: str | None, empty_is_unset: bool) -> str:
        missing = value is None or (empty_is_unset and value == "")
        if modifier == "-":
            return word if missing else value or ""
        if modifier == "+":
            return "" if missing else word
        if missing:
            state = "unset" if value is None else "empty"
            raise self.fail(f"{name}: {word or f'is not allowed to be {state}'}")
        return value or ""

    def _trimmed(self, modifier: str, pattern: str, value: str) -> str:
        longest = pattern.startswith(modifier)
        remove = remove_prefix if modifier == "#" else remove_suffix
        try:
            return remove(value, pattern[longest:], longest=longest)
        except BadPatternError as error:
            raise self.fail(f"invalid pattern {pattern!r} in substitution: {error}") from error

    def _replaced(self, name: str) -> str:
        everywhere = self.peek() == "/"
        if everywhere:
            self.take()
        pattern, _ = self.until("/", keep_escapes=True)
        replacement, _ = self.until("}", keep_escapes=True)
        value = self._value(name)
        if value is None and self.options.keep_unset:
            return f"${{{name}/{pattern}/{replacement}}}"
        try:
            return replace(value or "", pattern, replacement, everywhere=everywhere)
        except BadPatternError as error:
            raise self.fail(f"invalid pattern {pattern!r} in substitution: {error}") from error
