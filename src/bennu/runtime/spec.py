"""A process and its sandbox as an OCI runtime specification (config.json). Pure.

``Process`` and ``Sandbox`` say everything that was decided: users are numbers, mounts have their sources, the
environment is complete. ``oci_spec`` adds what holds for every container: Docker's masked and read-only paths, its
devices, its kernel file systems. ``resolve`` decides, ``oci_runtime`` runs. Source: OCI runtime specification 1.0,
config.md and config-linux.md; defaults: Moby's ``oci/defaults.go`` as Docker's documentation describes them.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from bennu.runtime.capabilities import DEFAULT

CPU_PERIOD_MICROSECONDS: Final = 100_000
DEFAULT_SHM_BYTES: Final = 64 << 20
CRUN_SECCOMP: Final = "run.oci.seccomp_bpf_data"
"""crun's annotation for a compiled filter, which it takes instead of compiling the profile (crun(1), EXTENSIONS)."""

MASKED: Final = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
OPEN_DEVICES: Final = (
    ("/dev/kmsg", "c", 1, 11),
    ("/dev/cuse", "c", 10, 203),
    ("/dev/fuse", "c", 10, 229),
    ("/dev/kvm", "c", 10, 232),
    ("/dev/net/tun", "c", 10, 200),
    ("/dev/loop-control", "c", 10, 237),
    *((f"/dev/loop{number}", "b", 7, number) for number in range(16)),
)
"""Device nodes that an open sandbox has: what tools that mount, emulate and make networks look for."""

READONLY: Final = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


class Rlimit(msgspec.Struct, frozen=True):
    """A resource limit: ``kind`` as in ``RLIMIT_NOFILE``; -1 is unlimited."""

    kind: str
    soft: int
    hard: int


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """What is executed, as whom. ``env`` items are ``K=V``; ``cwd`` is absolute; ``capabilities`` are ``CAP_…``.

    ``keeps_capabilities``: any user holds them, and hands them on to what it executes.
    """

    args: tuple[str, ...]
    env: tuple[str, ...] = ()
    cwd: str = "/"
    uid: int = 0
    gid: int = 0
    additional_gids: tuple[int, ...] = ()
    terminal: bool = False
    capabilities: tuple[str, ...] = DEFAULT
    keeps_capabilities: bool = False
    no_new_privileges: bool = False
    rlimits: tuple[Rlimit, ...] = ()
    oom_score_adj: int = 0


class MountPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One mount inside the container. ``options`` as mount(8) and the runtime specification name them."""

    target: str
    source: str
    kind: Literal["bind", "tmpfs"] = "bind"
    options: tuple[str, ...] = ()


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a container may use at most; None is no limit. ``cpus`` is in cores, fractions allowed. ``swap_bytes`` is of
    memory and swap together (-1: no limit), ``reserved_bytes`` what it keeps when memory is short, ``cpu_shares`` its
    weight beside others (1024 is the usual one), ``cpuset`` the processors that it may use.
    """

    memory_bytes: int | None = None
    cpus: float | None = None
    pids: int | None = None
    swap_bytes: int | None = None
    reserved_bytes: int | None = None
    cpu_shares: int | None = None
    cpuset: str | None = None


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """What the specification depends on: the machine (uname's), its kernel's release, the control groups.

    ``cgroup_parent`` is the path of the group that all of ours are in, empty for the root of each hierarchy.
    """

    machine: str
    kernel: str
    cgroup_version: Literal["v1", "v2"]
    cgroup_parent: str = ""
    has_swap_limit: bool = False


class Filter(msgspec.Struct, frozen=True):
    """``linux.seccomp`` as JSON, and the same compiled (crun's annotation takes it in base64), None if it cannot be."""

    profile: msgspec.Raw
    program: str | None = None


class Sandbox(msgspec.Struct, frozen=True, kw_only=True):
    """What surrounds the process.

    ``network``: ``none`` (a namespace of its own with nothing but loopback), ``host``, or the path of a network
    namespace. ``cgroup`` is the group's name below the host's ``cgroup_parent``. ``seccomp`` None is unconfined.
    ``rootfs`` is relative to the bundle or absolute. ``is_open``: nothing of /proc, /sys, the control groups and the
    devices is kept from the process (Docker's ``--privileged``, BuildKit's ``--security=insecure``).
    """

    cgroup: str
    network: str = "none"
    rootfs: str = "rootfs"
    readonly: bool = False
    hostname: str = ""
    mounts: tuple[MountPoint, ...] = ()
    limits: Limits = Limits()
    seccomp: Filter | None = None
    shm_bytes: int = DEFAULT_SHM_BYTES
    sysctls: dict[str, str] = {}
    annotations: dict[str, str] = {}
    is_open: bool = False


def oci_spec(process: Process, sandbox: Sandbox, host: Host) -> dict[str, Any]:
    """The content of config.json, ready to be encoded."""
    annotations = dict(sandbox.annotations)
    linux: dict[str, Any] = {
        "cgroupsPath": f"{host.cgroup_parent}/{sandbox.cgroup}",
        "namespaces": _namespaces(sandbox.network),
        "maskedPaths": () if sandbox.is_open else MASKED,
        "readonlyPaths": () if sandbox.is_open else READONLY,
        "resources": resources(sandbox.limits, host),
    }
    if sandbox.is_open:
        linux["resources"]["devices"] = [{"allow": True, "access": "rwm"}]
        linux["devices"] = [
            {"path": path, "type": kind, "major": major, "minor": minor, "fileMode": 0o666}
            for path, kind, major, minor in OPEN_DEVICES
        ]
    if sandbox.seccomp is not None:
        linux["seccomp"] = sandbox.seccomp.profile
        if sandbox.seccomp.program is not None:
            annotations[CRUN_SECCOMP] = sandbox.seccomp.program
    sysctls = dict(sandbox.sysctls)
    if sandbox.network == "none":
        # As Docker sets them: an unprivileged service may listen on port 80, and ping needs no capability. A network
        # namespace that is joined has been given them by whoever made it.
        sysctls = {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"} | sysctls
    if sysctls:
        linux["sysctl"] = sysctls
    spec: dict[str, Any] = {
        "ociVersion": "1.0.2",
        "process": oci_process(process),
        "root": {"path": sandbox.rootfs, "readonly": sandbox.readonly},
        "mounts": [*_kernel_mounts(sandbox), *map(_mount, _parents_first(sandbox.mounts))],
        "linux": linux,
    }
    if sandbox.hostname:
        spec["hostname"] = sandbox.hostname
    if annotations:
        spec["annotations"] = annotations
    return spec


def oci_process(process: Process) -> dict[str, Any]:
    """The ``process`` object: of config.json, and of ``exec``."""
    held = list(process.capabilities)
    # A user other than root holds nothing until a program with file capabilities or set-uid gives it something.
    own = held if process.uid == 0 or process.keeps_capabilities else []
    handed = held if process.keeps_capabilities else []
    document: dict[str, Any] = {
        "terminal": process.terminal,
        "user": {"uid": process.uid, "gid": process.gid, "additionalGids": list(process.additional_gids)},
        "args": list(process.args),
        "env": list(process.env),
        "cwd": process.cwd,
        "capabilities": {
            "bounding": held,
            "effective": own,
            "permitted": own,
            "inheritable": handed,
            "ambient": handed,
        },
        "noNewPrivileges": process.no_new_privileges,
    }
    if process.oom_score_adj:
        document["oomScoreAdj"] = process.oom_score_adj
    if process.rlimits:
        document["rlimits"] = [
            {"type": limit.kind, "soft": _unsigned(limit.soft), "hard": _unsigned(limit.hard)}
            for limit in process.rlimits
        ]
    return document


def _unsigned(limit: int) -> int:
    return limit if limit >= 0 else (1 << 64) - 1


def resources(limits: Limits, host: Host) -> dict[str, Any]:
    """``linux.resources``: no device but the standard ones (the runtime adds those), and the limits."""
    document: dict[str, Any] = {
        "devices": [
            {"allow": False, "access": "rwm"},
            {"allow": True, "type": "c", "access": "m"},  # a node may be made; opening it stays forbidden
            {"allow": True, "type": "b", "access": "m"},
        ]
    }
    memory: dict[str, int] = {}
    if limits.memory_bytes is not None:
        memory["limit"] = limits.memory_bytes
        if host.has_swap_limit:  # memory and swap together: twice the memory, as Docker's default
            memory["swap"] = 2 * limits.memory_bytes if limits.swap_bytes is None else limits.swap_bytes
    if limits.reserved_bytes is not None:
        memory["reservation"] = limits.reserved_bytes
    cpu: dict[str, int | str] = {}
    if limits.cpus is not None:
        quota = max(1000, round(limits.cpus * CPU_PERIOD_MICROSECONDS))
        cpu = {"quota": quota, "period": CPU_PERIOD_MICROSECONDS}
    if limits.cpu_shares is not None:
        cpu["shares"] = limits.cpu_shares
    if limits.cpuset is not None:
        cpu["cpus"] = limits.cpuset
    document |= {name: part for name, part in (("memory", memory), ("cpu", cpu)) if part}
    if limits.pids is not None:
        document["pids"] = {"limit": limits.pids}
    return document


def _namespaces(network: str) -> list[dict[str, str]]:
    kinds = [{"type": kind} for kind in ("pid", "ipc", "uts", "mount", "cgroup")]
    if network == "none":
        kinds.append({"type": "network"})
    elif network != "host":
        kinds.append({"type": "network", "path": network})
    return kinds


def _kernel_mounts(sandbox: Sandbox) -> list[dict[str, Any]]:
    closed = ["nosuid", "noexec", "nodev"]
    access = "rw" if sandbox.is_open else "ro"
    ours = [
        _kernel("/proc", "proc", closed),
        _kernel("/dev", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        _kernel("/dev/pts", "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
        _kernel("/sys", "sysfs", [*closed, access]),
        _kernel("/sys/fs/cgroup", "cgroup", [*closed, "relatime", access]),
        _kernel("/dev/mqueue", "mqueue", closed),
        _kernel("/dev/shm", "tmpfs", [*closed, "mode=1777", f"size={sandbox.shm_bytes}"], source="shm"),
    ]
    replaced = {mount.target for mount in sandbox.mounts}
    return [mount for mount in ours if mount["destination"] not in replaced]


def _kernel(target: str, kind: str, options: list[str], source: str | None = None) -> dict[str, Any]:
    return {"destination": target, "type": kind, "source": source or kind, "options": options}


def _mount(mount: MountPoint) -> dict[str, Any]:
    return {
        "destination": mount.target,
        "type": mount.kind,
        "source": mount.source,
        "options": list(mount.options),
    }


def _parents_first(mounts: tuple[MountPoint, ...]) -> list[MountPoint]:
    """A mount on ``/data`` must not hide one on ``/data/cache``; otherwise the given order stands."""
    return sorted(mounts, key=lambda mount: mount.target.rstrip("/").count("/"))
