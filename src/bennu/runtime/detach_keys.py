"""The keys that detach from a container: as people name them, and found in what is typed. Pure."""

from __future__ import annotations

from typing import Final

from bennu.errors import Invalid

DEFAULT: Final = b"\x10\x11"
"""ctrl-p ctrl-q, as Docker's."""


def parse_detach_keys(text: str) -> bytes:
    """``ctrl-p,ctrl-q`` as the bytes that a terminal sends. ``Invalid`` for anything else."""
    keys = bytearray()
    for word in text.split(","):
        if len(word) == 1 and word.isascii():
            keys += word.encode("ascii")
        elif word.startswith("ctrl-") and len(word) == 6 and "@" <= word[5].upper() <= "_":
            keys.append(ord(word[5].upper()) - ord("@"))
        else:
            raise Invalid(f"detach keys {text!r}: {word!r} is not a character or ctrl- and one", "e.g. ctrl-p,ctrl-q")
    return bytes(keys)


class KeySequence:
    """Finds the detach keys in what is typed, however it is cut into reads."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._held = b""

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """The bytes to pass on, and whether the sequence is complete. A beginning of it is held back."""
        if not self._keys:
            return data, False
        whole = self._held + data
        at = whole.find(self._keys)
        if at >= 0:
            self._held = b""
            return whole[:at], True
        for length in range(min(len(self._keys) - 1, len(whole)), 0, -1):
            if whole.endswith(self._keys[:length]):
                self._held = whole[-length:]
                return whole[:-length], False
        self._held = b""
        return whole, False
