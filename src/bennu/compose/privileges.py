"""``cap_add``, ``cap_drop`` and ``ulimits`` of a service, by the kernel's own names (capabilities(7), getrlimit(2))."""

from __future__ import annotations

from typing import Final

from bennu.compose import schema
from bennu.compose.fields import Field
from bennu.compose.model import Ulimit
from bennu.compose.problems import did_you_mean

_CAPABILITIES: Final = """
AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND BPF CHECKPOINT_RESTORE CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER
FSETID IPC_LOCK IPC_OWNER KILL LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE MKNOD NET_ADMIN NET_BIND_SERVICE
NET_BROADCAST NET_RAW PERFMON SETFCAP SETGID SETPCAP SETUID SYSLOG SYS_ADMIN SYS_BOOT SYS_CHROOT SYS_MODULE SYS_NICE
SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG WAKE_ALARM
"""
_ULIMITS: Final = """
core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack
"""
CAPABILITIES: Final = frozenset(_CAPABILITIES.split())
ULIMITS: Final = frozenset(_ULIMITS.split())
ALL: Final = "ALL"
UNLIMITED: Final = -1


def read_capabilities(field: Field | None) -> tuple[str, ...]:
    """Names without ``CAP_``, each once, in the file's order."""
    names: dict[str, None] = {}
    for item in field.items() if field else ():
        text = item.filled()
        name = (text or "").upper().removeprefix("CAP_")
        if name == ALL or name in CAPABILITIES:
            names[name] = None
        elif text is not None:
            item.fail(f"{text!r} is no capability", did_you_mean(name, CAPABILITIES))
    return tuple(names)


def read_ulimits(field: Field | None) -> dict[str, Ulimit]:
    """Soft and hard limit by name; one number is both."""
    found: dict[str, Ulimit] = {}
    if field is None or not field.expect_mapping():
        return found
    for name, value in field.entries():
        if name not in ULIMITS:
            value.problems.add(f"{value.path}: is no limit", value.key_place, did_you_mean(name, ULIMITS))
            continue
        limit = _ulimit(value)
        if limit is not None:
            found[name] = limit
    return found


def _ulimit(field: Field) -> Ulimit | None:
    soft = hard = field
    if field.is_mapping:
        schema.check(field, schema.ULIMIT, "a ulimit")
        soft_field, hard_field = field.get("soft"), field.get("hard")
        if soft_field is None or hard_field is None:
            field.fail("needs both 'soft' and 'hard'")
            return None
        soft, hard = soft_field, hard_field
    low, high = soft.integer(UNLIMITED), hard.integer(UNLIMITED)
    if low is None or high is None:
        return None
    if high != UNLIMITED and (low == UNLIMITED or low > high):
        soft.fail(f"soft limit {low} is above the hard limit {high}")
        return None
    return Ulimit(soft=low, hard=high)
