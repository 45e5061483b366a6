"""A container in the foreground: attached before its process runs, so that no byte is missed, until it ends.

Owns what ``run``, ``start --attach`` and ``attach`` have in common: raw mode, the window's size, signals passed on, the
detach keys, and the exit status. Must be called in the main thread, since it takes the process's signals.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Final

import msgspec

from bennu.errors import Conflict, NotFound
from bennu.runtime import detach_keys
from bennu.runtime.containers import Containers
from bennu.runtime.places import Place
from bennu.runtime.records import Record

if TYPE_CHECKING:
    import socket

PASSED_ON: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


class Stdio(msgspec.Struct, frozen=True):
    """Descriptors of this process. ``stdin`` None sends nothing; ``pass_signals`` off leaves them to their default."""

    stdin: int | None
    stdout: int
    stderr: int
    keys: bytes = detach_keys.DEFAULT
    pass_signals: bool = True


def start_attached(containers: Containers, record: Record, stdio: Stdio) -> int | None:
    """Start a container and stay with it; its exit status, or None if it was detached from."""
    # the modules of the relay are loaded while the runtime works, which takes longer than that
    threading.Thread(target=_load, name="bennu-load", daemon=True).start()
    with ExitStack() as stack:
        connections: list[socket.socket] = []

        def connect_first(place: Place) -> None:
            from bennu.host.terminal import window_size
            from bennu.runtime.attach import connect, resize

            sizes = window_size(stdio.stdout) if record.options.terminal else None
            connections.append(stack.enter_context(connect(place.attach_socket)))
            if sizes is not None:
                resize(place.control, sizes)

        containers.start(record.id, connect_first)
        if not connections:
            raise Conflict(f"container {record.name!r} is running already", f"`bennu attach {record.name}`")
        return _stay(containers, record, connections[0], stdio)


def attach_to(containers: Containers, record: Record, stdio: Stdio) -> int | None:
    """Attach to a container that runs; its exit status, or None if it was detached from. ``Conflict``."""
    from bennu.runtime.attach import connect

    status = containers.status(record)
    if status.state != "running":
        raise Conflict(f"container {record.name!r} is {status.state}", f"`bennu start {record.name}`")
    with connect(containers.place(record).attach_socket) as connection:
        return _stay(containers, record, connection, stdio)


def _stay(containers: Containers, record: Record, connection: socket.socket, stdio: Stdio) -> int | None:
    from bennu.runtime.attach import Relay

    has_terminal = record.options.terminal
    with surroundings(stdio, has_terminal=has_terminal) as signals:
        relay = Relay(
            connection,
            stdio.stdout,
            stdio.stderr,
            stdin=stdio.stdin if record.options.interactive else None,
            signals=signals,
            on_signal=lambda number: _pass_on(containers, record, number),
            control_fifo=containers.place(record).control if has_terminal else None,
            keys=stdio.keys if record.options.interactive else b"",
        )
        relay.pass_size()
        ended = relay.run()
    return containers.wait(record.id) if ended else None


@contextmanager
def surroundings(stdio: Stdio, *, has_terminal: bool) -> Iterator[int]:
    """For the block, the terminal is raw where there is one, and signals arrive at the yielded descriptor."""
    from bennu.host import terminal

    numbers = {signal.SIGWINCH, *(PASSED_ON if stdio.pass_signals else ())}
    with ExitStack() as stack:
        signals = stack.enter_context(terminal.signals(numbers))
        if has_terminal and stdio.stdin is not None:
            stack.enter_context(terminal.raw(stdio.stdin))
        yield signals


def _load() -> None:
    import bennu.host.terminal
    import bennu.runtime.attach  # noqa: F401


def _pass_on(containers: Containers, record: Record, number: int) -> None:
    with suppress(Conflict, NotFound):  # it has just ended
        containers.kill(record.id, str(number))
