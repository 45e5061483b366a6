"""The OCI runtime: crun, or runc where crun does not work, and how each is called.

Which one is decided by trying: the first that runs a process on this host wins, and the answer is kept in the run
directory until the program changes or the host reboots. ``BENNU_RUNTIME`` (``Settings.oci_runtime``) overrides.
crun 1.8 refuses a hybrid cgroup host as long as it can see the version 2 hierarchy, so every call goes through
``isolated``, a private mount namespace in which that one is not there (``host.namespaces``).
"""

from __future__ import annotations

import errno
import os
import select
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from bennu.config import Settings
from bennu.errors import BennuError, Failed, Unavailable
from bennu.host import cgroups, locks, process
from bennu.host.files import write_atomic
from bennu.host.mounts import READONLY, Bind, Tmpfs, attach
from bennu.host.namespaces import in_private_mounts
from bennu.runtime.bundles import temporary_bundle
from bennu.runtime.spec import Host, Process, Sandbox, oci_spec

T = TypeVar("T")
CANDIDATES: Final = ("crun", "runc")
PROBE_SECONDS: Final = 20.0
LET_GO_SECONDS: Final = 2.0
_COVER_BYTES: Final = 1 << 20


class OciRuntime(msgspec.Struct, frozen=True):
    """A runtime that works here. ``root`` is where it keeps its own state; it is not there after a reboot."""

    program: Path
    root: Path
    lets_go: bool = False
    """A container that it created is started by a byte in its ``exec.fifo``, as the probe has seen."""

    @property
    def name(self) -> str:
        """``crun`` or ``runc``, as far as the program's name says so."""
        return self.program.name

    @property
    def is_crun(self) -> bool:
        """Whether it has crun's habits."""
        return self.name.startswith("crun")

    @property
    def hidden(self) -> tuple[Path, ...]:
        """Mounts that it must not see."""
        unified = cgroups.unified_beside_v1() if self.is_crun else None
        return () if unified is None else (unified,)

    @property
    def global_arguments(self) -> tuple[str, ...]:
        """What stands between the program and the verb."""
        return ("--root", str(self.root))

    def argv(self, *words: str) -> tuple[str, ...]:
        """The whole command line of a call."""
        return (str(self.program), *self.global_arguments, *words)

    def isolated(self, function: Callable[[], T]) -> T:
        """Call ``function``, which starts this runtime, in a mount namespace that suits it.

        An empty file system stands where a hierarchy is hidden, since crun makes the container's group there all the
        same: it goes with the namespace, and does not pile up under the host's mount.
        """

        def covered() -> T:
            for path in self.hidden:
                attach(Tmpfs(size_bytes=_COVER_BYTES), path)
            return function()

        return in_private_mounts(covered, hide=self.hidden)

    def start(self, container_id: str) -> None:
        """Start a container that was created, in a mount namespace that suits the runtime. ``Failed``.

        crun's own ``start`` does nothing but read its state and write that byte; it takes a process to do it.
        """
        if not (self.lets_go and _let_go(self.root / container_id / "exec.fifo")):
            process.run(self.argv("start", container_id))

    def call(self, *words: str, check: bool = True, timeout_seconds: float | None = 60.0) -> process.Completed:
        """Run a verb to its end. ``Failed`` with the runtime's own last lines."""

        def run() -> process.Completed:
            return process.run(self.argv(*words), check=check, timeout_seconds=timeout_seconds)

        return self.isolated(run) if self.hidden else run()


def find(settings: Settings) -> OciRuntime:
    """The runtime to use. ``Unavailable`` with each candidate's reason where none works."""
    names = (settings.oci_runtime,) if settings.oci_runtime else CANDIDATES
    programs = [found for name in names if (found := process.which(name)) is not None]
    kept = settings.run / "oci-runtime.json"
    fingerprint = [_identity(program) for program in programs]
    try:
        remembered = msgspec.json.decode(kept.read_bytes())
        if remembered["candidates"] == fingerprint:
            program = Path(remembered["program"])
            return OciRuntime(program, state_root(settings, program.name), remembered["lets_go"])
    except (FileNotFoundError, msgspec.DecodeError, KeyError, TypeError):
        pass
    with locks.held(settings.run / "oci-runtime.lock", subject="the choice of an OCI runtime"):
        return _choose(settings, names, programs, kept, fingerprint)


def _choose(
    settings: Settings, names: tuple[str, ...], programs: list[Path], kept: Path, fingerprint: list[list[object]]
) -> OciRuntime:
    reasons: list[str] = [f"{name}: not installed" for name in names if process.which(name) is None]
    for program in programs:
        runtime = OciRuntime(program, state_root(settings, program.name))
        reason = probe(settings, runtime)
        if reason is None:
            quicker = OciRuntime(program, runtime.root, lets_go=True)
            chosen = quicker if runtime.is_crun and probe(settings, quicker) is None else runtime
            answer = {"candidates": fingerprint, "program": str(program), "lets_go": chosen.lets_go}
            write_atomic(kept, msgspec.json.encode(answer), durable=False)
            return chosen
        reasons.append(f"{program.name}: {reason}")
    raise Unavailable(f"no OCI runtime works here: {'; '.join(reasons)}", "run `bennu doctor`; it names the package")


def reason_in(log: Path) -> str | None:
    """The last error in a runtime's own log (``--log-format json``), None if there is none."""
    try:
        lines = log.read_bytes().splitlines()
    except FileNotFoundError:
        return None
    for line in reversed(lines):
        with suppress(msgspec.DecodeError, KeyError, TypeError):
            entry = msgspec.json.decode(line)
            if entry["level"] in {"error", "fatal"}:
                return str(entry["msg"])
    return None


def not_started(name: str, reason: str) -> Failed:
    """The error for a process that a runtime could not start; its status as in Docker: 127, 126 or 125."""
    return Failed(f"{name}: {reason}", command=(name,), status=status_of_reason(reason))


def status_of_reason(reason: str) -> int:
    """Docker's exit status for a process that could not be started: 127 missing, 126 not executable, else 125."""
    text = reason.lower()
    if "exec" not in text:
        return 125
    if "not found" in text or "no such file or directory" in text:
        return 127
    refusals = ("permission denied", "operation not permitted", "is a directory", "exec format error")
    return 126 if any(refusal in text for refusal in refusals) else 125


def state_root(settings: Settings, name: str) -> Path:
    """Where a runtime of a name keeps the state of its containers, one directory each."""
    return settings.run / "oci" / name


def _identity(program: Path) -> list[object]:
    stat = program.stat()
    return [str(program), stat.st_size, stat.st_mtime_ns]


def probe(settings: Settings, runtime: OciRuntime) -> str | None:
    """Why this runtime cannot run a process here, or None if it can: ``true`` in a read-only view of the host."""
    with temporary_bundle(settings) as (name, bundle):
        spec = oci_spec(
            Process(args=("/bin/true",), no_new_privileges=True), Sandbox(cgroup=name, readonly=True), facts()
        )
        (bundle / "config.json").write_bytes(msgspec.json.encode(spec))

        def run() -> None:
            attach(Bind(Path("/"), access=READONLY), bundle / "rootfs")
            if not runtime.lets_go:
                process.run(runtime.argv("run", "--bundle", str(bundle), name), timeout_seconds=PROBE_SECONDS)
                return
            # the created process keeps its standard streams, so that a pipe to it would have no end yet
            pidfile = bundle / "pid"
            process.spawn(runtime.argv("create", "--pid-file", str(pidfile), "--bundle", str(bundle), name)).wait()
            runtime.start(name)
            _await_end(int(pidfile.read_text(encoding="ascii")))

        try:
            runtime.isolated(run)
        except (BennuError, OSError, ValueError) as error:
            return str(error)
    return None


def _let_go(fifo: Path) -> bool:
    """Write the byte that a created container waits for; False if nobody waits there as expected."""
    deadline = time.monotonic() + LET_GO_SECONDS
    while time.monotonic() < deadline:
        try:
            fd = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            time.sleep(0.0005)  # its process is about to open the other end
            continue
        try:
            os.unlink(fifo)
            os.write(fd, b"\0")
        finally:
            os.close(fd)
        return True
    return False


def _await_end(pid: int) -> None:
    """Wait for the end of a probe's process, which must come by itself."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if not select.select([fd], [], [], LET_GO_SECONDS)[0]:
            raise Unavailable("its process does not start by the byte in exec.fifo")
    finally:
        os.close(fd)


def facts() -> Host:
    """What specifications depend on, of this host."""
    system = os.uname()
    return Host(
        machine=system.machine,
        kernel=system.release,
        cgroup_version=cgroups.version(),
        cgroup_parent=cgroups.parent(),
        has_swap_limit=cgroups.has_swap_limit(),
    )
