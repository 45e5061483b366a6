"""What is said to the service manager, and asked of it, where there is one. Sources: sd_notify(3), systemctl(1)."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Final

from bennu.errors import BennuError
from bennu.host import process

VARIABLE: Final = "NOTIFY_SOCKET"
SYSTEMD: Final = Path("/run/systemd/system")
ASK_SECONDS: Final = 10.0


def stops_the_host() -> bool:
    """Whether the host is about to go down or to boot again."""
    if not SYSTEMD.is_dir():
        return False
    with suppress(BennuError):
        done = process.run(("systemctl", "is-system-running"), check=False, timeout_seconds=ASK_SECONDS)
        return done.stdout.strip() == b"stopping"
    return False


def say_ready() -> None:
    """Say, once, that the service is up. Nothing that this process starts can say so in its place."""
    address = os.environ.pop(VARIABLE, "")
    if not address:
        return
    if address.startswith("@"):  # in the abstract namespace, which has no files
        address = f"\0{address[1:]}"
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"READY=1", address)
