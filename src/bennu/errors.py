"""The categories of error, and what each means at the edges.

Every failure that a user can meet is a ``BennuError``. Its category fixes the exit status and the HTTP status in one
table, ``STATUS``; nothing else chooses them. A message names the object first, quotes the value and gives the cause;
the hint names the next command. This module owns no printing: ``cli.report`` renders errors.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Status(NamedTuple):
    """What a category means outside: a process's exit status and an HTTP response's status."""

    exit: int
    http: int


class BennuError(Exception):
    """A failure with one clear message and a hint that names the command that helps.

    ``message`` is one line without a full stop; ``hint`` is a sentence or a command, or None where nothing would help.
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class NotFound(BennuError):
    """The named object does not exist."""


class AlreadyExists(BennuError):
    """The name is taken; ``create`` fails where ``ensure`` would not."""


class Conflict(BennuError):
    """The object's state, or somebody else's work on it, forbids this now."""


class Usage(BennuError):
    """The command line itself is wrong."""


class Invalid(BennuError):
    """A file or value is malformed. ``line`` and ``column`` count from 1; all three are None for a bare value.

    ``excerpt`` is the offending source line as it stands in the file, without its newline.
    """

    def __init__(
        self,
        message: str,
        hint: str | None = None,
        *,
        file: str | None = None,
        line: int | None = None,
        column: int | None = None,
        excerpt: str | None = None,
    ) -> None:
        super().__init__(message, hint)
        self.file = file
        self.line = line
        self.column = column
        self.excerpt = excerpt

    @property
    def where(self) -> str:
        """``file:line:column`` as far as it is known, without a trailing colon; the empty string for a bare value."""
        parts = [self.file, self.line, self.column]
        return ":".join(str(part) for part in parts if part is not None)

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


class InvalidMany(Invalid):
    """All that is wrong with one file, in the file's order. ``errors`` is never empty."""

    def __init__(self, errors: tuple[Invalid, ...]) -> None:
        first = errors[0]
        super().__init__(first.message, first.hint, file=first.file, line=first.line, column=first.column)
        self.errors = errors

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self.errors)


class Unsupported(Invalid):
    """Well formed, but not something that bennu (or this host, or this engine) does."""


class Unavailable(BennuError):
    """Something outside does not answer: a registry, a deadline that passed, a program that is not installed."""


class Corrupt(BennuError):
    """Stored bytes do not match their digest or their format."""


class Failed(BennuError):
    """A command ran and failed. ``status`` is its exit status (128+n for signal n), ``tail`` its last output lines.

    ``source`` is what somebody's file says of it, which may be several lines, the first of them the file's ``line``.
    ``notes``: what became of it, a line each.
    """

    def __init__(
        self,
        message: str,
        hint: str | None = None,
        *,
        command: tuple[str, ...] = (),
        status: int = 1,
        tail: tuple[str, ...] = (),
        source: str = "",
        line: int | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message, hint)
        self.notes = notes
        self.command = command
        self.status = status
        self.tail = tail
        self.source = source
        self.line = line


STATUS: Final[dict[type[BennuError], Status]] = {
    Usage: Status(exit=64, http=400),
    NotFound: Status(exit=1, http=404),
    AlreadyExists: Status(exit=1, http=409),
    Conflict: Status(exit=1, http=409),
    Invalid: Status(exit=1, http=400),
    InvalidMany: Status(exit=1, http=400),
    Unsupported: Status(exit=1, http=501),
    Unavailable: Status(exit=1, http=503),
    Corrupt: Status(exit=1, http=500),
    Failed: Status(exit=1, http=500),
    BennuError: Status(exit=1, http=500),
}


def status_of(error: BennuError) -> Status:
    """The statuses of an error: of its own class, else of the nearest base class in the table."""
    return next(STATUS[cls] for cls in type(error).__mro__ if cls in STATUS)
