"""The terminal of a one-shot process: a pair of its own, whose master the runtime hands over, and this process's.

The runtime would copy between the two by itself, but never their size. For as long as the process runs our terminal is
raw, so that every key, Ctrl-C too, is the process's. Source: the runtime command line's ``--console-socket``.
"""

from __future__ import annotations

import fcntl
import os
import selectors
import socket
import struct
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from bennu.host.terminal import WindowSize, raw, window_size
from bennu.runtime.attach import write_all

POLL_SECONDS: Final = 0.05
CHUNK_BYTES: Final = 1 << 14
STDIN: Final = 0
STDOUT: Final = 1


@contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    """A socket at ``path`` for the runtime to send a terminal's master to."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # by way of the descriptor, since a socket's address holds 107 bytes only
            listener.bind(f"/proc/self/fd/{directory}/{path.name}")
        finally:
            os.close(directory)
        listener.listen(1)
        listener.settimeout(POLL_SECONDS)
        yield listener


def attend(listener: socket.socket, has_ended: Callable[[], bool]) -> None:
    """Stay between our terminal and the one that arrives at ``listener``, until ``has_ended``."""
    master = _received(listener, has_ended)
    if master is None:
        return
    try:
        with raw(STDIN):
            _Between(master).run(has_ended)
    finally:
        os.close(master)


def _received(listener: socket.socket, has_ended: Callable[[], bool]) -> int | None:
    """The master; None where the runtime ended without sending one."""
    while True:
        with suppress(TimeoutError):
            connection, _ = listener.accept()
            with connection:
                _, descriptors, _, _ = socket.recv_fds(connection, 4096, 1)
            return descriptors[0] if descriptors else None
        if has_ended():
            return None


class _Between:
    """Copies both ways. What the process does not read yet waits, and more is not taken then."""

    def __init__(self, master: int) -> None:
        self._master = master
        self._pending = b""
        self._size: WindowSize | None = None
        os.set_blocking(master, False)

    def run(self, has_ended: Callable[[], bool]) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._master, selectors.EVENT_READ)
            selector.register(STDIN, selectors.EVENT_READ)
            is_open = True
            while is_open:
                self._pass_size()
                # asked first: what the process wrote before it ended is there to be read now
                ended = has_ended()
                ready = {key.fd: events for key, events in selector.select(POLL_SECONDS)}
                if ready.get(self._master, 0) & selectors.EVENT_WRITE:
                    self._send(selector)
                if STDIN in ready and not self._pending:
                    self._take(selector)
                if ready.get(self._master, 0) & selectors.EVENT_READ:
                    is_open = self._show()
                elif ended:
                    is_open = False

    def _show(self) -> bool:
        try:
            data = os.read(self._master, CHUNK_BYTES)
        except BlockingIOError:
            return True
        except OSError:  # EIO: nobody has the other side open any more
            return False
        write_all(STDOUT, data)
        return bool(data)

    def _take(self, selector: selectors.BaseSelector) -> None:
        data = os.read(STDIN, CHUNK_BYTES)
        if not data:  # hung up
            selector.unregister(STDIN)
            return
        self._pending = data
        self._send(selector)

    def _send(self, selector: selectors.BaseSelector) -> None:
        with suppress(BlockingIOError):
            self._pending = self._pending[os.write(self._master, self._pending) :]
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._pending else 0)
        selector.modify(self._master, wanted)

    def _pass_size(self) -> None:
        size = window_size(STDIN)
        if size is not None and size != self._size:
            self._size = size
            with suppress(OSError):
                fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
