"""What is said to the service manager that started this process, if one did. Source: sd_notify(3)."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import Final

VARIABLE: Final = "NOTIFY_SOCKET"


def say_ready() -> None:
    """Say, once, that the service is up. Nothing that this process starts can say so in its place."""
    address = os.environ.pop(VARIABLE, "")
    if not address:
        return
    if address.startswith("@"):  # in the abstract namespace, which has no files
        address = f"\0{address[1:]}"
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"READY=1", address)
