"""Processes: every program that bennu runs is started here, from a list of arguments, never through a shell.

``run`` waits and gives the output; ``start`` hands back a running process inside a context that ends it. A missing
program is ``Unavailable`` with the command that helps; a failed one is ``Failed`` with its last lines.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

import msgspec

from bennu.errors import BennuError, Failed, NotFound, Unavailable

if TYPE_CHECKING:
    import subprocess

PIPE: Final = -1
DEVNULL: Final = -3
"""As in ``subprocess``, which is imported by what uses it: a container starts without."""
SYSTEM_DIRECTORIES: Final = "/usr/local/sbin:/usr/sbin:/sbin"
TAIL_LINES: Final = 10
END_SECONDS: Final = 5.0
Argv = Sequence[str | os.PathLike[str]]


class Completed(msgspec.Struct, frozen=True):
    """A process that has ended: its exit status (128+n for signal n) and what it wrote."""

    status: int
    stdout: bytes
    stderr: bytes


def exit_status(returncode: int) -> int:
    """Python's return code as a shell would give it: 128+n where signal n ended the process."""
    return 128 - returncode if returncode < 0 else returncode


def run(
    argv: Argv,
    *,
    input: bytes | None = None,  # noqa: A002 - subprocess's own word for it
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout_seconds: float | None = None,
    check: bool = True,
    pass_fds: tuple[int, ...] = (),
) -> Completed:
    """Run a program to its end. ``Failed`` on a status other than 0 (unless ``check`` is off) or when time is up."""
    import subprocess

    try:
        done = subprocess.run(
            [os.fspath(word) for word in argv],
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            env=env,
            cwd=cwd,
            timeout=timeout_seconds,
            check=False,
            pass_fds=pass_fds,
        )
    except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
        raise _not_started(argv, cwd, error) from error
    except subprocess.TimeoutExpired as error:
        words = tuple(os.fspath(word) for word in argv)
        tail = _tail(error.stderr or b"")
        raise Failed(f"{words[0]}: no end after {timeout_seconds:g} s", command=words, status=124, tail=tail) from error
    completed = Completed(exit_status(done.returncode), done.stdout, done.stderr)
    if check and completed.status:
        raise failure(argv, completed)
    return completed


def failure(argv: Argv, completed: Completed) -> Failed:
    """The error that a failed process is: named by its last line, with its last lines as the tail."""
    words = tuple(os.fspath(word) for word in argv)
    tail = _tail(completed.stderr) or _tail(completed.stdout)
    reason = tail[-1] if tail else f"exit status {completed.status}"
    name = os.path.basename(words[0])
    return Failed(f"{name}: {reason}", command=words, status=completed.status, tail=tail)


def _not_started(argv: Argv, cwd: Path | None, error: OSError) -> BennuError:
    if cwd is not None and error.filename is not None and os.fspath(error.filename) == os.fspath(cwd):
        return NotFound(f"directory {error.filename!r} cannot be worked in: {error.strerror}")
    if isinstance(error, FileNotFoundError):
        return missing(argv)
    name = os.path.basename(os.fspath(argv[0]))
    return Unavailable(f"program {name!r} cannot be started: {error.strerror}")


def missing(argv: Argv) -> Unavailable:
    """The error for a program that is not there."""
    name = os.path.basename(os.fspath(argv[0]))
    return Unavailable(f"program {name!r} is not installed", "run `bennu doctor`; it names the package")


def _tail(output: bytes) -> tuple[str, ...]:
    return tuple(output.decode(errors="replace").rstrip().splitlines()[-TAIL_LINES:])


@contextmanager
def start(
    argv: Argv,
    *,
    stdin: int | IO[bytes] | None = DEVNULL,
    stdout: int | IO[bytes] | None = PIPE,
    stderr: int | IO[bytes] | None = PIPE,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    pass_fds: tuple[int, ...] = (),
    new_session: bool = False,
) -> Iterator[subprocess.Popen[bytes]]:
    """A running process; it is ended (SIGTERM, then SIGKILL) and reaped when the block is left."""
    from subprocess import TimeoutExpired

    child = spawn(
        argv, stdin=stdin, stdout=stdout, stderr=stderr, env=env, cwd=cwd, pass_fds=pass_fds, new_session=new_session
    )
    try:
        yield child
    finally:
        if child.poll() is None:
            child.terminate()
            with suppress(TimeoutExpired):
                child.wait(END_SECONDS)
        if child.poll() is None:
            child.kill()
        child.wait()
        for stream in (child.stdin, child.stdout, child.stderr):
            if stream is not None:
                stream.close()


def spawn(
    argv: Argv,
    *,
    stdin: int | IO[bytes] | None = DEVNULL,
    stdout: int | IO[bytes] | None = DEVNULL,
    stderr: int | IO[bytes] | None = DEVNULL,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    pass_fds: tuple[int, ...] = (),
    new_session: bool = True,
) -> subprocess.Popen[bytes]:
    """Start a process that may outlive the caller (a session of its own unless said otherwise)."""
    import subprocess

    try:
        return subprocess.Popen(
            [os.fspath(word) for word in argv],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=env,
            cwd=cwd,
            pass_fds=pass_fds,
            start_new_session=new_session,
        )
    except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
        raise _not_started(argv, cwd, error) from error


def launch(argv: Sequence[str], *, stdin: int, stderr: int, env: Mapping[str, str], pass_fds: tuple[int, ...]) -> int:
    """The pid of a process in a session of its own, which the caller waits for; output goes nowhere.

    The short way, without ``subprocess``: ``argv[0]`` is the program's path. Descriptors in ``pass_fds`` keep their
    numbers; to copy one onto itself is how posix_spawn is told to pass it on.
    """
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        actions = [(os.POSIX_SPAWN_DUP2, stdin, 0), (os.POSIX_SPAWN_DUP2, null, 1), (os.POSIX_SPAWN_DUP2, stderr, 2)]
        actions += [(os.POSIX_SPAWN_DUP2, fd, fd) for fd in pass_fds]
        # Python ignores SIGPIPE, and what is ignored stays so in what is executed
        defaults = (signal.SIGPIPE, signal.SIGXFSZ)
        return os.posix_spawn(argv[0], list(argv), env, file_actions=actions, setsid=True, setsigdef=defaults)
    finally:
        os.close(null)


def which(name: str, directories: str | None = None) -> Path | None:
    """Where a program is: on ``PATH`` and in the system's directories, or in ``directories`` (joined by colons)."""
    if "/" in name:
        return Path(name) if os.access(name, os.X_OK) else None
    for directory in (directories or f"{os.environ.get('PATH', os.defpath)}:{SYSTEM_DIRECTORIES}").split(":"):
        path = os.path.join(directory or ".", name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return Path(path)
    return None


def start_time(pid: int) -> int | None:
    """When a process was started, in clock ticks since the boot: with the pid, its identity. None if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            fields = stat.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in {b"Z", b"X"} else int(fields[19])


def command_line(pid: int) -> tuple[str, ...]:
    """The words that a process shows as its command; empty where it is gone or a thread of the kernel."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read().rstrip(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return ()
    return tuple(word.decode(errors="replace") for word in words.split(b"\0")) if words else ()


def is_alive(pid: int, started: int | None = None) -> bool:
    """Whether a process runs, and is the one that was started at ``started`` (no reused pid)."""
    now = start_time(pid)
    return now is not None and (started is None or now == started)


def capability_mask() -> int:
    """The capabilities that this process may use, as the kernel's bit set."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:
        return next(int(line.split()[1], 16) for line in status if line.startswith("CapPrm:"))


def boot_id() -> str:
    """The identity of this boot of the kernel: what was written in another boot went through the disk."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def socket_inodes(pid: int) -> frozenset[int]:
    """The inodes of the sockets that a process has open; empty where it is gone."""
    found = set()
    with suppress(FileNotFoundError, ProcessLookupError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with suppress(FileNotFoundError):
                target = os.readlink(f"/proc/{pid}/fd/{name}")
                if target.startswith("socket:["):
                    found.add(int(target[8:-1]))
    return frozenset(found)
