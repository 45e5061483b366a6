"""Waiting for containers to end, without polling.

conmon lives exactly as long as the exit status is not yet written, so its pidfd says when a container has ended, after
kill -9 of conmon too. ``wait_any`` watches many at once and can be woken. A pid is taken from the control group of the
monitor, so that it is never a reused one.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterable
from contextlib import ExitStack

from bennu.runtime.places import Place
from bennu.runtime.status import monitor_pid


def wait_any(places: Iterable[Place], *, timeout_seconds: float | None = None, wake: int | None = None) -> set[str]:
    """The IDs of those containers that have ended; returns as soon as there is one.

    Empty when the time is up or the descriptor ``wake`` becomes readable. A container without a monitor has ended.
    """
    ended: set[str] = set()
    with ExitStack() as stack:
        poll = select.poll()
        watched: dict[int, str] = {}
        for place in places:
            fd = _pidfd(stack, place)
            if fd is None:
                ended.add(place.id)
            else:
                watched[fd] = place.id
                poll.register(fd, select.POLLIN)
        if ended or (not watched and wake is None):
            return ended
        if wake is not None:
            poll.register(wake, select.POLLIN)
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        ready = poll.poll(None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000)
        return {watched[fd] for fd, _ in ready if fd in watched}


def _pidfd(stack: ExitStack, place: Place) -> int | None:
    pid = monitor_pid(place)
    try:
        fd = os.pidfd_open(pid) if pid else None
    except ProcessLookupError:
        return None
    if fd is not None:
        stack.callback(os.close, fd)
    return fd if monitor_pid(place) == pid else None  # the pid may have been another's when it was opened
