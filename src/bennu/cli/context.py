"""What a verb's ``run`` gets besides its arguments: settings, streams, environment, and the one way to ask a question.

Data goes to ``stdout``, progress and questions to ``stderr``. ``settings`` is made at first use, so that verbs which
need none work on a host without a state directory. Nothing here prints an error: a verb raises, ``main`` reports.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from bennu.config import Settings


class Context:
    """One process's surroundings. Tests make one with their own streams and environment."""

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        stdin: TextIO | None = None,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
        root: str | None = None,
        debug: bool = False,
    ) -> None:
        self.environ = environ
        self.stdin = stdin or sys.stdin
        self.stdout = stdout or sys.stdout
        self.stderr = stderr or sys.stderr
        self.root = root
        self.debug = debug

    @cached_property
    def settings(self) -> Settings:
        """The settings of this process: ``--root``, then the environment, then the defaults."""
        from bennu.config import Settings

        return Settings.from_environ(self.environ, root=self.root)

    @property
    def is_terminal(self) -> bool:
        """Somebody can be asked: standard input and standard error are both a terminal."""
        return _is_terminal(self.stdin) and _is_terminal(self.stderr)

    def is_coloured(self, stream: TextIO) -> bool:
        """Colours suit this stream: a terminal that is not dumb, and no ``NO_COLOR`` (no-color.org)."""
        return _is_terminal(stream) and not self.environ.get("NO_COLOR") and self.environ.get("TERM") != "dumb"

    def can_draw(self, stream: TextIO) -> bool:
        """The cursor can be moved on this stream: a terminal that is not dumb."""
        return _is_terminal(stream) and self.environ.get("TERM") != "dumb"

    def size(self, stream: TextIO) -> tuple[int, int]:
        """Columns and rows of the terminal behind the stream, or 80 by 24; ``COLUMNS`` and ``LINES`` win."""
        try:
            found: tuple[int, int] = os.get_terminal_size(stream.fileno())
        except (OSError, ValueError):
            found = (0, 0)
        wanted = (self.environ.get("COLUMNS", ""), self.environ.get("LINES", ""))
        columns, rows = (int(word) if word.isdecimal() else size for word, size in zip(wanted, found, strict=True))
        return columns or 80, rows or 24

    def print(self, text: str = "") -> None:
        """One line of data on standard output."""
        self.stdout.write(text + "\n")

    def say(self, text: str) -> None:
        """One line of progress on standard error, at once."""
        self.stderr.write(text + "\n")
        self.stderr.flush()

    def confirm(self, question: str, *, yes: bool) -> None:
        """Return if ``yes`` or if the person at the terminal agrees; raise ``Conflict`` otherwise.

        Without a terminal nobody is asked and nothing is assumed: that is a ``Conflict`` that names ``--yes``.
        """
        if yes:
            return
        from bennu.errors import Conflict

        if not self.is_terminal:
            raise Conflict(f"{question!r} cannot be asked without a terminal", "add --yes to answer it beforehand")
        self.stderr.write(f"{question} [y/N] ")
        self.stderr.flush()
        if self.stdin.readline().strip().lower() not in {"y", "yes"}:
            raise Conflict(f"{question!r} was not answered with yes, nothing was changed")


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False
