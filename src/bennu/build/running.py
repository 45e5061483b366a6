"""RUN: a process on a snapshot, its output handed on, its changes committed; or nothing left at all.

The sandbox is the runtime's one-shot process: Docker's capabilities and system call filter, a bridge network where
there is one. The environment is what the step says, with HOME from the image's own /etc/passwd. What a killed build
leaves behind in networks is swept by the next one. ``trees`` does COPY and WORKDIR.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from bennu.build.graph import SCRIPTS, Run, Vertex
from bennu.build.trees import clamp_times, mounted
from bennu.config import Settings
from bennu.errors import BennuError, Failed
from bennu.host import files, process
from bennu.host.files import read_in_root
from bennu.runtime.networks import DEFAULT, Networks
from bennu.runtime.oneshot import Output, Surroundings, run_once
from bennu.runtime.spec import MountPoint, Process
from bennu.runtime.users import User, resolve_user
from bennu.store.base import ActiveSnapshot, CommittedSnapshot
from bennu.store.snapshots import Snapshots

TAIL_LINES: Final = 20
CANCELLED: Final = 137
_OWNER: Final = "build-"


class Runner:
    """Runs RUN steps of one root. ``networks`` None where there is no bridge to be had: the host's network then."""

    def __init__(self, settings: Settings, snapshots: Snapshots, networks: Networks | None) -> None:
        self._settings = settings
        self._snapshots = snapshots
        self._networks = networks

    def run(
        self,
        vertex: Vertex,
        step: Run,
        parent: CommittedSnapshot | None,
        *,
        output: Output,
        cancel: threading.Event,
        epoch: int | None,
    ) -> CommittedSnapshot:
        """The tree that the process leaves; ``Failed`` with its status and last lines if that is not 0."""
        active = self._snapshots.prepare(parent)
        try:
            self._execute(vertex, step, active, output, cancel)
            if epoch is not None:
                clamp_times(self._snapshots.directory(active), epoch)
            return self._snapshots.commit(active)
        except BaseException:
            self._snapshots.discard(active)
            raise

    def _execute(
        self, vertex: Vertex, step: Run, active: ActiveSnapshot, output: Output, cancel: threading.Event
    ) -> None:
        tail = _Tail(output)
        rootfs = self._snapshots.mounts(active)
        user = self._user(step, active)
        what = Process(
            args=step.arguments,
            env=_environment(step, user),
            cwd=step.directory,
            uid=user.uid,
            gid=user.gid,
            additional_gids=tuple(dict.fromkeys((user.gid, *user.additional_gids))),
        )
        with self._network(step) as network, self._script(step) as mounts:
            around = Surroundings(network=network, hostname="buildkitsandbox", mounts=mounts)
            try:
                status = run_once(
                    self._settings,
                    rootfs,
                    what,
                    surroundings=around,
                    output=tail.take,
                    cancel=cancel,
                    input=step.input.encode(),
                )
            except Failed as error:
                reasons = () if any(line and line in error.message for line in tail.lines()) else (error.message,)
                raise failure(vertex, step, error.status, (*tail.lines(), *error.tail, *reasons)) from error
        if cancel.is_set():
            raise Failed("cancelled", status=CANCELLED)
        if status:
            raise failure(vertex, step, status, tail.lines())

    def _user(self, step: Run, active: ActiveSnapshot) -> User:
        with mounted(self._settings, self._snapshots.mounts(active, readonly=True)) as read:
            passwd, group = read(lambda root: (_text(root, "etc/passwd"), _text(root, "etc/group")))
        return resolve_user(step.user, passwd, group)

    @contextmanager
    def _script(self, step: Run) -> Iterator[tuple[MountPoint, ...]]:
        if step.script is None:
            yield ()
            return
        with files.temporary_directory(self._settings.run / "trees", "script") as outer:
            directory = outer / "pipes"  # the outer one is closed to the step's user
            directory.mkdir(mode=0o755)
            path = directory / step.script.name
            path.write_text(step.script.content)
            path.chmod(0o755)
            yield (MountPoint(target=SCRIPTS, source=str(directory), options=("rbind", "ro", "nosuid", "nodev")),)

    @contextmanager
    def _network(self, step: Run) -> Iterator[str]:
        if step.network != "default":
            yield step.network
            return
        if self._networks is None:
            yield "host"
            return
        self._networks.ensure(DEFAULT)
        owner = f"{_OWNER}{os.getpid()}-{process.start_time(os.getpid())}-{os.urandom(4).hex()}"
        try:
            yield str(self._networks.attach(DEFAULT, owner).netns)
        finally:
            self._networks.detach(owner)

    def sweep(self) -> None:
        """Detach what builds whose process is dead had attached."""
        if self._networks is None:
            return
        for owner in self._networks.owners():
            if owner.startswith(_OWNER):
                pid, started = owner.split("-")[1:3]
                if not process.is_alive(int(pid), int(started)):
                    with suppress(BennuError):
                        self._networks.detach(owner)


class _Tail:
    """Hands output on and remembers its last lines."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._data = b""

    def take(self, stream: str, data: bytes) -> None:
        self._data = (self._data + data)[-16384:]
        self._output("stderr" if stream == "stderr" else "stdout", data)

    def lines(self) -> tuple[str, ...]:
        return tuple(self._data.decode(errors="replace").rstrip().splitlines()[-TAIL_LINES:])


def failure(vertex: Vertex, step: Run, status: int, tail: tuple[str, ...]) -> Failed:
    """The error of a RUN that failed: where it stands, what ran, how it ended, its last lines."""
    where = "" if vertex.span is None else f"{vertex.span.file}:{vertex.span.line}:{vertex.span.column}: "
    return Failed(
        f"{where}{vertex.label} ended with exit status {status}", command=step.arguments, status=status, tail=tail
    )


def _environment(step: Run, user: User) -> tuple[str, ...]:
    names = {item.partition("=")[0] for item in step.environment}
    home = () if "HOME" in names else (f"HOME={user.home}",)
    return (*step.environment, *(item for item in step.proxies if item.partition("=")[0] not in names), *home)


def _text(root: Path, path: str) -> str:
    return (read_in_root(root, path) or b"").decode("utf-8", "replace")
