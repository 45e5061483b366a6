"""Locks between processes: flock(2) on a file that says who holds it.

The kernel frees a lock with its holder, so a lock is never stale; what is written in the file is for people: who is
at it, since when, from which command. A file whose writer is dead and whose lock is free says that the last holder
died at its work.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bennu.errors import Conflict

POLL_SECONDS: Final = 0.05
GLANCE_SECONDS: Final = 0.002
SIGNING_SECONDS: Final = 5.0
UNKNOWN: Final = "another process"


@contextmanager
def held(
    path: Path,
    *,
    shared: bool = False,
    wait_seconds: float | None = None,
    owner: str = "",
    subject: str = "",
    on_wait: Callable[[str], None] | None = None,
) -> Iterator[str | None]:
    """Hold a lock for the block. ``wait_seconds`` None waits for ever, 0 not at all; then ``Conflict`` names the
    holder.

    ``owner`` is one line about the new holder. Yields the line of the last exclusive holder if it died without letting
    go, else None.
    ``on_wait`` is called once with the present holder's line before waiting.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        _take(fd, shared, wait_seconds, subject or path.stem, on_wait)
        died = (_signature(fd) or None) if not shared else None
        if not shared:
            _sign(fd, owner)
        try:
            yield died
        finally:
            if not shared:
                os.ftruncate(fd, 0)
    finally:
        os.close(fd)


def holder(path: Path) -> str | None:
    """The line about whoever holds a lock now, or None if it is free.

    A holder that has not signed yet, which on a busy disk takes a while, is waited for.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        deadline = time.monotonic() + SIGNING_SECONDS
        while not _try(fd, fcntl.LOCK_SH):
            line = _signature(fd)
            if line or time.monotonic() > deadline:
                return line or UNKNOWN
            time.sleep(GLANCE_SECONDS)
        return None
    finally:
        os.close(fd)


@contextmanager
def wanted(path: Path) -> Iterator[None]:
    """Let others know, for the block, that somebody waits; any number at once. See ``is_wanted``."""
    with held(path, shared=True):
        yield


def is_wanted(path: Path) -> bool:
    """Whether anybody is within ``wanted`` now. Never waits."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _try(fd, fcntl.LOCK_EX)
    finally:
        os.close(fd)


def _take(
    fd: int, shared: bool, wait_seconds: float | None, subject: str, on_wait: Callable[[str], None] | None
) -> None:
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    if _try(fd, kind) or ((wait_seconds == 0 or not _signature(fd)) and _try_past_a_glance(fd, kind)):
        return
    if wait_seconds != 0 and on_wait is not None:
        on_wait(_signature(fd) or UNKNOWN)
    if wait_seconds is None:
        fcntl.flock(fd, kind)
        return
    deadline = time.monotonic() + wait_seconds
    while not _try(fd, kind):
        left = deadline - time.monotonic()
        if left <= 0:
            who = _signature(fd) or UNKNOWN
            raise Conflict(f"{subject} is locked by {who}", "wait for it, or try again with --wait")
        time.sleep(min(POLL_SECONDS, left))


def _try(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _try_past_a_glance(fd: int, kind: int) -> bool:
    # who asks for the holder takes a shared lock for an instant: it may be only that, whatever a dead holder has signed
    time.sleep(GLANCE_SECONDS)
    return _try(fd, kind)


def sign(path: Path, owner: str) -> None:
    """Say something else about the holder. For the holder alone."""
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        _sign(fd, owner)
    finally:
        os.close(fd)


def _sign(fd: int, owner: str) -> None:
    # in this order nobody ever reads nothing
    line = f"{owner or 'pid ' + str(os.getpid())}\n".encode()
    os.pwrite(fd, line, 0)
    os.ftruncate(fd, len(line))


def _signature(fd: int) -> str:
    return os.pread(fd, 4096, 0).decode(errors="replace").partition("\n")[0].strip()
