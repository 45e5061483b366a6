"""Words to ``Arguments``, by a command's record, with the habits of Docker's command line. Pure.

Flags may stand anywhere among the operands, except that a command with a remainder (``run IMAGE CMD...``) stops looking
at the operand before it: what follows belongs to the container. Short flags combine (``-it``), take their value joined
or apart (``-p80:80``), a value may begin with a dash, a switch can be said out loud (``--rm=false``), ``--`` ends the
flags. Anything else is a ``Usage`` error that names the nearest flag. ``errors`` is imported only when there is one,
because dataclasses would be the dearest import of ``bennu --help``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from bennu.cli.command import Arg, Arguments, Command

if TYPE_CHECKING:
    from bennu.errors import Usage

_TRUE = frozenset({"1", "t", "true", "yes", "on"})
_FALSE = frozenset({"0", "f", "false", "no", "off", ""})


class Parsed(NamedTuple):
    """``help`` is set when ``--help`` was met; then nothing is checked for completeness."""

    arguments: Arguments
    given: frozenset[str]
    help: bool


def parse(command: Command, words: Sequence[str], environ: Mapping[str, str], extra: tuple[Arg, ...] = ()) -> Parsed:
    """Read ``words`` (after the verb) by the command's arguments and ``extra`` ones; raise ``Usage`` if they don't fit.

    A flag given in ``words`` wins over its variable in ``environ``, which wins over the default.
    """
    reader = _Reader(command, extra)
    if reader.read(list(words)):
        return Parsed(Arguments(**reader.values), frozenset(reader.values), help=True)
    reader.place_operands()
    given = frozenset(reader.values)
    for argument in reader.arguments:
        if argument.dest not in reader.values:
            reader.values[argument.dest] = _absent(argument, environ, reader)
    return Parsed(Arguments(**reader.values), given, help=False)


class _Reader:
    """The state of one reading: what was found so far, by dest, and the operands in their order."""

    def __init__(self, command: Command, extra: tuple[Arg, ...]) -> None:
        self.command = command
        taken = {argument.dest for argument in command.arguments}
        self.arguments = (*command.arguments, *(argument for argument in extra if argument.dest not in taken))
        self.by_flag: dict[str, Arg] = {}
        for argument in self.arguments:
            for flag in argument.flags:
                self.by_flag.setdefault(flag, argument)
        self.places = [argument for argument in self.arguments if argument.is_operand]
        self.stop_after = next((n for n, place in enumerate(self.places) if place.remainder), None)
        self.operands: list[str] = []
        self.values: dict[str, object] = {}

    def read(self, words: list[str]) -> bool:
        """Sort the words into flags and operands; True as soon as help is asked for."""
        words.reverse()
        if self.stop_after == 0:
            self.stop_after = None
            self.operands = words[::-1]
            return False
        while words:
            word = words.pop()
            if word == "--":
                self.operands += reversed(words)
                return False
            if word == "--help" or (word == "-h" and "-h" not in self.by_flag):
                return True
            if word.startswith("--"):
                self._long(word, words)
            elif word.startswith("-") and word != "-":
                self._cluster(word, words)
            else:
                self.operands.append(word)
                if len(self.operands) == self.stop_after:
                    self.operands += reversed(words)
                    return False
        return False

    def _long(self, word: str, words: list[str]) -> None:
        flag, equals, value = word.partition("=")
        argument = self.by_flag.get(flag)
        if argument is None:
            raise self.unknown(flag)
        if argument.is_switch:
            self.values[argument.dest] = self.boolean(argument, value) if equals else True
        else:
            self._keep(argument, flag, value if equals else self._next(flag, words))

    def _cluster(self, word: str, words: list[str]) -> None:
        rest = word[1:]
        while rest:
            flag, rest = "-" + rest[0], rest[1:]
            argument = self.by_flag.get(flag)
            if argument is None:
                raise self.unknown(flag if word == flag or word[:2] != flag else word)
            if not argument.is_switch:
                self._keep(argument, flag, rest.removeprefix("=") if rest else self._next(flag, words))
                return
            if rest.startswith("="):
                self.values[argument.dest] = self.boolean(argument, rest[1:])
                return
            self.values[argument.dest] = True

    def _next(self, flag: str, words: list[str]) -> str:
        if not words:
            raise self.usage(f"{flag} needs a value")
        return words.pop()

    def _keep(self, argument: Arg, name: str, word: str) -> None:
        value = self.converted(argument, name, word)
        if argument.repeatable:
            before = self.values.get(argument.dest, ())
            assert isinstance(before, tuple)
            value = (*before, value)
        self.values[argument.dest] = value

    def place_operands(self) -> None:
        """Hand the operands to their places; ``Usage`` for one too few or too many, or a required flag not given."""
        left = self.operands
        for place in self.places:
            if not left:
                if place.required:
                    raise self.usage(f"{self.command.name!r} needs {place.metavar}")
                continue
            count = len(left) if place.repeatable else 1
            for word in left[:count]:
                self._keep(place, str(place.metavar), word)
            left = left[count:]
        if left:
            raise self.usage(f"{self.command.name!r} takes no argument {left[0]!r}")

    def converted(self, argument: Arg, name: str, word: str) -> object:
        """The word as the argument's value; ``Usage`` if it is none of the choices or does not convert."""
        if argument.choices and word not in argument.choices:
            raise self.usage(
                f"{name} {word!r} is not one of {', '.join(argument.choices)}", nearest(word, argument.choices)
            )
        try:
            return argument.convert(word)
        except ValueError as error:
            raise self.usage(f"{name} {word!r} {error}") from error

    def boolean(self, argument: Arg, word: str) -> bool:
        """What ``--switch=word`` says."""
        if word.lower() in _TRUE:
            return True
        if word.lower() in _FALSE:
            return False
        raise self.usage(f"{argument.label} {word!r} is neither true nor false")

    def unknown(self, flag: str) -> Usage:
        """The error for a flag that the command does not have."""
        known = [name for name, argument in self.by_flag.items() if not argument.hidden]
        return self.usage(f"{self.command.name!r} has no flag {flag}", nearest(flag, known))

    def usage(self, message: str, guess: str | None = None) -> Usage:
        """A usage error with a guess, or else the command's help, as its hint."""
        from bennu.errors import Usage

        name = self.command.name if self.command.name == "bennu" else f"bennu {self.command.name}"
        return Usage(message, f"did you mean {guess}?" if guess else f"{name} --help")


def _absent(argument: Arg, environ: Mapping[str, str], reader: _Reader) -> object:
    """The value of an argument that the words do not give."""
    word = environ.get(argument.environ, "") if argument.environ else ""
    if word and argument.environ:
        if argument.is_switch:
            return reader.boolean(argument._replace(flags=(argument.environ,)), word)
        if argument.repeatable:
            return tuple(reader.converted(argument, argument.environ, part) for part in word.split(":"))
        return reader.converted(argument, argument.environ, word)
    if not argument.is_operand and argument.required:
        raise reader.usage(f"{reader.command.name!r} needs {argument.label} {argument.metavar}")
    if argument.repeatable and argument.default is None:
        return ()
    return argument.default


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant, if one is near."""
    from difflib import get_close_matches

    return next(iter(get_close_matches(word, list(known), n=1, cutoff=0.6)), None)
