"""What an author should know about a file that is well formed: one value for checks and for the builder's own remarks.

``checks`` makes those of the Dockerfile reference, each with the name of its rule; the builder adds some without one.
Nothing here decides what is warned of, and nothing prints.
"""

from __future__ import annotations

import msgspec

from bennu.dockerfile.source import Span


class Warning(msgspec.Struct, frozen=True):  # noqa: A001 - the word of the Dockerfile reference
    """A remark on one place. ``rule`` is the check's name, empty where there is none.

    ``span`` is the whole instruction, and its ``line`` is the one that BuildKit names; ``at`` is the part of it that is
    meant, where a part can be told, and may stand on a later line.
    """

    message: str
    span: Span
    rule: str = ""
    at: Span | None = None

    @property
    def place(self) -> Span:
        """The narrowest place that is known."""
        return self.at or self.span
