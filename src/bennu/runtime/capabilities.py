"""Capabilities: Docker's default set, and what ``--cap-add`` and ``--cap-drop`` make of it. Pure.

Names are ``CAP_CHOWN`` inside; people write them with or without the prefix, in any case. Source of the default set:
Docker Engine documentation, "Runtime privilege and Linux capabilities". The list is the kernel's
(include/uapi/linux/capability.h).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from bennu.errors import Invalid

DEFAULT: Final = tuple(
    f"CAP_{name}"
    for name in (
        "CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP", "SETPCAP",
        "NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE",
    )
)  # fmt: skip

ALL: Final = tuple(
    f"CAP_{name}"
    for name in (
        "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
        "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
        "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
        "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
        "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
        "CHECKPOINT_RESTORE",
    )
)  # fmt: skip


def of_mask(mask: int) -> tuple[str, ...]:
    """The capabilities of a bit set as the kernel writes it (proc(5), ``CapPrm``): ``ALL`` is in the bits' order."""
    return tuple(name for bit, name in enumerate(ALL) if mask >> bit & 1)


def chosen(add: Iterable[str] = (), drop: Iterable[str] = ()) -> tuple[str, ...]:
    """The set after additions and drops: ``ALL`` is possible in both, a named one wins over it. ``Invalid`` if unknown.

    As in Docker, ``drop ALL`` with ``add X`` leaves X alone, and ``add ALL`` with ``drop X`` leaves all but X.
    """
    added, dropped = [_named(name) for name in add], [_named(name) for name in drop]
    if "ALL" in added:
        return tuple(name for name in ALL if name not in dropped)
    if "ALL" in dropped:
        return tuple(name for name in ALL if name in added)
    return tuple(name for name in ALL if (name in DEFAULT and name not in dropped) or name in added)


def _named(name: str) -> str:
    upper = name.upper()
    if upper == "ALL":
        return upper
    full = upper if upper.startswith("CAP_") else f"CAP_{upper}"
    if full not in ALL:
        raise Invalid(f"capability {name!r} is unknown", "capabilities(7) has the names, such as NET_ADMIN")
    return full
