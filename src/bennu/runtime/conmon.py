"""conmon: one for each container, it holds the stdio, writes the log and the exit status, and outlives bennu.

Owns the command line and the pipes of its protocol: conmon waits for a byte before it does anything, and answers with
one JSON line: the pid of the container, or why there is none. It is in its control group before it runs, whoever is
killed meanwhile (``cgroups.separated``).
For an exec that is attached to, it says when its socket is there and waits for a second byte before it runs anything.
Source: conmon(8), and the protocol as Podman and CRI-O use it.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

import msgspec

from bennu.errors import Unavailable
from bennu.host import cgroups, process
from bennu.runtime.oci_runtime import OciRuntime, not_started, reason_in

PROGRAM: Final = "conmon"
ANSWER_SECONDS: Final = 60.0
KEPT_VARIABLES: Final = ("PATH", "LANG", "LC_ALL", "TMPDIR", "XDG_RUNTIME_DIR")


class Monitor(msgspec.Struct, frozen=True, kw_only=True):
    """One conmon to be started. ``bundle`` is where its sockets and fifos come to stand."""

    runtime: OciRuntime
    id: str
    bundle: Path
    log: Path
    pidfile: Path
    conmon_pidfile: Path
    exits: Path
    persist: Path
    terminal: bool = False
    stdin: bool = False
    leave_stdin_open: bool = False
    log_bytes: int | None = None
    exit_command: tuple[str, ...] = ()
    exec_spec: Path | None = None
    exec_attach: bool = False

    @property
    def runtime_log(self) -> Path:
        """Where the runtime says why it failed; on a terminal its standard error leads nowhere."""
        return self.bundle / "runtime.log"

    def argv(self) -> list[str]:
        """The command line."""
        words = [
            PROGRAM, "--api-version", "1",
            "--cid", self.id, "--cuuid", self.id, "--name", self.id,
            "--runtime", str(self.runtime.program),
            *_each("--runtime-arg", self.runtime.global_arguments),
            *_each("--runtime-arg", ("--log", str(self.runtime_log), "--log-format", "json")),
            "--bundle", str(self.bundle),
            "--container-pidfile", str(self.pidfile),
            "--conmon-pidfile", str(self.conmon_pidfile),
            "--exit-dir", str(self.exits),
            "--persist-dir", str(self.persist),
            "--full-attach",
            "--log-path", f"k8s-file:{self.log}",
            "--log-level", "error",
            "--no-sync-log",
        ]  # fmt: skip
        words += ["--terminal"] if self.terminal else []
        words += ["--stdin"] if self.stdin else []
        words += ["--leave-stdin-open"] if self.leave_stdin_open else []
        words += [] if self.log_bytes is None else ["--log-size-max", str(self.log_bytes)]
        if self.exit_command:
            program, *arguments = self.exit_command
            words += ["--exit-command", program, *_each("--exit-command-arg", arguments)]
        if self.exec_spec is not None:
            words += ["--exec", "--exec-process-spec", str(self.exec_spec)]
            words += ["--exec-attach"] if self.exec_attach else []
        return words


def _each(flag: str, values: Sequence[str]) -> list[str]:
    return [word for value in values for word in (flag, value)]


def spawn(monitor: Monitor, group: str, attach: Callable[[], None] | None = None) -> int:
    """Start a monitor and, by it, create its container or run its exec; the pid of the first process.

    ``group`` is the control group to hold it; ``attach`` (of an exec) is called when its socket is there. ``Failed``
    with the runtime's own words; ``Unavailable`` if conmon is missing or does not answer.
    """
    if process.which(PROGRAM) is None:
        raise process.missing((PROGRAM,))
    with (
        _pipe() as (gate, open_gate),
        _pipe() as (begin, go),
        _pipe() as (answers, answer),
        _pipe() as (readiness, ready),
    ):
        environment = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
        environment |= {"_OCI_STARTPIPE": str(begin.fileno()), "_OCI_SYNCPIPE": str(answer.fileno())}
        if attach is not None:
            environment["_OCI_ATTACHPIPE"] = str(ready.fileno())
        with open(monitor.bundle / "conmon.log", "wb") as errors:
            child = process.launch(
                cgroups.separated(group, monitor.argv()),
                stdin=gate.fileno(),
                stderr=errors.fileno(),
                env=environment,
                pass_fds=(begin.fileno(), answer.fileno(), ready.fileno()),
            )
        try:
            for end in (gate, begin, answer, ready):
                end.close()
            with suppress(BrokenPipeError):
                open_gate.write(b"go\n")
                go.write(b"\0")
                if attach is not None and _answer(readiness.fileno()):
                    attach()
                    go.write(b"\0")
            said = _answer(answers.fileno())
        except BaseException:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            raise
        finally:
            os.waitpid(child, 0)  # it ends once the monitor itself has been forked off
        return _pid(said, monitor)


@contextmanager
def _pipe() -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """A pipe as two files, each of which may be closed before the block ends."""
    read, write = os.pipe()
    with open(read, "rb", buffering=0) as reader, open(write, "wb", buffering=0) as writer:
        yield reader, writer


def _answer(fd: int) -> bytes:
    """One line, or what came until conmon closed its end."""
    data = b""
    deadline = time.monotonic() + ANSWER_SECONDS
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while b"\n" not in data:
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise Unavailable(f"conmon gave no answer within {ANSWER_SECONDS:g} s")
        chunk = os.read(fd, 1 << 16)
        if not chunk:
            break
        data += chunk
    return data


def _pid(answer: bytes, monitor: Monitor) -> int:
    message = ""
    with suppress(msgspec.DecodeError, KeyError, TypeError, ValueError):
        document = msgspec.json.decode(answer)
        if document["data"] >= 0:
            return int(document["data"])
        message = str(document.get("message", ""))
    lines = tuple(line for line in message.strip().splitlines() if line.strip())
    reason = reason_in(monitor.runtime_log) or (lines[-1] if lines else "conmon ended without a word")
    raise not_started(monitor.runtime.name, reason)
