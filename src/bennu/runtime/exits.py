"""Waiting for containers to end, without polling.

conmon lives exactly as long as the exit status is not yet written, so its pidfd says when a container has ended; where
conmon was killed, the container's first process says so itself. ``wait_any`` watches many at once and can be woken. A
pid is taken from a control group, so that it is never a reused one.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterable
from contextlib import ExitStack

from bennu.runtime.places import Place
from bennu.runtime.status import living_pid


def wait_any(places: Iterable[Place], *, timeout_seconds: float | None = None, wake: int | None = None) -> set[str]:
    """The IDs of those containers that have ended; returns as soon as there is one.

    Empty when the time is up or the descriptor ``wake`` becomes readable.
    """
    waited = {place.id: place for place in places}
    deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
    while True:
        with ExitStack() as stack:
            watched = {one: _pidfd(stack, place) for one, place in waited.items()}
            ended = {one for one, fd in watched.items() if fd is None}
            if ended or (not watched and wake is None):
                return ended
            poll = select.poll()
            for fd in (*watched.values(), wake):
                if fd is not None:
                    poll.register(fd, select.POLLIN)
            ready = {fd for fd, _ in poll.poll(None if deadline is None else _milliseconds(deadline))}
            if not ready or wake in ready:
                return set()
            # where only the monitor has gone, the next round watches the container itself


def _milliseconds(deadline: float) -> float:
    return max(0.0, deadline - time.monotonic()) * 1000


def _pidfd(stack: ExitStack, place: Place) -> int | None:
    """What ends when the container does; None if it has ended."""
    pid = living_pid(place)
    try:
        fd = os.pidfd_open(pid) if pid else None
    except ProcessLookupError:
        return None
    if fd is not None:
        stack.callback(os.close, fd)
    return fd if living_pid(place) == pid else None  # the pid may have been another's when it was opened
