"""A stream that may lose its reader: what is under way goes on, and only its words are lost.

For work that must not end half done because somebody's connection has: what a push streams back, for one.
"""

from __future__ import annotations

import io
from typing import TextIO


class Patient(io.TextIOBase):
    """Writes to another stream as long as somebody reads it; each line at once."""

    def __init__(self, stream: TextIO) -> None:
        self._stream: TextIO | None = stream

    def write(self, text: str) -> int:
        """Write, or lose, a text."""
        if self._stream is not None:
            try:
                self._stream.write(text)
                if text.endswith("\n"):
                    self._stream.flush()
            except (OSError, ValueError):
                self._stream = None
        return len(text)

    def flush(self) -> None:
        """Write what is held back."""
        if self._stream is not None:
            try:
                self._stream.flush()
            except (OSError, ValueError):
                self._stream = None

    def isatty(self) -> bool:
        """Nobody can be asked through it."""
        return False

    def writable(self) -> bool:
        """It is for writing."""
        return True
