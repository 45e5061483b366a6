"""nftables: whole tables replaced in one transaction, and the connections that the kernel tracks.

A caller renders its table as text from what it has on disk (``runtime.firewall``, ``switch.datagrams``) and hands it
over whole: the old content goes and the new one comes at once, or nothing changes. That makes every change a repair
too. Established connections are not in a table, so replacing it cuts none. ``listing`` and ``rendered`` read rules back
in one form, so that what is there can be compared with what should be.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Final

from bennu.errors import Failed
from bennu.host import process
from bennu.host.namespaces import in_new_network

FAMILY: Final = "ip"
_SOURCE: Final = re.compile(r"\bsrc=(\S+)")
_MEMBERS: Final = re.compile(r"\{([^{}]*)\}")
_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,100}")


def table_header(name: str) -> str:
    """The statements that empty the table ``name``, whether it is there or not; its new content follows them."""
    assert _NAME.fullmatch(name), name
    return f"table {FAMILY} {name}\ndelete table {FAMILY} {name}\n"


def apply(script: str) -> None:
    """Execute a script as one transaction. ``Failed`` with nft's last lines, and then nothing has changed."""
    argv = ["nft", "-f", "-"]
    done = process.run(argv, input=script.encode(), check=False)
    if done.status:
        # nft's last line only points at a column: the reason is in the first that says Error
        reason = next((line for line in done.stderr.decode().splitlines() if "Error: " in line), None)
        failed = process.failure(argv, done)
        raise (
            Failed(f"nft: {reason}", command=failed.command, status=failed.status, tail=failed.tail)
            if reason
            else failed
        )


def delete_table(name: str) -> None:
    """Remove a table with all in it. Not an error if it is not there."""
    apply(table_header(name))


def listing() -> dict[str, tuple[str, ...]]:
    """The tables of ``FAMILY`` line by line, as nft prints them, members of sets in order."""
    return parse_listing(process.run(["nft", "list", "ruleset", FAMILY]).stdout.decode())


def rendered(script: str) -> dict[str, tuple[str, ...]]:
    """What ``listing`` would give if only this script had been executed: tried in a network that nobody else sees."""

    def run() -> dict[str, tuple[str, ...]]:
        apply(script)
        return listing()

    return in_new_network(run)


def parse_listing(text: str) -> dict[str, tuple[str, ...]]:
    """The lines of each table in nft's listing, each with what it is in: ``chain forward: oifname @bridges drop``."""
    found: dict[str, list[str]] = {}
    within: list[str] = []
    for line in map(_ordered, _whole_lines(text)):
        if line.endswith("{"):
            within.append(line[:-1].strip())
            if len(within) == 1:
                found[within[0].split()[-1]] = []
        elif line == "}":
            within.pop()
        elif within:
            found[within[0].split()[-1]].append(": ".join([*within[1:], line]))
    return {name: tuple(lines) for name, lines in found.items()}


def _whole_lines(text: str) -> Iterator[str]:
    """Lines without indentation; what goes on over several of them as one."""
    pending = ""
    for line in map(str.strip, text.splitlines()):
        pending = f"{pending} {line}".strip()
        if pending.endswith("{") or pending.count("{") <= pending.count("}"):
            if pending:
                yield pending
            pending = ""


def _ordered(line: str) -> str:
    return _MEMBERS.sub(lambda match: "{ " + ", ".join(sorted(re.split(r",\s*", match[1].strip()))) + " }", line)


def tables() -> frozenset[str]:
    """The names of the tables of ``FAMILY``."""
    lines = process.run(["nft", "list", "tables", FAMILY]).stdout.decode().splitlines()
    return frozenset(line.split()[2] for line in lines if line.startswith("table "))


def forget_datagrams(port: int, keep: Collection[str]) -> None:
    """Forget the UDP flows that were sent to ``port`` and passed on to others than ``keep`` (IPv4 addresses).

    The next packet of such a flow is looked up afresh.
    """
    flows = ["--proto", "udp", "--orig-port-dst", str(port), "--dst-nat"]
    listing = process.run(["conntrack", "--dump", *flows]).stdout.decode()
    # a line has both directions; the second source is whoever answers
    answering = {words[1] for words in map(_SOURCE.findall, listing.splitlines()) if len(words) == 2}
    for address in sorted(answering - set(keep)):
        done = process.run(["conntrack", "--delete", *flows, "--reply-src", address], check=False)
        if done.status not in {0, 1}:  # 1: the last of them has expired meanwhile
            raise process.failure(("conntrack",), done)
