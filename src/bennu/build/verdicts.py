"""What verifying a build comes to. Values only: ``verify`` does the work."""

from __future__ import annotations

from typing import Literal

import msgspec

Verdict = Literal["same", "unreproducible", "stale", "wrong"]
"""``stale``: a RUN that twice leaves the same, and not what is cached. ``wrong``: a step without a process that
leaves something else."""


class Difference(msgspec.Struct, frozen=True):
    """One entry that is not the same. ``what`` is ``missing``, ``unexpected`` (only the second tree has it), ``type``,
    ``mode``, ``owner``, ``content``, ``target``, ``device``, ``attributes`` or ``time``.
    """

    path: str
    what: str
    before: str = ""
    after: str = ""


class Verified(msgspec.Struct, frozen=True):
    """What came of one step. ``differences`` are those between the cached layer and a new one."""

    label: str
    line: int
    verdict: Verdict
    differences: tuple[Difference, ...] = ()
