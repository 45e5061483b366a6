"""What a verb's record is made of: ``Command`` and its ``Arg`` records.

One record feeds the parser, ``--help``, shell completion, the man page and ``docs/commands.md``; a verb's file holds
its record and its ``run``. Records refuse to know how anything is done: they carry words, shapes and defaults only.
They are NamedTuples because this module is on the way of ``bennu --help`` and dataclasses cost more than the rest of
the start. ``parser`` reads these records next.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Literal, NamedTuple

Completion = Literal["none", "file", "directory", "image", "container", "service", "volume", "command"]


class Arg(NamedTuple):
    """One flag or operand. Made by ``switch``, ``option`` or ``operand``; the fields are for those who render it.

    ``flags`` is empty for an operand. ``metavar`` is None for a switch. ``convert`` gets the word and raises ValueError
    with the rest of the sentence ("is not a number of bytes"). ``environ`` names the variable that stands in for a flag
    that is not given. A repeatable argument arrives as a tuple.
    """

    dest: str
    flags: tuple[str, ...] = ()
    metavar: str | None = None
    help: str = ""
    convert: Callable[[str], object] = str
    choices: tuple[str, ...] = ()
    default: object = None
    repeatable: bool = False
    required: bool = True
    remainder: bool = False
    environ: str | None = None
    complete: Completion = "none"
    hidden: bool = False

    @property
    def is_operand(self) -> bool:
        """Named by its place and not by a flag."""
        return not self.flags

    @property
    def is_switch(self) -> bool:
        """A flag that takes no value (``--flag=false`` aside)."""
        return bool(self.flags) and self.metavar is None

    @property
    def label(self) -> str:
        """How errors name it: the longest flag, or the operand's metavar."""
        return max(self.flags, key=len) if self.flags else str(self.metavar)


class Command(NamedTuple):
    """One verb. ``name`` is as typed after ``bennu``, words separated by one blank (``image inspect``).

    ``status_on_error`` replaces the category's exit status for every error, usage errors too (Docker's 125 of ``run``
    and ``exec``). ``description`` is paragraphs for the manual; ``examples`` are pairs of command line and meaning.
    ``reads_stdin`` and ``needs_terminal`` are said in the manual. A hidden verb works and is listed nowhere.
    """

    name: str
    summary: str
    arguments: tuple[Arg, ...] = ()
    group: str = ""
    description: str = ""
    examples: tuple[tuple[str, str], ...] = ()
    status_on_error: int | None = None
    reads_stdin: str = ""
    needs_terminal: str = ""
    hidden: bool = False

    @property
    def operands(self) -> tuple[Arg, ...]:
        """The arguments named by place, in their order."""
        return tuple(argument for argument in self.arguments if argument.is_operand)

    @property
    def options(self) -> tuple[Arg, ...]:
        """The arguments named by a flag, in the record's order."""
        return tuple(argument for argument in self.arguments if not argument.is_operand)


class Arguments(SimpleNamespace):
    """A verb's arguments: one attribute for each ``Arg`` of its record, by ``dest``, and the global ones."""


def switch(
    *flags: str, help: str, dest: str = "", default: bool = False, environ: str | None = None, hidden: bool = False
) -> Arg:
    """A flag that is there or not; arrives as a bool."""
    return Arg(dest or _dest(flags), flags, None, help, default=default, environ=environ, hidden=hidden, required=False)


def option(
    *flags: str,
    metavar: str,
    help: str,
    dest: str = "",
    convert: Callable[[str], object] = str,
    choices: tuple[str, ...] = (),
    default: object = None,
    repeatable: bool = False,
    environ: str | None = None,
    complete: Completion = "none",
    hidden: bool = False,
    required: bool = False,
) -> Arg:
    """A flag with a value; arrives converted, None (or ``default``) if not given, a tuple if repeatable."""
    return Arg(
        dest or _dest(flags), flags, metavar, help, convert, choices, default, repeatable, required, False, environ,
        complete, hidden,
    )  # fmt: skip


def operand(
    metavar: str,
    *,
    help: str,
    dest: str = "",
    convert: Callable[[str], object] = str,
    choices: tuple[str, ...] = (),
    default: object = None,
    repeatable: bool = False,
    required: bool = True,
    remainder: bool = False,
    complete: Completion = "none",
) -> Arg:
    """An argument named by its place. ``remainder`` takes every word from there on as it stands, flags too."""
    return Arg(
        dest or metavar.lower().replace("-", "_"), (), metavar, help, convert, choices, default,
        repeatable or remainder, required and not remainder, remainder, None, complete, False,
    )  # fmt: skip


def _dest(flags: tuple[str, ...]) -> str:
    return max(flags, key=len).lstrip("-").replace("-", "_")


GLOBAL: tuple[Arg, ...] = (
    option("--root", metavar="DIR", help="State directory", environ="BENNU_ROOT", complete="directory"),
    switch("--debug", help="Show the traceback of an error", environ="BENNU_DEBUG"),
)
"""Taken by every verb, and before the verb."""

PROJECT_NAME: Arg = option(
    "-p", "--project-name", metavar="NAME", dest="project", help="Project name", environ="COMPOSE_PROJECT_NAME"
)

PROJECT: tuple[Arg, ...] = (
    option(
        "-f", "--file", metavar="FILE", dest="files", help="Compose file", repeatable=True, environ="COMPOSE_FILE",
        complete="file",
    ),
    PROJECT_NAME,
)  # fmt: skip
"""For the verbs of a fleet: ``arguments=(*PROJECT, ...)``. Also taken before such a verb, as in ``docker compose``."""

PROFILE: Arg = option(
    "--profile", metavar="NAME", dest="profiles", help="Take this profile's services too", repeatable=True
)
"""For the verbs that can do with some of a Compose file's services."""

FORMAT: Arg = option("--format", metavar="FORMAT", help="json, table, or a template such as '{{.Name}}'")
"""For verbs that print records; ``bennu.cli.output`` renders what it says."""

YES: Arg = switch("-y", "--yes", help="Do not ask")
"""For verbs that ask before they act; given to ``Context.confirm``."""
