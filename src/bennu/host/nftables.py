"""nftables: whole tables replaced in one transaction, and the connections that the kernel tracks.

A caller renders its table as text from what it has on disk (``runtime.firewall``, ``switch.datagrams``) and hands it
over whole: the old content goes and the new one comes at once, or nothing changes. That makes every change a repair
too. Established connections are not in a table, so replacing it cuts none. Nothing here reads rules back.
"""

from __future__ import annotations

import re
from typing import Final

from bennu.host import process

FAMILY: Final = "ip"
_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,100}")


def table_header(name: str) -> str:
    """The statements that empty the table ``name``, whether it is there or not; its new content follows them."""
    assert _NAME.fullmatch(name), name
    return f"table {FAMILY} {name}\ndelete table {FAMILY} {name}\n"


def apply(script: str) -> None:
    """Execute a script as one transaction. ``Failed`` with nft's last lines, and then nothing has changed."""
    process.run(["nft", "-f", "-"], input=script.encode())


def delete_table(name: str) -> None:
    """Remove a table with all in it. Not an error if it is not there."""
    apply(table_header(name))


def tables() -> frozenset[str]:
    """The names of the tables of ``FAMILY``."""
    lines = process.run(["nft", "list", "tables", FAMILY]).stdout.decode().splitlines()
    return frozenset(line.split()[2] for line in lines if line.startswith("table "))


def forget_datagrams(port: int) -> None:
    """Forget every UDP flow that was sent to ``port`` and passed on, so that its next packet is looked up afresh."""
    # conntrack exits with 1 where nothing matched
    done = process.run(
        ["conntrack", "--delete", "--proto", "udp", "--orig-port-dst", str(port), "--dst-nat"], check=False
    )
    if done.status not in {0, 1}:
        raise process.failure(("conntrack",), done)
