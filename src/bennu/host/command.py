"""A command of somebody else's that is given a text and a time: it ends, or it is ended with all that it began.

Its input and its output are files in memory and no pipes, so that neither a command that never reads nor a child that
it leaves behind with its output open holds anything up.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from bennu.host import process
from bennu.host.process import Argv

POLL_SECONDS: Final = 0.05
TAIL_BYTES: Final = 16 << 10
TAIL_LINES: Final = 10
OUT_OF_TIME: Final = 124
CANCELLED: Final = 137


class Ended(msgspec.Struct, frozen=True):
    """How it ended: exit status (128+n for signal n, 124 when its time was up, 137 when cancelled), last lines."""

    status: int
    tail: tuple[str, ...]


def run_bounded(
    argv: Argv,
    *,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout_seconds: float,
    cancel: threading.Event | None = None,
) -> Ended:
    """Run a program in a session of its own. ``Unavailable`` or ``NotFound`` where it cannot be started."""
    cancel = cancel or threading.Event()
    deadline = time.monotonic() + timeout_seconds
    source, sink = _in_memory("stdin", stdin), _in_memory("output", b"")
    try:
        with (
            open(source, "rb", closefd=False) as given,
            open(sink, "wb", closefd=False) as written,
            process.start(argv, stdin=given, stdout=written, stderr=written, env=env, cwd=cwd, new_session=True) as run,
        ):
            while run.poll() is None and not cancel.wait(POLL_SECONDS) and time.monotonic() < deadline:
                pass
            status = run.poll()
            if status is None:
                with suppress(ProcessLookupError):
                    os.killpg(run.pid, signal.SIGKILL)
        if status is None:
            return Ended(CANCELLED if cancel.is_set() else OUT_OF_TIME, _tail(sink))
        return Ended(process.exit_status(status), _tail(sink))
    finally:
        os.close(source)
        os.close(sink)


def _in_memory(name: str, content: bytes) -> int:
    fd = os.memfd_create(f"bennu-{name}", os.MFD_CLOEXEC)
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _tail(fd: int) -> tuple[str, ...]:
    size = os.fstat(fd).st_size
    text = os.pread(fd, TAIL_BYTES, max(0, size - TAIL_BYTES)).decode(errors="replace")
    return tuple(text.rstrip().splitlines()[-TAIL_LINES:])
