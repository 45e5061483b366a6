"""What is installed on the host: its packages and their versions, and what a program's file is like.

From the package manager's own files where it keeps them as text (dpkg, apk, pacman); from one run of rpm(8) elsewhere.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from bennu.errors import BennuError
from bennu.host import process

DPKG: Final = Path("/var/lib/dpkg/status")
APK: Final = Path("/lib/apk/db/installed")
PACMAN: Final = Path("/var/lib/pacman/local")
_DPKG: Final = re.compile(rb"^(Package|Status|Version): (.*)$", re.MULTILINE)
_APK: Final = re.compile(rb"^([PV]):(.*)$", re.MULTILINE)


def packages() -> dict[str, str]:
    """The installed packages with their versions; empty where no package manager is known."""
    with suppress(FileNotFoundError):
        return parse_dpkg(DPKG.read_bytes())
    with suppress(FileNotFoundError):
        return parse_apk(APK.read_bytes())
    if PACMAN.is_dir():
        pairs = (name.rsplit("-", 2) for name in os.listdir(PACMAN) if name.count("-") >= 2)
        return {name: f"{version}-{release}" for name, version, release in pairs}
    with suppress(BennuError):
        form = "%{NAME} %{VERSION}-%{RELEASE}\n"
        lines = process.run(["rpm", "-qa", "--queryformat", form], timeout_seconds=30).stdout.decode().splitlines()
        return dict(line.split(" ", 1) for line in lines if " " in line)
    return {}


def parse_dpkg(data: bytes) -> dict[str, str]:
    """The packages of dpkg's ``status`` that are installed."""
    found: dict[str, str] = {}
    name, is_installed = "", False
    for key, value in _DPKG.findall(data):
        if key == b"Package":
            name, is_installed = value.decode(errors="replace"), False
        elif key == b"Status":
            is_installed = value.endswith(b" installed")
        elif is_installed:
            found[name] = value.decode(errors="replace")
    return found


def parse_apk(data: bytes) -> dict[str, str]:
    """The packages of apk's ``installed``."""
    found: dict[str, str] = {}
    name = ""
    for key, value in _APK.findall(data):
        if key == b"P":
            name = value.decode(errors="replace")
        else:
            found[name] = value.decode(errors="replace")
    return found


def program(name: str) -> str | None:
    """Where a program is, with size and time of its file; None where it is not installed."""
    path = process.which(name)
    if path is None:
        return None
    status = path.stat()
    written = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(status.st_mtime))
    return f"{path}, {status.st_size} bytes, written {written}"
