"""Digests: ``sha256:`` and 64 hexadecimal digits, of bytes as they are stored or sent.

Source: OCI image specification, descriptor.md, "Digests". bennu makes sha256 only and accepts sha512 from elsewhere.
A digest is a plain string (``NewType``), so that it costs nothing in JSON and SQLite; ``parse_digest`` is the one gate.
"""

from __future__ import annotations

import re
from typing import Final, NewType, Protocol

from bennu.errors import Invalid

Digest = NewType("Digest", str)

try:
    # The interpreter's own: hashlib loads OpenSSL, which is faster from some megabytes on and costs 3 ms before.
    from _sha256 import sha256 as _sha256  # type: ignore[import-not-found, unused-ignore]
except ImportError:
    from hashlib import sha256 as _sha256

_LENGTHS: Final = {"sha256": 64, "sha512": 128}
SMALL_BYTES: Final = 1 << 20
_FORM: Final = r"(sha256|sha512):([0-9a-f]+)"  # re keeps what it has compiled


class Hash(Protocol):
    """What ``hashlib`` returns, as far as bennu uses it."""

    def update(self, data: bytes | bytearray, /) -> None:
        """Add bytes."""

    def digest(self) -> bytes:
        """The digest so far."""
        ...

    def hexdigest(self) -> str:
        """The digest so far, in lower-case hexadecimal."""
        ...


def parse_digest(text: str) -> Digest:
    """The digest that ``text`` spells; ``Invalid`` if it is not a well-formed sha256 or sha512 digest."""
    match = re.fullmatch(_FORM, text)
    if match is None or len(match[2]) != _LENGTHS[match[1]]:
        raise Invalid(f"digest {text!r} is not sha256: or sha512: with lower-case hexadecimal digits")
    return Digest(text)


def digest_of(data: bytes) -> Digest:
    """The sha256 digest of bytes."""
    return Digest("sha256:" + sha256_hex(data))


def sha256_hex(data: bytes) -> str:
    """The sha256 of a few bytes, in lower-case hexadecimal."""
    if len(data) < SMALL_BYTES:
        digits: str = _sha256(data).hexdigest()
        return digits
    import hashlib

    return hashlib.sha256(data).hexdigest()


def sha256_bytes(data: bytes | bytearray) -> bytes:
    """The sha256 of bytes, as bytes."""
    running = hash_of_about(len(data))
    running.update(data)
    return running.digest()


def hash_of_about(size_bytes: int) -> Hash:
    """A running sha256 that suits so many bytes: for few, one that loads nothing."""
    if size_bytes < SMALL_BYTES:
        small: Hash = _sha256()
        return small
    import hashlib

    return hashlib.sha256()


def new_hash(digest: Digest | None = None) -> Hash:
    """A running hash of the algorithm that ``digest`` names, sha256 if there is none yet."""
    import hashlib

    return hashlib.new(algorithm(digest)) if digest else hashlib.sha256()


def finish(running: Hash, name: str = "sha256") -> Digest:
    """The digest that a running hash has reached."""
    return Digest(f"{name}:{running.hexdigest()}")


def algorithm(digest: Digest) -> str:
    """``sha256`` of ``sha256:…``."""
    return digest.partition(":")[0]


def encoded(digest: Digest) -> str:
    """The hexadecimal digits of a digest."""
    return digest.partition(":")[2]


def short(digest: str) -> str:
    """The first 12 hexadecimal digits, for people."""
    return digest.rpartition(":")[2][:12]
