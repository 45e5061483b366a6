"""A process in a sandbox that nobody needs to find again: a RUN step, a hook.

The runtime is called directly, with pipes; there is no conmon and no record. The root file system is mounted in the
private mount namespace of the call and is gone with it. crun runs as the first process of a pid namespace of its own
and is killed by the kernel when the calling thread dies, so that everything ends with bennu, kill -9 included; runc
cannot run that way (its parent's and its own view of pids differ), so there the next call sweeps what was left.
Mount targets that the step did not fill are taken away again (``stubs``), except /dev, /proc and /sys: Docker's
builder leaves them in a tree that had none.
"""

from __future__ import annotations

import os
import selectors
import stat
import subprocess
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Any, Final, Literal

import msgspec

from bennu.config import Settings
from bennu.host import cgroups, files, process, syscalls
from bennu.host.mounts import Mount, Tmpfs, attach
from bennu.runtime import etc_files, oci_runtime, private_mounts, seccomp
from bennu.runtime.bundles import temporary_bundle
from bennu.runtime.console import attend, listening
from bennu.runtime.oci_runtime import OciRuntime
from bennu.runtime.private_mounts import Point
from bennu.runtime.spec import DEFAULT_SHM_BYTES, Limits, MountPoint, Process, Sandbox, oci_spec
from bennu.runtime.stubs import stubs

Stream = Literal["stdout", "stderr"]
Output = Callable[[Stream, bytes], None]

CANCEL_POLL_SECONDS: Final = 0.05
CHUNK_BYTES: Final = 1 << 16
CANCELLED: Final = 137
_KERNEL: Final = frozenset({"/dev", "/proc", "/sys"})
_CLONE_NEWPID: Final = 0x20000000


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What a one-shot process finds around it. ``network`` as in ``spec.Sandbox``: ``none``, ``host`` or a path.

    ``hosts`` are pairs of name and address, for /etc/hosts. Of two mounts on one target the later counts. A tmpfs
    without a mode has that of the directory it covers. ``is_open`` as in ``spec.Sandbox``.
    """

    network: str = "host"
    mounts: tuple[Point, ...] = ()
    limits: Limits = Limits()
    hostname: str = "bennu"
    hosts: tuple[tuple[str, str], ...] = ()
    shm_bytes: int = DEFAULT_SHM_BYTES
    confined: bool = True
    readonly: bool = False
    is_open: bool = False


def run_once(
    settings: Settings,
    rootfs: Mount,
    what: Process,
    *,
    surroundings: Surroundings | None = None,
    output: Output,
    cancel: threading.Event | None = None,
    input: bytes = b"",  # noqa: A002 - as in host.process.run
) -> int:
    """Run a process on ``rootfs`` to its end; its exit status (128+n for signal n, 137 when cancelled).

    ``output`` gets bytes as they come, from another thread; what it raises ends the process and is raised here.
    A process with a terminal gets this one's standard streams, which have to be one; ``output`` and ``input`` are not
    used then. ``Failed`` if the process could not be started: status 127 where the program is missing, 126 where it
    cannot be executed, 125 otherwise. ``NotFound`` where a mount's source is missing.
    """
    runtime = oci_runtime.find(settings)
    around = surroundings or Surroundings()
    with temporary_bundle(settings) as (name, bundle):
        names = etc_files.write_for_step(bundle, hostname=around.hostname, network=around.network, extra=around.hosts)
        points = {point.target: point for point in (*names, *around.mounts)}
        host = oci_runtime.facts()
        sandbox = Sandbox(
            cgroup=name,
            network=around.network,
            rootfs=str(bundle / "rootfs"),
            readonly=around.readonly,
            hostname="" if around.network == "host" and not around.hostname else around.hostname,
            limits=around.limits,
            shm_bytes=around.shm_bytes,
            seccomp=seccomp.load(settings.run, what.capabilities, host.machine, host.kernel)
            if around.confined
            else None,
            is_open=around.is_open,
        )
        call = _Call(
            runtime,
            name,
            bundle,
            rootfs,
            what,
            tuple(points.values()),
            lambda mounts: oci_spec(what, msgspec.structs.replace(sandbox, mounts=mounts), host),
            output,
            cancel or threading.Event(),
            input,
            what.terminal,
        )
        return runtime.isolated(call.run)


class _Call(msgspec.Struct, frozen=True):
    """One call of the runtime; ``run`` is executed in the private mount namespace."""

    runtime: OciRuntime
    name: str
    bundle: Path
    rootfs: Mount
    process: Process
    points: tuple[Point, ...]
    document: Callable[[tuple[MountPoint, ...]], dict[str, Any]]
    output: Output
    cancel: threading.Event
    input: bytes
    has_terminal: bool

    def run(self) -> int:
        root = self.bundle / "rootfs"
        attach(self.rootfs, root)
        place = self.bundle / "mounts"
        place.mkdir()
        mounts = tuple(_like_target(root, point) for point in private_mounts.attached(place, self.points))
        document = self.document(mounts)
        self._seal()
        (self._sealed / "config.json").write_bytes(msgspec.json.encode(document))
        kept = _KERNEL - {mount.target for mount in mounts}
        with stubs(root, _targets(document["mounts"]), kept=kept):
            _ensure_directory(root, self.process)
            status = self._run()
        if status and not self.cancel.is_set() and (reason := oci_runtime.reason_in(self.bundle / "log")):
            raise oci_runtime.not_started(self.runtime.name, reason)
        return status

    @property
    def _sealed(self) -> Path:
        return self.bundle / "sealed"

    def _seal(self) -> None:
        """Keep off the disk what the environment is written into: the bundle, and the runtime's copy in its state."""
        self.runtime.root.mkdir(parents=True, exist_ok=True)
        self._sealed.mkdir()
        for place in (self._sealed, self.runtime.root):
            attach(Tmpfs(mode=0o700), place)

    def _run(self) -> int:
        log = ("--log", str(self.bundle / "log"), "--log-format", "json")
        place = self.bundle / "console"
        console = ("--console-socket", str(place)) if self.has_terminal else ()
        program, *rest = self.runtime.argv("run", "--bundle", str(self._sealed), *console, self.name)
        argv = [program, *log, *rest]
        if self.runtime.is_crun:
            _enter_pid_namespace()
            argv = ["setpriv", "--pdeathsig", "KILL", "--", *argv]
        with ExitStack() as stack:
            listener = stack.enter_context(listening(place)) if self.has_terminal else None
            child = stack.enter_context(process.start(argv, stdin=subprocess.PIPE))
            try:
                if listener is not None:
                    attend(listener, lambda: self._has_ended(child))
                self._relay(child)  # of a process with a terminal only what the runtime itself says
                return CANCELLED if self.cancel.is_set() else process.exit_status(child.wait())
            except BaseException:
                self._kill(child)
                raise

    def _has_ended(self, child: subprocess.Popen[bytes]) -> bool:
        if self.cancel.is_set():
            self._kill(child)
        return child.poll() is not None

    def _relay(self, child: subprocess.Popen[bytes]) -> None:
        """Hand over output until both pipes end; kill when cancelled."""
        assert child.stdout is not None
        assert child.stderr is not None
        pending = memoryview(self.input)
        with selectors.DefaultSelector() as selector:
            selector.register(child.stdout, selectors.EVENT_READ, "stdout")
            selector.register(child.stderr, selectors.EVENT_READ, "stderr")
            if child.stdin is not None:
                os.set_blocking(child.stdin.fileno(), False)
                selector.register(child.stdin, selectors.EVENT_WRITE, "stdin")
            killed = False
            while selector.get_map():
                for key, _ in selector.select(CANCEL_POLL_SECONDS):
                    stream = key.fileobj
                    if key.data == "stdin":
                        pending = _feed(child.stdin, pending)
                        ended = not pending
                    else:
                        ended = not self._hand_over(key.fd, key.data)
                    if ended:
                        selector.unregister(stream)
                        _close(stream)
                if self.cancel.is_set() and not killed:
                    self._kill(child)
                    killed = True

    def _hand_over(self, fd: int, stream: Stream) -> bool:
        data = os.read(fd, CHUNK_BYTES)
        if data:
            self.output(stream, data)
        return bool(data)

    def _kill(self, child: subprocess.Popen[bytes]) -> None:
        if self.runtime.is_crun:
            child.kill()  # the first process of its pid namespace: all in it die with it
        else:
            for pid in cgroups.processes(self.name):
                with suppress(ProcessLookupError):
                    os.kill(pid, 9)


def _enter_pid_namespace() -> None:
    syscalls.unshare(_CLONE_NEWPID)
    fs = syscalls.fsopen("proc")
    try:
        syscalls.fsconfig_create(fs)
        mount = syscalls.fsmount(fs, 0)
    finally:
        os.close(fs)
    try:
        syscalls.move_mount(mount, "/proc")
    finally:
        os.close(mount)


def _feed(stdin: IO[bytes] | None, pending: memoryview) -> memoryview:
    assert stdin is not None
    try:
        return pending[os.write(stdin.fileno(), pending[:CHUNK_BYTES]) :]
    except BrokenPipeError:
        return pending[:0]


def _close(stream: object) -> None:
    with suppress(BrokenPipeError):
        stream.close()  # type: ignore[attr-defined]  # selectors types it as "anything with fileno"


def _ensure_directory(root: Path, what: Process) -> None:
    """Make the working directory where it is missing, for the process's user, as BuildKit does."""
    with files.directory(root) as fd, suppress(OSError):  # the runtime says better what is in the way
        os.close(files.make_directories_in_root(fd, what.cwd, owner=(what.uid, what.gid)))


def _like_target(root: Path, mount: MountPoint) -> MountPoint:
    """A tmpfs with the mode of the directory that it covers, as runc makes it; 1777 where there is none."""
    if mount.kind != "tmpfs" or any(option.startswith("mode=") for option in mount.options):
        return mount
    mode = 0o1777
    with files.directory(root) as fd, suppress(OSError):
        below = files.open_in_root(fd, mount.target, os.O_PATH | os.O_DIRECTORY)
        mode = stat.S_IMODE(os.fstat(below).st_mode)
        os.close(below)
    return msgspec.structs.replace(mount, options=(*mount.options, f"mode={mode:o}"))


def _targets(mounts: list[dict[str, object]]) -> list[tuple[str, bool]]:
    """What has to be there to be mounted on, and whether as a directory; not what stands inside another mount."""
    kinds = {str(each["destination"]): each["type"] != "bind" or os.path.isdir(str(each["source"])) for each in mounts}
    return [
        (target, is_directory)
        for target, is_directory in kinds.items()
        if not any(target.startswith(other.rstrip("/") + "/") for other in kinds)
    ]
