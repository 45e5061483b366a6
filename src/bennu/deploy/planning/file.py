"""Saved plans: a file that carries a whole release and the plan that makes it what runs. Pure.

The file is JSON: ``format``, ``version``, the ``checksum`` of the rest as it stands, and the ``plan`` itself. It holds
everything that the fleet file said, environments too, so it is to be read by its owner alone. A file of another version
is refused rather than guessed at: a plan lives for hours, not years.
"""

from __future__ import annotations

from typing import Final

import msgspec

from bennu.compose.canonical import canonical_json
from bennu.compose.struct import Value
from bennu.deploy.planning.plan import Plan
from bennu.deploy.release import Release
from bennu.digest import Digest, digest_of
from bennu.errors import Corrupt, Invalid, Unsupported

FORMAT: Final = "bennu saved plan"
VERSION: Final = 1
AGAIN: Final = "`bennu plan -o FILE` saves a new one"


class SavedPlan(Value, frozen=True, kw_only=True, omit_defaults=True):
    """What a file holds. ``author`` and ``made`` (Unix seconds): who saved it when."""

    plan: Plan
    release: Release
    author: str
    made: float


class _Envelope(msgspec.Struct):
    format: str
    version: int
    checksum: Digest
    plan: msgspec.Raw


class _Head(msgspec.Struct):
    format: str = ""
    version: int = 0


def encode(saved: SavedPlan) -> bytes:
    """The file's content."""
    body = canonical_json(saved)
    envelope = _Envelope(format=FORMAT, version=VERSION, checksum=digest_of(body), plan=msgspec.Raw(body))
    return msgspec.json.encode(envelope) + b"\n"


def decode(data: bytes, file: str) -> SavedPlan:
    """The inverse. ``file`` names it in errors.

    ``Invalid`` for what is no saved plan at all, ``Unsupported`` for another version's, ``Corrupt`` for a damaged one.
    """
    if not is_saved_plan(data):
        raise Invalid(f"file {file!r} is not a saved plan", AGAIN)
    try:
        head = msgspec.json.decode(data, type=_Head)
        if head.version != VERSION:
            raise Unsupported(
                f"saved plan {file!r} has format version {head.version}, and this bennu reads version {VERSION}",
                f"make it with the bennu that applies it: {AGAIN}",
            )
        envelope = msgspec.json.decode(data, type=_Envelope)
        body = bytes(envelope.plan)
        if digest_of(body) != envelope.checksum:
            raise Corrupt(f"saved plan {file!r} is damaged: its checksum does not fit", AGAIN)
        saved = msgspec.json.decode(body, type=SavedPlan)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Corrupt(f"saved plan {file!r} is damaged: {error}", AGAIN) from error
    if saved.release.digest != saved.plan.release or saved.release.project != saved.plan.project:
        raise Corrupt(f"saved plan {file!r} is damaged: its release is not the one that it was made for", AGAIN)
    return saved


def digest(saved: SavedPlan) -> Digest:
    """A saved plan's name: the checksum in its file."""
    return digest_of(canonical_json(saved))


def is_saved_plan(data: bytes) -> bool:
    """Whether a file begins as saved plans do; it may be damaged further on."""
    return data.startswith(b'{"format":"' + FORMAT.encode() + b'"')
