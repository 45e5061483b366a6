"""What a replica's resolver reads: the hosts file that a project's replicas share, and resolv.conf.

Names of services are in the hosts file with their stable addresses, which do not change while the project lives: no
DNS server is needed for them, and no name goes stale. Everything else is the host's resolvers' business.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Final

_LOCAL: Final = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
RESOLV_CONF: Final = Path("/etc/resolv.conf")
SYSTEMD_RESOLV_CONF: Final = Path("/run/systemd/resolve/resolv.conf")
"""The servers behind the stub on 127.0.0.53 that systemd-resolved puts into ``RESOLV_CONF``."""


def hosts_text(entries: Iterable[tuple[str, Sequence[str]]]) -> str:
    """A hosts file: loopback, then one line for each (address, names), in the order given; no names, no line."""
    return _LOCAL + "".join(f"{address}\t{' '.join(names)}\n" for address, names in entries if names)


def resolv_text(text: str) -> str:
    """A host's resolv.conf as a replica can use it: without servers on the host's own loopback, which it cannot reach.

    Everything else stays as it is: ``search``, ``options``, comments.
    """
    return "".join(line for line in text.splitlines(keepends=True) if not _is_loopback_server(line))


def read_resolv_text(candidates: Sequence[Path] = (RESOLV_CONF, SYSTEMD_RESOLV_CONF)) -> str:
    """The resolv.conf for replicas of this host, of the first candidate that names a server they can reach.

    Where none does, the first one's other lines.
    """
    texts = []
    for path in candidates:
        try:
            texts.append(resolv_text(path.read_text(encoding="utf-8", errors="replace")))
        except OSError:
            continue
        if any(line.split()[:1] == ["nameserver"] for line in texts[-1].splitlines()):
            return texts[-1]
    return texts[0] if texts else ""


def _is_loopback_server(line: str) -> bool:
    words = line.split()
    if len(words) < 2 or words[0] != "nameserver":
        return False
    try:
        return ip_address(words[1].partition("%")[0]).is_loopback
    except ValueError:
        return False
