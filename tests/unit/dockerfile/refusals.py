"""Tables of files that are refused: place, message and hint, then the file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from bennu.errors import Invalid

_HEAD = re.compile(r"(\d+):(\d+) (.*?)(?:  # (.*))?")


class Refusal(NamedTuple):
    """One file, and the error that it gets; ``hint`` is empty where the table does not say it."""

    text: str
    line: int
    column: int
    message: str
    hint: str

    @property
    def name(self) -> str:
        """The line that is wrong."""
        return self.text.splitlines()[self.line - 1]

    def check(self, error: Invalid) -> None:
        """Assert that an error is the one."""
        assert error.message == self.message
        assert (error.file, error.line, error.column) == ("Dockerfile", self.line, self.column)
        assert self.hint in (error.hint or "")
        if error.excerpt is not None:
            assert error.excerpt == self.name


def refusals(path: Path) -> list[Refusal]:
    """The cases of a table."""
    found = []
    for part in path.read_text().split("\n=== ")[1:]:
        head, _, text = part.partition("\n")
        match = _HEAD.fullmatch(head)
        assert match, head
        found.append(Refusal(text + "\n", int(match[1]), int(match[2]), match[3], match[4] or ""))
    return found
