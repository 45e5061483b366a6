"""Replicas as people name them on the command line: ``web.2``, and the held one's own name, ``web.2-held``."""

from __future__ import annotations

from typing import NamedTuple

from bennu.errors import Usage


class Named(NamedTuple):
    """A replica of a project."""

    project: str
    service: str
    number: int


def parse_replica(word: str) -> tuple[str, int]:
    """The service and the number of a replica. ``Usage`` for anything else."""
    service, _, index = word.removesuffix("-held").rpartition(".")
    if not service or not (index.isascii() and index.isdigit()) or int(index) < 1:
        raise Usage(f"{word!r} is not a replica", "a service and a number, such as web.2; `bennu status` lists them")
    return service, int(index)
