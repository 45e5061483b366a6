"""SSH agents for steps: a socket of the step's own, behind which a thread forwards to the agent of whoever builds.

The socket has the mode and owner that the step asked for, and goes with the step, connections included. Keys that are
given as files get an agent of their own, ``ssh-agent``, for as long. Nothing of the protocol is looked at.
"""

from __future__ import annotations

import os
import selectors
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from bennu.build.mounts import Look
from bennu.build.secrets import AGENT_SOCKET, AgentSource
from bennu.config import Settings
from bennu.errors import Failed, Unavailable
from bennu.host import files, process

CHUNK_BYTES: Final = 1 << 16
START_SECONDS: Final = 5.0
POLL_SECONDS: Final = 0.02
STUCK_SECONDS: Final = 10.0  # an end that takes nothing for so long is given up


@contextmanager
def forwarded(settings: Settings, source: AgentSource, look: Look) -> Iterator[Path]:
    """The path of a socket that leads to an agent. ``Unavailable`` where keys need a program that is missing."""
    with ExitStack() as stack:
        place = stack.enter_context(files.temporary_directory(settings.run / "trees", "agent"))
        agent = source.socket or stack.enter_context(_started(place / "own", source.keys))
        path = place / "socket"
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(path))
        os.chown(path, look.uid, look.gid)
        os.chmod(path, look.mode)
        listener.listen()
        stack.enter_context(_Forwarder(listener, agent))
        yield path


@contextmanager
def _started(path: Path, keys: tuple[Path, ...]) -> Iterator[Path]:
    for program in ("ssh-agent", "ssh-add"):
        if process.which(program) is None:
            raise Unavailable(
                f"program {program!r} is not installed, and --ssh with a key needs it",
                "install the package openssh-client, or give the socket of an agent",
            )
    # it ends with this thread, kill -9 included: a program that is set-group-ID would forget that, so it must not be
    words = ["setpriv", "--no-new-privs", "--pdeathsig", "KILL", "--", "ssh-agent", "-D", "-a", str(path)]
    with process.start(words, stdout=process.DEVNULL, stderr=process.DEVNULL) as child:
        deadline = time.monotonic() + START_SECONDS
        while not path.exists():
            if child.poll() is not None or time.monotonic() > deadline:
                raise Failed("ssh-agent did not start", command=("ssh-agent",), status=child.poll() or 1)
            time.sleep(POLL_SECONDS)
        process.run(["ssh-add", "-q", *map(str, keys)], env={**os.environ, AGENT_SOCKET: str(path)})
        yield path


class _Forwarder:
    """Accepts connections and forwards each to the agent, in one thread, for the block."""

    def __init__(self, listener: socket.socket, agent: Path) -> None:
        self._listener = listener
        self._agent = agent
        self._selector = selectors.DefaultSelector()
        self._stop, self._wake = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="bennu-agent", daemon=True)

    def __enter__(self) -> None:
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._stop, selectors.EVENT_READ)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._wake.send(b"x")
        self._thread.join()
        self._wake.close()
        self._stop.close()

    def _run(self) -> None:
        with self._selector as selector:
            while True:
                for key, _ in selector.select():
                    if key.fileobj is self._stop:
                        self._close_all()
                        return
                    if key.fileobj is self._listener:
                        self._accept()
                    else:
                        self._pass_on(key)

    def _accept(self) -> None:
        with suppress(OSError):
            near, _ = self._listener.accept()
            far = socket.socket(socket.AF_UNIX)
            for end in (near, far):
                end.settimeout(STUCK_SECONDS)
            try:
                far.connect(str(self._agent))
            except OSError:  # the agent has ended: so does the connection
                near.close()
                far.close()
                return
            self._selector.register(near, selectors.EVENT_READ, far)
            self._selector.register(far, selectors.EVENT_READ, near)

    def _pass_on(self, key: selectors.SelectorKey) -> None:
        source, target = key.fileobj, key.data
        assert isinstance(source, socket.socket)
        if source.fileno() < 0:  # its other end has just ended, in the same round
            return
        try:
            data = source.recv(CHUNK_BYTES)
            if data:
                target.sendall(data)
                return
        except OSError:
            pass
        for end in (source, target):
            self._selector.unregister(end)
            end.close()

    def _close_all(self) -> None:
        for key in list(self._selector.get_map().values()):
            if key.data is not None:
                assert isinstance(key.fileobj, socket.socket)
                key.fileobj.close()
