"""What a build tells: events as values, and who listens. Pure.

The solver calls a ``Listener`` from several threads; renderers (``bennu.cli.build_progress``) and the log of every step
(``logs``) are listeners. A step that was found in the cache only says so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec


class Event(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """``number`` counts the steps of a build from 1; ``label`` is ``[web 3/7] RUN make``."""

    number: int
    label: str


class Started(Event, frozen=True, tag=True):
    """The step runs now."""


class Cached(Event, frozen=True, tag=True):
    """The step ran before, and its result is used."""


class Waiting(Event, frozen=True, tag=True):
    """Somebody else is at the same step: ``holder`` says who. What comes next says how it went on."""

    holder: str = ""


class Output(Event, frozen=True, tag=True):
    """Bytes that a RUN wrote, as they came."""

    stream: Literal["stdout", "stderr"] = "stdout"
    data: bytes = b""


class Finished(Event, frozen=True, tag=True):
    """The step has run."""

    seconds: float = 0.0


class Broken(Event, frozen=True, tag=True):
    """The step failed, or was ended because another one did (``cancelled``)."""

    seconds: float = 0.0
    reason: str = ""
    cancelled: bool = False


Listener = Callable[[Event], object]
"""Called with each event, from any thread; must not raise. What it returns is not looked at."""


def together(*listeners: Listener) -> Listener:
    """One listener that tells several."""

    def tell(event: Event) -> None:
        for listener in listeners:
            listener(event)

    return tell
