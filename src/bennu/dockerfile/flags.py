"""The ``--name=value`` flags of an instruction: which exist, which take what, and their errors.

``TABLE`` is the whole vocabulary. A flag that can be repeated is ``LIST``; the others are refused the second time. A
``TRUTH`` flag may stand alone. The rules are those of BuildKit's flag reader.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

from bennu.dockerfile import spelling
from bennu.dockerfile.statement import Statement
from bennu.dockerfile.words import Word


class Kind(enum.Enum):
    """What a flag takes."""

    TRUTH = "true or false"
    TEXT = "one value"
    LIST = "a value each time it is given"


TABLE: Final[Mapping[str, Mapping[str, Kind]]] = {
    "ADD": {
        "chown": Kind.TEXT,
        "chmod": Kind.TEXT,
        "link": Kind.TRUTH,
        "keep-git-dir": Kind.TRUTH,
        "checksum": Kind.TEXT,
        "unpack": Kind.TRUTH,
        "exclude": Kind.LIST,
    },
    "COPY": {
        "chown": Kind.TEXT,
        "from": Kind.TEXT,
        "chmod": Kind.TEXT,
        "link": Kind.TRUTH,
        "exclude": Kind.LIST,
        "parents": Kind.TRUTH,
    },
    "FROM": {"platform": Kind.TEXT},
    "HEALTHCHECK": {
        "interval": Kind.TEXT,
        "timeout": Kind.TEXT,
        "start-period": Kind.TEXT,
        "start-interval": Kind.TEXT,
        "retries": Kind.TEXT,
    },
    "RUN": {"mount": Kind.LIST, "network": Kind.TEXT, "security": Kind.TEXT, "device": Kind.LIST},
}


class Flags:
    """The flags that an instruction has, after ``read``. A flag that was not given is None or empty."""

    def __init__(self, given: Mapping[str, tuple[Word, ...]]) -> None:
        self._given = given

    def word(self, name: str) -> Word | None:
        """The value of a flag and the place where the flag stands."""
        return next(iter(self._given.get(name, ())), None)

    def text(self, name: str) -> str | None:
        """The value of a flag; an empty value counts as not given, as in BuildKit."""
        word = self.word(name)
        return word.text or None if word else None

    def words(self, name: str) -> tuple[Word, ...]:
        """The values of a repeated flag, each with the place where the flag stands."""
        return self._given.get(name, ())

    def texts(self, name: str) -> tuple[str, ...]:
        """The values of a repeated flag."""
        return tuple(word.text for word in self.words(name))

    def truth(self, name: str) -> bool | None:
        """Whether a flag is on."""
        word = self.word(name)
        return None if word is None else word.text == "true"


def read(statement: Statement) -> Flags:
    """The flags of a statement. Raises ``Invalid`` at the flag that is unknown, repeated or lacks its value."""
    kinds = TABLE.get(statement.name, {})
    given: dict[str, tuple[Word, ...]] = {}
    for word in statement.flags:
        name, equals, value = word.text[2:].partition("=")
        if name not in kinds:
            valid = ", ".join(f"--{kind}" for kind in kinds)
            otherwise = f"its flags are {valid}" if kinds else f"{statement.name} takes no flags"
            suggestion = spelling.nearest(name, kinds)
            raise statement.fail(
                f"unknown flag '--{name}'", word, f"did you mean --{suggestion}?" if suggestion else otherwise
            )
        kind = kinds[name]
        if name in given and kind is not Kind.LIST:
            raise statement.fail(f"flag '--{name}' is given a second time", word, "remove one of the two")
        given[name] = (*given.get(name, ()), Word(_value(statement, word, kind, equals, value), word.offset))
    return Flags(given)


def _value(statement: Statement, word: Word, kind: Kind, equals: str, value: str) -> str:
    name = word.text.partition("=")[0]
    if (kind is not Kind.TRUTH and not equals) or (kind is Kind.TRUTH and equals and not value):
        form = f"{name} alone" if kind is Kind.TRUTH else f"{name}=VALUE"
        raise statement.fail(f"flag '{name}' lacks its value", word, f"write {form}")
    if kind is not Kind.TRUTH:
        return value
    truth = value.lower() or "true"
    if truth not in ("true", "false"):
        known = spelling.hint(value, ("true", "false"), f"write {name} alone")
        raise statement.fail(f"flag '{name}' is neither true nor false but '{value}'", word, known)
    return truth
