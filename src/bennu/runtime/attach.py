"""Between this process's stdio and a container's, over conmon's attach socket.

Each packet of the socket (SOCK_SEQPACKET) is one byte that says which stream, then its bytes; what is sent is standard
input. The detach keys (``detach_keys``) leave a container running; signals are handed to a
callback, window sizes to conmon's control fifo. The terminal's raw mode is the caller's. Source: conmon's
conn_sock.c and ctrl.c.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from bennu.errors import Conflict
from bennu.host.terminal import WindowSize, window_size
from bennu.runtime.detach_keys import KeySequence

PACKET_BYTES: Final = 8192
_STDERR_PACKET: Final = 3
_RESIZE: Final = 1
_REOPEN_LOG: Final = 2


def connect(path: Path) -> socket.socket:
    """A connection to a container's attach socket. ``Conflict`` if nothing listens there: it does not run."""
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            # by way of the descriptor, since a socket's address holds 107 bytes only
            connection.connect(f"/proc/self/fd/{directory}/{path.name}")
        except OSError as error:
            connection.close()
            raise Conflict("the container is not running: nothing answers on its socket") from error
        return connection
    finally:
        os.close(directory)


def control(fifo: Path, *numbers: int) -> None:
    """A line to conmon's control fifo. Nothing happens where conmon has gone."""
    with suppress(OSError):
        fd = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.write(fd, (" ".join(map(str, numbers)) + "\n").encode("ascii"))
        finally:
            os.close(fd)


def resize(fifo: Path, size: WindowSize) -> None:
    """Give a container's terminal a size."""
    control(fifo, _RESIZE, size.rows, size.columns)


def reopen_log(fifo: Path) -> None:
    """Make conmon open its log anew, after it was renamed."""
    control(fifo, _REOPEN_LOG, 0, 0)


class Relay(msgspec.Struct):
    """One attachment. ``stdin`` None sends nothing. ``on_signal`` gets each signal's number from ``signals``.

    ``control_fifo`` is set where the container has a terminal: then SIGWINCH passes the size on.
    """

    connection: socket.socket
    stdout: int
    stderr: int
    stdin: int | None = None
    signals: int | None = None
    on_signal: Callable[[int], None] | None = None
    control_fifo: Path | None = None
    keys: bytes = b""
    _pending: bytes = b""
    _detached: bool = False
    _input_ended: bool = False

    def run(self) -> bool:
        """Relay until the container closes its end (True) or the detach keys were typed (False)."""
        sequence = KeySequence(self.keys)
        self.connection.setblocking(False)
        with selectors.DefaultSelector() as selector:
            selector.register(self.connection, selectors.EVENT_READ)
            if self.signals is not None:
                selector.register(self.signals, selectors.EVENT_READ)
            pollable = self.stdin is None or self._register_input(selector)
            while not self._detached:
                readable = not pollable and not self._pending and not self._input_ended
                ready = {key.fd: events for key, events in selector.select(0 if readable else None)}
                if self.signals in ready:
                    self._pass_signals()
                if (events := ready.get(self.connection.fileno(), 0)) and not self._exchange(events, selector):
                    return True
                if readable or (self.stdin in ready and not self._pending and not self._input_ended):
                    self._take_input(sequence, selector)
        return False

    def _register_input(self, selector: selectors.BaseSelector) -> bool:
        assert self.stdin is not None
        try:
            selector.register(self.stdin, selectors.EVENT_READ)
        except PermissionError:  # a regular file is always readable, and epoll takes none
            return False
        return True

    def _take_input(self, sequence: KeySequence, selector: selectors.BaseSelector) -> None:
        assert self.stdin is not None
        try:
            data = os.read(self.stdin, PACKET_BYTES)
        except OSError:  # the terminal has gone
            data = b""
        if data:
            self._pending, self._detached = sequence.feed(data)
            self._send(selector)
            return
        self._input_ended = True
        with suppress(KeyError):
            selector.unregister(self.stdin)
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)

    def _send(self, selector: selectors.BaseSelector) -> None:
        try:
            if self._pending:
                self.connection.send(self._pending)
            self._pending = b""
        except BlockingIOError:
            pass
        except OSError:  # the container has closed its standard input
            self._pending = b""
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._pending else 0)
        selector.modify(self.connection, wanted)

    def _exchange(self, events: int, selector: selectors.BaseSelector) -> bool:
        """Read and write what the socket allows; False once the container has closed it."""
        if events & selectors.EVENT_WRITE:
            self._send(selector)
        if not events & selectors.EVENT_READ:
            return True
        try:
            packet = self.connection.recv(PACKET_BYTES + 1)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if not packet:
            return False
        write_all(self.stderr if packet[0] == _STDERR_PACKET else self.stdout, packet[1:])
        return True

    def _pass_signals(self) -> None:
        assert self.signals is not None
        with suppress(BlockingIOError):
            for number in os.read(self.signals, 64):
                if number == signal.SIGWINCH:
                    self.pass_size()
                elif self.on_signal is not None:
                    self.on_signal(number)

    def pass_size(self) -> None:
        """Give the container's terminal the size of ours."""
        size = window_size(self.stdout) or (window_size(self.stdin) if self.stdin is not None else None)
        if self.control_fifo is not None and size is not None:
            resize(self.control_fifo, size)


def write_all(fd: int, data: bytes) -> None:
    """Write every byte, waiting where the other side is slow."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            with selectors.DefaultSelector() as selector:
                selector.register(fd, selectors.EVENT_WRITE)
                selector.select()
