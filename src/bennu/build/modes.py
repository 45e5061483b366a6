"""The modes of ``--chmod``: a number, or clauses such as ``u+x,go-w`` that change what a file has. Pure.

Clauses are read as BSD's setmode(3) reads them, with no umask, since that is what BuildKit does: ``s`` and ``t`` count
only where more than others are named, ``=`` leaves a sticky bit, ``X`` asks for the execute bits that there were before
all clauses, and ``u``, ``g`` and ``o`` behind an operator copy the permissions as they are by then.
"""

from __future__ import annotations

import re
import stat
from typing import Final, NamedTuple

MOST: Final = 0o7777
_STICKY: Final = 0o1000
_STANDARD: Final = 0o6777  # what "a" stands for and "=" clears
_OTHERS: Final = 0o007
_WHO: Final = {"a": _STANDARD, "u": 0o4700, "g": 0o2070, "o": _OTHERS}
_BITS: Final = {"r": 0o444, "w": 0o222, "x": 0o111, "X": 0o111, "s": 0o6000}
_SHIFT: Final = {"u": 6, "g": 3, "o": 0}
_OPERATIONS: Final = r"(?:[-+=][rwxXstugo]*)+"
_CLAUSES: Final = rf"[augo]*{_OPERATIONS}(?:,[augo]*{_OPERATIONS})*"  # re keeps what it has compiled


class Command(NamedTuple):
    """One change: ``+`` and ``-`` with their bits, ``X`` with those that depend; or ``u``, ``g``, ``o``, whose
    permissions are put to (``how``: ``+``, ``-``, ``=``) the classes that ``bits`` has.
    """

    what: str
    bits: int
    how: str = ""


class Mode(NamedTuple):
    """What ``--chmod`` makes of a file's mode. ``number`` is None where it depends on the mode that there was."""

    number: int | None = None
    commands: tuple[Command, ...] = ()

    def of(self, mode: int, *, is_directory: bool) -> int:
        """The permission bits, for a file that has these."""
        if self.number is not None:
            return self.number
        before = now = stat.S_IMODE(mode)
        for what, bits, how in self.commands:
            if what in _SHIFT:
                now = _copied(now, (now >> _SHIFT[what]) & 7, bits, how)
            elif what == "-":
                now &= ~bits
            elif what == "+" or is_directory or before & 0o111:
                now |= bits
        return now


def parse_mode(text: str) -> Mode | None:
    """A mode as it is written; None where it is none."""
    if re.fullmatch(r"[0-7]+", text):
        number = int(text, 8)
        return Mode(number) if number <= MOST else None
    if not re.fullmatch(_CLAUSES, text):
        return None
    commands: list[Command] = []
    for clause in text.split(","):
        named, operations = re.match(r"[augo]*", clause), re.findall(r"([-+=])([rwxXstugo]*)", clause)
        who = 0
        for letter in named[0] if named else "":
            who |= _WHO[letter]
        for operator, letters in operations:
            commands += _Operation(operator, who).read(letters)
    return Mode(None, tuple(commands))


class _Operation:
    """One operator with its letters, read from left to right."""

    def __init__(self, operator: str, who: int) -> None:
        self.operator = operator
        self.who = who
        self.bits = 0
        self.is_conditional = False
        self.is_done = operator != "="  # "=" clears at least once
        self.commands: list[Command] = []

    def read(self, letters: str) -> list[Command]:
        """The commands, in the order in which they are to be done."""
        counts = not self.who or self.who & ~_OTHERS  # of s and t
        for letter in letters:
            if letter in _SHIFT:
                self._copy(letter)
            elif letter == "X" and self.operator != "-":  # there is nothing else to take away
                self.is_conditional = True
            elif letter == "t" and counts:
                self.bits |= _STICKY
                self.who |= _STICKY
            elif letter != "s" or counts:
                self.bits |= _BITS.get(letter, 0)
        if self.bits or not self.is_done:
            self._flush()
        self._flush_conditional()
        return self.commands

    def _copy(self, letter: str) -> None:
        if self.bits:  # what stands before a copied class is done first
            self._flush()
        self.is_done = True
        if self.operator == "+":
            self._flush_conditional()
        self.commands.append(Command(letter, self.who & 0o777 if self.who else 0o777, self.operator))

    def _flush(self) -> None:
        if self.operator == "=":
            self.commands.append(Command("-", self.who or _STANDARD))
            self.is_done = True
        self.commands.append(Command("-" if self.operator == "-" else "+", (self.who or MOST) & self.bits))
        self.bits = 0

    def _flush_conditional(self) -> None:
        if self.is_conditional:
            self.commands.append(Command("X", (self.who or MOST) & 0o111))
        self.is_conditional = False


def _copied(mode: int, permissions: int, classes: int, how: str) -> int:
    for shift in _SHIFT.values():
        if classes & (0o4 << shift):
            if how != "+":
                mode &= ~((7 if how == "=" else permissions) << shift)
            if how != "-":
                mode |= permissions << shift
    return mode
