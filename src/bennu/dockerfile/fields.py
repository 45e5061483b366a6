"""Which fields of which instruction take variables, and putting them in.

As in BuildKit: ADD, COPY (not its ``--from`` and ``--exclude``), ENV, EXPOSE, FROM, LABEL, STOPSIGNAL, USER, VOLUME,
WORKDIR, the inline files of ADD and COPY unless their name is quoted, and the values of ``RUN --mount``. All fields
of an instruction see the variables as they are before it. The names and defaults of ARG are for the caller, who knows
which are overridden: ``expand_value``. Nothing else is touched: a shell form's variables are the shell's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Generic, NamedTuple, TypeVar

import msgspec

from bennu.dockerfile import mounts
from bennu.dockerfile.expansion import Expanded, ExpansionError, Options, expand
from bennu.dockerfile.instructions import (
    Add,
    Copy,
    Env,
    Expose,
    From,
    Heredoc,
    Instruction,
    Label,
    Pair,
    Run,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from bennu.dockerfile.source import Span, decoded

_I = TypeVar("_I", bound=Instruction)

FIELDS: Final[Mapping[type[Instruction], tuple[str, ...]]] = {
    Add: ("chown", "chmod", "checksum", "sources", "destination", "heredocs"),
    Copy: ("chown", "chmod", "sources", "destination", "heredocs"),
    Env: ("pairs",),
    Expose: ("ports",),
    From: ("image", "platform"),
    Label: ("pairs",),
    StopSignal: ("signal",),
    User: ("user",),
    Volume: ("paths",),
    Workdir: ("path",),
}


class Expansion(NamedTuple, Generic[_I]):
    """An instruction with its variables put in, and the names that were used and that were not set."""

    instruction: _I
    used: frozenset[str]
    unset: frozenset[str]


def expand_instruction(instruction: _I, env: Mapping[str, str], escape: str = "\\") -> Expansion[_I]:
    """Put ``env`` into an instruction; one without such fields comes back as it is. Raises ``Invalid`` at the word.

    The ports of EXPOSE are split after expansion; an expanded heredoc has its tabs chomped and ``expand`` False.
    """
    putting = _Putting(instruction.span, env, escape)
    changed: dict[str, object] = {}
    for field in FIELDS.get(type(instruction), ()):
        value = getattr(instruction, field)
        if value:
            changed[field] = putting.ports(value) if field == "ports" else putting.value(value)
    result = msgspec.structs.replace(instruction, **changed) if changed else instruction
    return Expansion(result, frozenset(putting.used), frozenset(putting.unset))


def expand_value(value: str, env: Mapping[str, str], span: Span, escape: str = "\\") -> Expanded:
    """Put ``env`` into one value that stands somewhere in ``span``. Raises ``Invalid`` there."""
    return _Putting(span, env, escape).expanded(value)


def resolve_mounts(run: Run, env: Mapping[str, str], escape: str = "\\") -> tuple[mounts.Mount, ...]:
    """The mounts of a RUN with their variables put in. Raises ``Invalid`` at the flag."""
    putting = _Putting(run.span, env, escape)
    return tuple(mounts.resolve(flag, putting.text) for flag in run.mounts)


class _Putting:
    def __init__(self, span: Span, env: Mapping[str, str], escape: str) -> None:
        self.span = span
        self.env = env
        self.options = Options(escape=escape)
        self.used: set[str] = set()
        self.unset: set[str] = set()

    def expanded(self, word: str, options: Options | None = None) -> Expanded:
        try:
            result = expand(word, self.env, options or self.options)
        except ExpansionError as error:
            raise self._where(word, error.offset).invalid(
                f"cannot expand {_quoted(word, error.offset)}: {error}"
            ) from error
        self.used |= result.used
        self.unset |= result.unset
        return result

    def _where(self, word: str, offset: int) -> Span:
        """The word; of a document, which is a word of many lines, the line."""
        place = self.span.narrow(word)
        begin = word.rfind("\n", 0, offset) + 1
        return place if begin == 0 or place is self.span else place.part(begin, len(word))

    def text(self, word: str) -> str:
        return self.expanded(word).text

    def ports(self, words: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(port for word in words for port in self.expanded(word).words)

    def value(self, value: object) -> object:
        """A string, a pair, a heredoc, or a tuple of one of them."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, tuple):
            return tuple(self.value(item) for item in value)
        if isinstance(value, Pair):
            return Pair(key=self.text(value.key), value=self.text(value.value))
        assert isinstance(value, Heredoc)
        return self.document(value)

    def document(self, heredoc: Heredoc) -> Heredoc:
        """Quotes mean nothing in a document and its escape is always a backslash."""
        if not heredoc.expand:
            return heredoc
        text = self.expanded(decoded(heredoc.body), Options(ignore_quotes=True)).text
        return msgspec.structs.replace(heredoc, content=text, expand=False, chomp=False)


def _quoted(word: str, offset: int) -> str:
    """A word for a message; of one with many lines, the line."""
    begin = word.rfind("\n", 0, offset) + 1
    return f"'{word[begin:].partition(chr(10))[0]}'"
