"""RUN: a process on a snapshot, its output handed on, its changes committed; or nothing left at all.

The sandbox is the runtime's one-shot process: Docker's capabilities and system call filter, a bridge network where
there is one. The environment is what the step says, with HOME from the image's own /etc/passwd. What a killed build
leaves behind in networks is swept by the next one. ``trees`` does COPY and WORKDIR.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from bennu.build.failures import Failures
from bennu.build.graph import SCRIPTS, Run, Vertex
from bennu.build.mounting import Mounter
from bennu.build.secrets import Grants
from bennu.build.surroundings import HOST_GATEWAY
from bennu.build.trees import clamp_times, mounted
from bennu.config import Settings
from bennu.errors import BennuError, Failed
from bennu.host import files, process
from bennu.host.files import read_in_root
from bennu.runtime import capabilities
from bennu.runtime.networks import DEFAULT, Networks
from bennu.runtime.oneshot import Output, Surroundings, run_once
from bennu.runtime.spec import DEFAULT_SHM_BYTES, MountPoint, Process, Rlimit
from bennu.runtime.users import User, resolve_user
from bennu.store.base import ActiveSnapshot, CommittedSnapshot
from bennu.store.snapshots import Snapshots

TAIL_LINES: Final = 20
LABEL_CHARACTERS: Final = 72
CANCELLED: Final = 137
LOOPBACK: Final = "127.0.0.1"
_OWNER: Final = "build-"


class Sandboxed(NamedTuple):
    """A RUN as the runtime takes it: what is executed, and what surrounds it."""

    process: Process
    surroundings: Surroundings


class Runner:
    """Runs RUN steps of one root. ``networks`` None where there is no bridge to be had: the host's network then."""

    def __init__(self, settings: Settings, snapshots: Snapshots, networks: Networks | None) -> None:
        self._settings = settings
        self._snapshots = snapshots
        self._networks = networks
        self._mounter = Mounter(settings, snapshots)
        self._failures = Failures(settings, snapshots)

    def run(
        self,
        vertex: Vertex,
        step: Run,
        parent: CommittedSnapshot | None,
        trees: Mapping[int, CommittedSnapshot],
        *,
        grants: Grants,
        output: Output,
        cancel: threading.Event,
        epoch: int | None,
    ) -> CommittedSnapshot:
        """The tree that the process leaves, with the mounts that it reads from ``trees`` and asks of ``grants``.

        ``Failed`` with its status and last lines if that is not 0; what it had done until then is kept (``failures``).
        """
        active = self._snapshots.prepare(parent)
        try:
            with self.sandboxed(vertex, step, active, trees, grants=grants, output=output, cancel=cancel) as sandboxed:
                self._execute(vertex, active, sandboxed, output, cancel)
            if epoch is not None:
                clamp_times(self._snapshots.directory(active), epoch)
            return self._snapshots.commit(active)
        except Failed as error:
            if cancel.is_set() or not self._keep(active, vertex, trees, grants=grants, error=error):
                self._snapshots.discard(active)
            raise
        except BaseException:
            self._snapshots.discard(active)
            raise

    def _keep(
        self,
        active: ActiveSnapshot,
        vertex: Vertex,
        trees: Mapping[int, CommittedSnapshot],
        *,
        grants: Grants,
        error: Failed,
    ) -> bool:
        try:
            self._failures.keep(active, vertex, trees, grants=grants, status=error.status)
        except (BennuError, OSError):  # no room left, as like as not: the step's own error is what counts
            return False
        error.hint = error.hint or "`bennu shell --failed` opens a shell where it failed"
        return True

    @contextmanager
    def sandboxed(
        self,
        vertex: Vertex,
        step: Run,
        active: ActiveSnapshot,
        trees: Mapping[int, CommittedSnapshot],
        *,
        grants: Grants,
        output: Output,
        cancel: threading.Event,
    ) -> Iterator[Sandboxed]:
        """What a step runs in on ``active``, for the block: its network, mounts and caches are there as long."""
        user = self._user(step, active)
        is_open = step.security == "insecure"
        owner = f"pid {os.getpid()} ({vertex.label})"

        def say(line: str) -> None:
            output("stderr", f"{line}\n".encode())

        with ExitStack() as stack:
            mounts = self._mounter.mounted(step, trees, grants, owner=owner, say=say, cancel=cancel)
            mounted = stack.enter_context(mounts)
            network, gateway = stack.enter_context(self._network(step))
            script = stack.enter_context(self._script(step))
            what = Process(
                args=step.arguments,
                env=_environment(step, user, mounted.environment),
                cwd=step.directory,
                uid=user.uid,
                gid=user.gid,
                additional_gids=tuple(dict.fromkeys((user.gid, *user.additional_gids))),
                capabilities=capabilities.of_mask(process.capability_mask()) if is_open else capabilities.DEFAULT,
                keeps_capabilities=is_open,
                rlimits=tuple(
                    Rlimit(kind=f"RLIMIT_{each.name.upper()}", soft=each.soft, hard=each.hard)
                    for each in step.around.ulimits
                ),
            )
            around = Surroundings(
                network=network,
                hostname="buildkitsandbox",
                mounts=(*script, *mounted.points),
                hosts=tuple(
                    (name, gateway if address == HOST_GATEWAY else address) for name, address in step.around.hosts
                ),
                shm_bytes=step.around.shm_bytes or DEFAULT_SHM_BYTES,
                confined=not is_open,
                is_open=is_open,
            )
            yield Sandboxed(what, around)

    def _execute(
        self,
        vertex: Vertex,
        active: ActiveSnapshot,
        sandboxed: Sandboxed,
        output: Output,
        cancel: threading.Event,
    ) -> None:
        step = vertex.step
        assert isinstance(step, Run)
        tail = _Tail(output)
        try:
            status = run_once(
                self._settings,
                self._snapshots.mounts(active),
                sandboxed.process,
                surroundings=sandboxed.surroundings,
                output=tail.take,
                cancel=cancel,
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
    def _network(self, step: Run) -> Iterator[tuple[str, str]]:
        """The network of a step, and the address at which it reaches this host."""
        if step.network != "default" or self._networks is None:
            yield ("host" if step.network == "default" else step.network, LOOPBACK)
            return
        self._networks.ensure(DEFAULT)
        owner = f"{_OWNER}{os.getpid()}-{process.start_time(os.getpid())}-{os.urandom(4).hex()}"
        try:
            attachment = self._networks.attach(DEFAULT, owner)
            yield str(attachment.netns), attachment.gateway
        finally:
            self._networks.detach(owner)

    def sweep(self) -> None:
        """Detach what builds whose process is dead had attached, and drop failed steps that are kept no more."""
        self._failures.sweep()
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
    span = vertex.span
    label = " ".join(vertex.label.split())
    label = label if len(label) <= LABEL_CHARACTERS else f"{label[: LABEL_CHARACTERS - 1]}…"
    return Failed(
        f"{'' if span is None else f'{span.file}:{span.line}:{span.column}: '}{label} ended with exit status {status}",
        command=step.arguments,
        status=status,
        tail=tail,
        source="" if span is None else span.text,
        line=None if span is None else span.line,
    )


def _environment(step: Run, user: User, secrets: Mapping[str, str]) -> tuple[str, ...]:
    """The step's variables; a secret takes the place of one of its name, wherever that came from."""
    found = dict(item.split("=", 1) for item in step.environment)
    for item in step.proxies:
        name, _, value = item.partition("=")
        found.setdefault(name, value)
    found["HOME"] = found.get("HOME") or user.home  # an empty one is none, as in runc
    return tuple(f"{name}={value}" for name, value in {**found, **secrets}.items())


def _text(root: Path, path: str) -> str:
    return (read_in_root(root, path) or b"").decode("utf-8", "replace")
