"""Another process in a running container: ``bennu exec``, health checks, hooks.

``Exec`` says what to run; ``prepare`` resolves it against the container as Docker does (its environment, user and
capabilities, its working directory) and writes a process document. Without a terminal the runtime runs it directly, on
descriptors or with the output collected; with one, or detached, a conmon of its own holds it, so that it can be
detached from. Exit statuses are Docker's: 126 not executable, 127 no such program, 128+n for signal n.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from bennu.errors import Conflict, Failed, Invalid
from bennu.host import cgroups, process
from bennu.host.files import read_in_root, remove_tree
from bennu.runtime import capabilities, conmon, oci_runtime, resolve, users
from bennu.runtime.attach import Relay, connect
from bennu.runtime.containers import Containers
from bennu.runtime.foreground import Stdio, surroundings
from bennu.runtime.places import Place
from bennu.runtime.records import Record
from bennu.runtime.spec import Process, oci_process
from bennu.runtime.status import EXIT_FILE_SECONDS, LOST_STATUS, Status

TIMED_OUT: Final = 124
PROBE: Final = "probe"
"""What the directory of an exec that bennu itself asks for (``collect``) begins with: it is nobody's intrusion."""


class Exec(msgspec.Struct, frozen=True, kw_only=True):
    """What to run in a container. ``env`` items as in ``ContainerOptions``; None leaves a field as the container's."""

    command: tuple[str, ...]
    env: tuple[str, ...] = ()
    working_dir: str | None = None
    user: str | None = None
    terminal: bool = False
    interactive: bool = False
    privileged: bool = False


class Collected(msgspec.Struct, frozen=True):
    """What a process said and its exit status; output is both streams as they came, cut to ``limit_bytes``."""

    status: int
    output: bytes


@contextmanager
def _prepared(
    containers: Containers, record: Record, wanted: Exec, *, keep: bool = False, prefix: str = "exec"
) -> Iterator[tuple[Place, Path]]:
    """A directory with ``process.json`` for one exec. ``Conflict`` where the container does not run.

    It is gone afterwards, unless it was to be kept for a monitor that may outlive this process: then the next exec
    removes it once that has ended, or it goes with the container.
    """
    status = containers.status(record)
    if status.state != "running":
        raise Conflict(f"container {record.name!r} is {status.state}, not running", f"`bennu start {record.name}`")
    place = containers.place(record)
    _sweep(place)
    directory = place.bundle / f"{prefix}-{os.urandom(8).hex()}"
    directory.mkdir(mode=0o700)
    try:
        document = oci_process(_process(record, wanted, status))
        (directory / "process.json").write_bytes(msgspec.json.encode(document))
        yield place, directory
    except BaseException:
        remove_tree(directory)
        raise
    if not keep:
        remove_tree(directory)


def _sweep(place: Place) -> None:
    """Remove the directories of execs that have ended unattended: conmon has left an exit file there a while ago."""
    for directory in place.bundle.glob("exec-*"):
        with suppress(FileNotFoundError):
            if time.time() - (directory / "exit").stat().st_mtime > EXIT_FILE_SECONDS:
                remove_tree(directory)


def _process(record: Record, wanted: Exec, status: Status) -> Process:
    if not wanted.command or not wanted.command[0]:
        raise Invalid("exec needs a command")
    options = msgspec.structs.replace(
        record.options,
        terminal=wanted.terminal,
        env=(*record.options.env, *wanted.env),
        working_dir=wanted.working_dir or record.options.working_dir,
        command=wanted.command,
        entrypoint=(),
        init=False,
        oom_score_adj=0,
    )
    spec = wanted.user
    if spec is None:
        spec = record.config.user if record.options.user is None else record.options.user
    root = Path(f"/proc/{status.pid}/root")
    passwd, group = ((read_in_root(root, path) or b"").decode(errors="replace") for path in _ACCOUNTS)
    user = users.resolve_user(spec, passwd, group)
    found = resolve.process_of(record.config, options, user, record.hostname)
    if not wanted.privileged:
        return found
    return msgspec.structs.replace(found, capabilities=capabilities.ALL, no_new_privileges=False)


_ACCOUNTS: Final = ("/etc/passwd", "/etc/group")


def run_on(containers: Containers, record: Record, wanted: Exec, *, stdin: int | None, stdout: int, stderr: int) -> int:
    """Run it on descriptors, without a terminal, to its end; its exit status."""
    runtime = oci_runtime.find(containers.settings)
    with _prepared(containers, record, wanted) as (_, directory):
        argv = _argv(runtime, record, directory)

        def call() -> int:
            source = subprocess.DEVNULL if stdin is None else stdin
            with process.start(argv, stdin=source, stdout=stdout, stderr=stderr) as child:
                return process.exit_status(child.wait())

        status = runtime.isolated(call)
        return _told(directory, status, runtime)


def collect(
    containers: Containers, record: Record, wanted: Exec, *, timeout_seconds: float | None, limit_bytes: int = 4096
) -> Collected:
    """Run it and keep the end of its output. Status 124 when the time is up: then it and its children are killed."""
    runtime = oci_runtime.find(containers.settings)
    with _prepared(containers, record, wanted, prefix=PROBE) as (_, directory):
        argv = [*_argv(runtime, record, directory)]
        argv[-1:-1] = ["--pid-file", str(directory / "pid")]

        def call() -> process.Completed:
            return process.run(argv, check=False, timeout_seconds=timeout_seconds)

        try:
            done = runtime.isolated(call)
        except Failed as error:
            if error.status != TIMED_OUT:
                raise
            _end(directory / "pid", containers.place(record))
            return Collected(TIMED_OUT, "\n".join(error.tail).encode())
        return Collected(done.status, (done.stdout + done.stderr)[-limit_bytes:])


def _argv(runtime: oci_runtime.OciRuntime, record: Record, directory: Path) -> tuple[str, ...]:
    program, *rest = runtime.argv("exec", "--process", str(directory / "process.json"), record.id)
    return (program, "--log", str(directory / "runtime.log"), "--log-format", "json", *rest)


def _told(directory: Path, status: int, runtime: oci_runtime.OciRuntime) -> int:
    """The status, or the runtime's own error as ``Failed`` where the process did not start."""
    reason = oci_runtime.reason_in(directory / "runtime.log") if status else None
    if reason is None:
        return status
    raise oci_runtime.not_started(runtime.name, reason)


def _end(pidfile: Path, place: Place) -> None:
    """Kill a process that is still in the container, by the pid that the runtime wrote, and what it started."""
    with suppress(OSError, ValueError):
        pid = int(pidfile.read_text(encoding="ascii"))
        inside = cgroups.processes(place.cgroup)
        for each in (pid, *_descendants(pid)):
            if each in inside:
                with suppress(ProcessLookupError):
                    os.kill(each, signal.SIGKILL)


def _descendants(pid: int) -> Iterator[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except OSError:
        return
    for child in map(int, children):
        yield child
        yield from _descendants(child)


def detach(containers: Containers, record: Record, wanted: Exec) -> None:
    """Run it in the background; nobody hears of its end."""
    with _prepared(containers, record, wanted, keep=True) as (place, directory):
        runtime = oci_runtime.find(containers.settings)
        monitor = _monitor(runtime, record, directory, wanted)
        runtime.isolated(lambda: conmon.spawn(monitor, place.conmon_cgroup))


def attach(containers: Containers, record: Record, wanted: Exec, stdio: Stdio) -> int | None:
    """Run it on a terminal of its own, under a conmon; its exit status, or None if it was detached from."""
    with _prepared(containers, record, wanted, keep=True) as (place, directory), ExitStack() as stack:
        runtime = oci_runtime.find(containers.settings)
        monitor = msgspec.structs.replace(_monitor(runtime, record, directory, wanted), exec_attach=True)
        connections: list[socket.socket] = []

        def connected() -> None:
            connections.append(stack.enter_context(connect(directory / "attach")))

        runtime.isolated(lambda: conmon.spawn(monitor, place.conmon_cgroup, connected))
        (connection,) = connections
        with surroundings(stdio, has_terminal=wanted.terminal) as signals:
            relay = Relay(
                connection,
                stdio.stdout,
                stdio.stderr,
                stdin=stdio.stdin if wanted.interactive else None,
                signals=signals,
                control_fifo=directory / "ctl" if wanted.terminal else None,
                keys=stdio.keys if wanted.interactive else b"",
            )
            relay.pass_size()
            ended = relay.run()
        status = _exit_status(directory) if ended else None
        if ended:
            remove_tree(directory)
        return status


def _exit_status(directory: Path) -> int:
    """What conmon writes as its last deed. 255 if it was killed before."""
    deadline = time.monotonic() + EXIT_FILE_SECONDS
    while time.monotonic() < deadline:
        with suppress(FileNotFoundError, ValueError):
            return int((directory / "exit").read_text(encoding="ascii"))
        time.sleep(0.002)
    return LOST_STATUS


def _monitor(runtime: oci_runtime.OciRuntime, record: Record, directory: Path, wanted: Exec) -> conmon.Monitor:
    exits = directory / "exits"
    exits.mkdir()
    return conmon.Monitor(
        runtime=runtime,
        id=record.id,
        bundle=directory,
        log=directory / "log",
        pidfile=directory / "pid",
        conmon_pidfile=directory / "conmon.pid",
        exits=exits,
        persist=directory,
        terminal=wanted.terminal,
        stdin=wanted.interactive,
        exec_spec=directory / "process.json",
    )
