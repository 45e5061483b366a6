"""What a replica should be like, from its set and its image alone. Pure.

The runtime makes a container of the same values (``options``, ``runtime.resolve``, ``runtime.spec``); here they become
facts, as the kernel shows them of a process. Where a process may change something by itself, what it may do counts as
what should be: root may become somebody else, capabilities may be given up.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from bennu.digest import sha256_hex
from bennu.engine.embedded.options import container_options
from bennu.engine.sets import SetSpec
from bennu.oci.image_config import ContainerConfig
from bennu.runtime import resolve
from bennu.runtime.mount_points import complete
from bennu.runtime.options import ContainerOptions, MountOption
from bennu.runtime.spec import CPU_PERIOD_MICROSECONDS, Limits, Process
from bennu.runtime.users import User

PAGE: Final = 4096
LIMIT_NAMES: Final = {
    "RLIMIT_CPU": "Max cpu time", "RLIMIT_FSIZE": "Max file size", "RLIMIT_DATA": "Max data size",
    "RLIMIT_STACK": "Max stack size", "RLIMIT_CORE": "Max core file size", "RLIMIT_RSS": "Max resident set",
    "RLIMIT_NPROC": "Max processes", "RLIMIT_NOFILE": "Max open files", "RLIMIT_MEMLOCK": "Max locked memory",
    "RLIMIT_AS": "Max address space", "RLIMIT_LOCKS": "Max file locks", "RLIMIT_SIGPENDING": "Max pending signals",
    "RLIMIT_MSGQUEUE": "Max msgqueue size", "RLIMIT_NICE": "Max nice priority",
    "RLIMIT_RTPRIO": "Max realtime priority", "RLIMIT_RTTIME": "Max realtime timeout",
}  # fmt: skip
"""The kernel's names in /proc/PID/limits."""


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """A replica as its set has it."""

    options: ContainerOptions
    process: Process


def expected(spec: SetSpec, index: int, config: ContainerConfig, user: User, *, network: str) -> Expected:
    """The replica with a number. ``user`` is who the image's files say that its process is."""
    options = container_options(spec, index, network=network, hosts_file="")
    options = msgspec.structs.replace(options, mounts=complete(options.mounts, tuple(config.volumes)))
    return Expected(options=options, process=resolve.process_of(config, options, user, options.hostname or ""))


def user_of(spec: SetSpec, config: ContainerConfig) -> str:
    """The user as the file or the image names it."""
    return config.user if spec.service.user is None else spec.service.user


def environment(process: Process) -> dict[str, str]:
    """The variables, their values as digests: they may be secret."""
    pairs = (item.partition("=")[::2] for item in process.env)
    return {name: disguised(value) for name, value in pairs}


def disguised(value: str) -> str:
    """A value that may be secret, as something to compare."""
    return f"value {sha256_hex(value.encode())[:8]}"


def rlimits(process: Process, given: Mapping[str, str]) -> dict[str, str]:
    """The hard limits; those that the set says nothing of are what the runtime left (``given``)."""
    return {
        **given,
        **{
            LIMIT_NAMES[one.kind]: "unlimited" if one.hard < 0 else str(one.hard)
            for one in process.rlimits
            if one.kind in LIMIT_NAMES
        },
    }


def limits(wanted: Limits, given: Mapping[str, str]) -> dict[str, str]:
    """What the control groups hold it to, as ``cgroups.settings`` has it; what it has no word on is as ``given``."""
    memory = "max" if wanted.memory_bytes is None else str(wanted.memory_bytes // PAGE * PAGE)
    quota = "max" if wanted.cpus is None else str(max(1000, round(wanted.cpus * CPU_PERIOD_MICROSECONDS)))
    own = {
        "memory": memory,
        "cpu": f"{quota} {CPU_PERIOD_MICROSECONDS}",
        "pids": "max" if wanted.pids is None else str(wanted.pids),
    }
    return {name: own.get(name, text) for name, text in given.items()}


def mounts(options: ContainerOptions, given: Mapping[str, str]) -> dict[str, str]:
    """Everything that should be mounted: as the runtime made it (``given``), with the access that the set gives."""
    wanted = dict(given)
    if "/" in wanted:
        wanted["/"] = _with_access(wanted["/"], readonly=options.readonly, exec_=True)
    for mount in options.mounts:
        if mount.target in wanted:
            text = wanted[mount.target]
            readonly, has_programs = mount.readonly, mount.exec or mount.type == "bind"
            if mount.type == "volume":  # what its driver's options forbid, no set allows
                readonly, has_programs = readonly or " read-only" in text, has_programs and " noexec" not in text
            wanted[mount.target] = _with_access(text, readonly=readonly, exec_=has_programs)
        else:
            wanted[mount.target] = f"a {mount.type}"
    return wanted


def _with_access(text: str, *, readonly: bool, exec_: bool) -> str:
    kind, _, rest = text.partition(" ")
    words, what, source = rest.partition(" of /")
    flags = [word for word in words.split() if word not in {"read-only", "writable", "noexec"}]
    access = ["read-only" if readonly else "writable", *flags, *([] if exec_ else ["noexec"])]
    return " ".join([kind, *access]) + what + source


def configuration(options: ContainerOptions) -> dict[str, str]:
    """A container's options field by field, as texts, without the names of things of the host or of one container."""
    plain = msgspec.structs.replace(options, network="", hosts_file=None, mounts=())
    document: dict[str, object] = msgspec.to_builtins(plain)
    found = {name: msgspec.json.encode(value, order="sorted").decode() for name, value in document.items()}
    found.update({f"mount {mount.target}": _mount(mount) for mount in options.mounts})
    return {name: disguised(text) if name == "env" else text for name, text in found.items()}


def _mount(mount: MountOption) -> str:
    named = mount if mount.type != "volume" or mount.source is None or len(mount.source) < 64 else None
    plain = msgspec.structs.replace(mount, source=None) if named is None else mount
    return msgspec.json.encode(plain, order="sorted").decode()
