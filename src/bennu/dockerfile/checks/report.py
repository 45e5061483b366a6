"""Where checks put what they found: a ``Report`` knows which rules may speak, and says nothing twice."""

from __future__ import annotations

from bennu.dockerfile.checks.options import Options
from bennu.dockerfile.checks.rules import RULES
from bennu.dockerfile.instructions import Instruction
from bennu.dockerfile.source import Span
from bennu.dockerfile.warning import Warning  # noqa: A004 - the word of the Dockerfile reference
from bennu.dockerfile.words import Word


class Report:
    """The warnings of one file, in the order in which they were found."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self._warnings: dict[tuple[str, str, int], Warning] = {}

    @property
    def warnings(self) -> tuple[Warning, ...]:
        """All of them, by line; those of one line in the order in which they were found."""
        return tuple(sorted(self._warnings.values(), key=lambda warning: warning.span.line))

    def of(self, instruction: Instruction, rule: str, message: str, at: Span | None = None) -> None:
        """Warn of an instruction, if the rule speaks there; ``at`` is the part of it that is meant."""
        self.add(rule, instruction.span, message, at, options=self.options.under(instruction.comments))

    def add(
        self, rule: str, span: Span, message: str, at: Span | None = None, *, options: Options | None = None
    ) -> None:
        """Warn, if the rule speaks under these options, or else for the whole file."""
        if (options or self.options).speaks(RULES[rule]):
            self._warnings.setdefault((rule, message, span.start), Warning(message, span, rule, at))


def place(instruction: Instruction, word: Word) -> Span:
    """Where a word of an instruction's ``text`` stands, its offset counted from the keyword."""
    span, end = instruction.span, word.offset + len(word.text)
    if span.text[:end] == instruction.text[:end]:
        return span.part(word.offset, end)
    return span.narrow(word.text)  # a continuation stands before it, so the offset is not the source's


def variable(instruction: Instruction, name: str) -> Span:
    """Where an instruction first names a variable."""
    for form in (f"${{{name}", f"${name}"):
        found = instruction.span.narrow(form)
        if found is not instruction.span:
            return found
    return instruction.span
