"""conmon: one for each container, it holds the stdio, writes the log and the exit status, and outlives bennu.

Owns the command line and the two pipes of its protocol: conmon waits for a byte before it does anything (so that it can
be put into its control group first), and answers with one JSON line: the pid of the container, or why there is none.
Source: conmon(8), and the protocol as Podman and CRI-O use it.
"""

from __future__ import annotations

import os
import re
import selectors
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import msgspec

from bennu.errors import Failed, Unavailable
from bennu.host import process
from bennu.runtime.oci_runtime import OciRuntime

PROGRAM: Final = "conmon"
_RUNC_MESSAGE: Final = re.compile(r'\blevel=\w+ msg="((?:[^"\\]|\\.)*)"')
ANSWER_SECONDS: Final = 60.0
KEPT_VARIABLES: Final = ("PATH", "LANG", "LC_ALL", "TMPDIR", "XDG_RUNTIME_DIR")


@dataclass(frozen=True, slots=True)
class Monitor:
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

    def argv(self) -> list[str]:
        """The command line."""
        words = [
            PROGRAM, "--api-version", "1",
            "--cid", self.id, "--cuuid", self.id, "--name", self.id,
            "--runtime", str(self.runtime.program),
            *_each("--runtime-arg", self.runtime.global_arguments),
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
            words += ["--exec", "--exec-attach", "--exec-process-spec", str(self.exec_spec)]
        return words


def _each(flag: str, values: Sequence[str]) -> list[str]:
    return [word for value in values for word in (flag, value)]


def spawn(monitor: Monitor, place_in_group: Callable[[int], None]) -> int:
    """Start a monitor and, by it, create its container; the pid of the container's first process.

    ``place_in_group`` is called with conmon's pid before that does anything. ``Failed`` with the runtime's own words;
    ``Unavailable`` if conmon is not installed or does not answer.
    """
    with _pipe() as (start_read, start_write), _pipe() as (answer_read, answer_write):
        environment = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
        environment |= {"_OCI_STARTPIPE": str(start_read.fileno()), "_OCI_SYNCPIPE": str(answer_write.fileno())}
        with open(monitor.bundle / "conmon.log", "wb") as errors:
            child = process.spawn(
                monitor.argv(),
                stderr=errors,
                env=environment,
                pass_fds=(start_read.fileno(), answer_write.fileno()),
                cwd=Path("/"),
            )
        try:
            place_in_group(child.pid)
            answer_write.close()
            with suppress(BrokenPipeError):
                start_write.write(b"\0")
            answer = _answer(answer_read.fileno())
        except BaseException:
            child.kill()
            child.wait()
            raise
        child.wait()  # the first process ends once the monitor itself has been forked off
        return _pid(answer, monitor)


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
    with selectors.DefaultSelector() as selector:
        selector.register(fd, selectors.EVENT_READ)
        while b"\n" not in data:
            if not selector.select(max(0.0, deadline - time.monotonic())):
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
    if not message:
        with suppress(OSError):
            message = (monitor.bundle / "conmon.log").read_text(encoding="utf-8", errors="replace")
    lines = tuple(plain_words(line) for line in message.strip().splitlines() if line.strip())
    reason = lines[-1] if lines else "conmon ended without a word"
    raise Failed(f"{monitor.runtime.name}: {reason}", command=(monitor.runtime.name, "create"), tail=lines[:-1])


def plain_words(line: str) -> str:
    """A line of a runtime's stderr without the frame that runc puts around what it says (logfmt)."""
    framed = _RUNC_MESSAGE.search(line)
    return framed[1].replace('\\"', '"') if framed else line
