"""Terminals and signals of this process: raw mode, the window's size, and signals as something to poll.

Everything that is changed is put back when the block ends, whatever ends it. Refuses to know what the bytes mean.
"""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Final, NamedTuple

DEADLY: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class WindowSize(NamedTuple):
    """The size of a terminal's window, in character cells."""

    rows: int
    columns: int


def window_size(fd: int) -> WindowSize | None:
    """The size of the terminal behind a descriptor; None where there is none, or it has no size."""
    import termios

    try:
        rows, columns, _, _ = struct.unpack("HHHH", fcntl.ioctl(fd, termios.TIOCGWINSZ, b"\0" * 8))
    except OSError:
        return None
    return WindowSize(rows, columns) if rows and columns else None


@contextmanager
def raw(fd: int) -> Iterator[None]:
    """The terminal passes every byte on as it is typed, for as long as the block runs. Nothing where it is none."""
    import termios
    import tty

    try:
        before = termios.tcgetattr(fd)
    except termios.error:
        yield
        return
    tty.setraw(fd, termios.TCSADRAIN)
    try:
        yield
    finally:
        with suppress(termios.error):  # it was closed
            termios.tcsetattr(fd, termios.TCSADRAIN, before)


@contextmanager
def signals(numbers: Iterable[int]) -> Iterator[int]:
    """For the block, these signals do nothing but make the yielded descriptor readable, one byte each: its number.

    Only in the main thread, as Python's signal handlers are.
    """
    read, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    before_fd = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    before = {number: signal.signal(number, _noted) for number in numbers}
    try:
        yield read
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(before_fd)
        os.close(read)
        os.close(write)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """For the block, Ctrl-C and the deadly signals do nothing, so that clearing up comes to its end.

    Only in the main thread, where Python handles signals; elsewhere there is nothing to do.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in DEADLY}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def deferred(on_signal: Callable[[], object]) -> Iterator[None]:
    """For the block, Ctrl-C and the deadly signals interrupt nothing: the first one calls ``on_signal``, and what it
    would have done is done at the block's end. Those after it are swallowed.

    An exception out of a signal's handler may strike anywhere, between a lock and its release too; who waits for
    threads cannot live with that. Only in the main thread; elsewhere signals do not arrive.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    noted: list[int] = []

    def note(number: int, _frame: object) -> None:
        noted.append(number)
        if len(noted) == 1:
            on_signal()

    before = {number: signal.getsignal(number) for number in DEADLY}
    caught = {number: handler for number, handler in before.items() if handler not in {signal.SIG_IGN, None}}
    for number in caught:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number, handler in caught.items():
            signal.signal(number, handler)
    if noted:
        signal.raise_signal(noted[0])


def _noted(_number: int, _frame: object) -> None:
    """The wakeup descriptor has taken the signal's number; Python needs a handler to write it."""
