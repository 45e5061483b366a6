"""The host as far as a fleet stands on it: kernel, packages, settings, the programs that run the fleet, time zone."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from bennu.digest import sha256_hex
from bennu.host import installed, sysctls

PROGRAMS: Final = ("crun", "runc", "conmon", "haproxy", "nft", "conntrack")
ZONE: Final = Path("/etc/localtime")


def host_facts() -> dict[str, dict[str, str]]:
    """By kind: names and texts. Starts no process (but rpm's, where there is one)."""
    system = os.uname()
    kernel = {"release": system.release, "build": system.version, "machine": system.machine}
    with suppress(OSError):
        kernel["command line"] = Path("/proc/cmdline").read_text(encoding="utf-8", errors="replace").strip()
    programs = {name: installed.program(name) for name in PROGRAMS}
    return {
        "host-kernel": kernel,
        "host-package": installed.packages(),
        "host-sysctl": sysctls.settings(sysctls.HOST),
        "host-program": {name: text for name, text in programs.items() if text is not None},
        "host-zone": {"time zone": _zone(), "host name": system.nodename},
    }


def _zone() -> str:
    if ZONE.is_symlink():
        return os.readlink(ZONE).partition("zoneinfo/")[2] or os.readlink(ZONE)
    with suppress(OSError):
        return f"the content of {ZONE}, {sha256_hex(ZONE.read_bytes())[:12]}"
    return "UTC"
