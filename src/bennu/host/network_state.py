"""What there is in a network namespace: interfaces, addresses, routes, firewall rules, as the kernel's own dumps say.

For the calling thread's namespace: whoever wants another one's joins it first (``namespaces.visiting``). Everything is
a dictionary of texts, to be compared and shown; nothing is changed. Messages: include/uapi/linux/rtnetlink.h,
if_link.h, netfilter/nf_tables.h.
"""

from __future__ import annotations

import hashlib
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_address
from typing import Final, NamedTuple

from bennu.host.netlink import Netlink, attributes
from bennu.host.tasks import read

_GETLINK, _GETADDR, _GETROUTE = 18, 22, 26
_NAME, _ADDRESS, _MTU, _MASTER = 3, 1, 4, 10
_ADDR_LOCAL, _ADDR_ADDRESS = 2, 1
_DESTINATION, _OIF, _GATEWAY, _PRIORITY, _TABLE = 1, 4, 5, 6, 15
_UP: Final = 1
NETFILTER: Final = 12
"""The protocol of nftables; Python 3.11 has no name for it."""
_LOCAL_TABLE: Final = 255
_CLONED: Final = 0x200
_KINDS: Final = {1: "", 2: "local ", 3: "broadcast ", 6: "blackhole ", 7: "unreachable ", 8: "prohibit "}
_NFTABLES: Final = 10 << 8
_GETTABLE, _GETRULE = _NFTABLES | 1, _NFTABLES | 7
_TABLE_NAME, _RULE_TABLE, _RULE_CHAIN, _RULE_HANDLE = 1, 1, 2, 3
_FAMILIES: Final = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}
_LEGACY: Final = (
    ("/proc/thread-self/net/ip_tables_names", "iptables"),
    ("/proc/thread-self/net/ip6_tables_names", "ip6tables"),
)


class Links(NamedTuple):
    """The interfaces of a namespace, by index: name, what it is like, and the index of its bridge, 0 for none."""

    by_index: dict[int, tuple[str, str, int]]

    @property
    def texts(self) -> dict[str, str]:
        """By name: whether it is up, its MTU and its hardware address."""
        return {name: text for name, text, _ in self.by_index.values()}

    @property
    def masters(self) -> dict[str, str]:
        """By the name of each port of a bridge, the name of that bridge."""
        found = self.by_index
        return {name: found[master][0] for name, _, master in found.values() if master in found}

    def name(self, index: int) -> str:
        """The name of an interface."""
        return self.by_index[index][0] if index in self.by_index else f"interface {index}"


def links() -> Links:
    """The interfaces."""
    return Links(_links())


def _links() -> dict[int, tuple[str, str, int]]:
    found = {}
    with Netlink() as netlink:
        for payload in netlink.dump(_GETLINK, struct.pack("=BxHiII", 0, 0, 0, 0, 0)):
            index, flags = struct.unpack_from("=iI", payload, 4)
            values = dict(attributes(payload[16:]))
            state = "up" if flags & _UP else "down"
            text = f"{state} mtu {_number(values.get(_MTU, b''))} {values.get(_ADDRESS, b'').hex(':')}"
            name = values.get(_NAME, b"").rstrip(b"\0").decode(errors="replace")
            found[index] = (name, text.strip(), _number(values.get(_MASTER, b"")))
    return found


def addresses(known: Links) -> dict[str, str]:
    """By address and interface (``10.1.2.3/24 eth0``): its scope. Link-local IPv6 addresses are left out."""
    found = {}
    with Netlink() as netlink:
        for payload in netlink.dump(_GETADDR, struct.pack("=BBBBI", 0, 0, 0, 0, 0)):
            _, prefix, _, scope, index = struct.unpack_from("=BBBBI", payload)
            values = dict(attributes(payload[8:]))
            packed = values.get(_ADDR_LOCAL, values.get(_ADDR_ADDRESS))
            if packed is not None and not ip_address(packed).is_link_local:
                found[f"{ip_address(packed)}/{prefix} {known.name(index)}"] = f"scope {scope}"
    return found


def routes(known: Links) -> dict[str, str]:
    """By destination (``default``, ``10.1.2.0/24``): where packets go. Those that follow from an address are in it,
    those of the table ``local`` are not.
    """
    found: dict[str, str] = {}
    with Netlink() as netlink:
        for family in (socket.AF_INET, socket.AF_INET6):
            for payload in netlink.dump(_GETROUTE, struct.pack("=BBBBBBBBI", family, *[0] * 8)):
                key, text = _route(payload, known)
                if key is not None and not (family == socket.AF_INET6 and key.startswith(("fe80:", "ff00:"))):
                    found[key] = f"{found[key]}; {text}" if key in found else text
    return found


def _route(payload: bytes, known: Links) -> tuple[str | None, str]:
    prefix, table, kind = payload[1], payload[4], payload[7]
    values = dict(attributes(payload[12:]))
    table = _number(values.get(_TABLE, b"")) or table
    if table == _LOCAL_TABLE or struct.unpack_from("=I", payload, 8)[0] & _CLONED:
        return None, ""
    destination = f"{ip_address(values[_DESTINATION])}/{prefix}" if _DESTINATION in values else "default"
    words = [f"via {ip_address(values[_GATEWAY])}"] if _GATEWAY in values else []
    words += [f"dev {known.name(_number(values[_OIF]))}"] if _OIF in values else []
    words += [f"metric {_number(values[_PRIORITY])}"] if _PRIORITY in values else []
    words += [f"table {table}"] if table != 254 else []
    family = " ipv6" if payload[0] == socket.AF_INET6 and destination == "default" else ""
    return _KINDS.get(kind, f"type {kind} ") + destination + family, " ".join(words)


def firewall() -> dict[str, str]:
    """Every rule: by family, table and chain with its handle, a digest of what it says; empty where there is none.

    A table of nftables without rules counts as well; of the older iptables only that a table is used at all.
    """
    found: dict[str, str] = {}
    with suppress(OSError), Netlink(NETFILTER) as netlink:
        for payload in netlink.dump(_GETTABLE, bytes(4)):
            found[f"{_family(payload)} {_text(payload, _TABLE_NAME)}"] = "table"
        if found:
            for payload in netlink.dump(_GETRULE, bytes(4)):
                values = dict(attributes(payload[4:]))
                handle = int.from_bytes(values.get(_RULE_HANDLE, b""), "big")
                key = f"{_family(payload)} {_text(payload, _RULE_TABLE)} {_text(payload, _RULE_CHAIN)} rule {handle}"
                found[key] = hashlib.sha256(values.get(4, b"")).hexdigest()[:12]
    found.update(_legacy())
    return found


def _legacy() -> Iterator[tuple[str, str]]:
    for path, name in _LEGACY:
        for table in read(path).decode().split():
            yield f"{name} {table}", "in use"


def _family(payload: bytes) -> str:
    return _FAMILIES.get(payload[0], str(payload[0]))


def _text(payload: bytes, kind: int) -> str:
    return dict(attributes(payload[4:])).get(kind, b"").rstrip(b"\0").decode(errors="replace")


def _number(data: bytes) -> int:
    return int(struct.unpack("=I", data)[0]) if len(data) == 4 else 0


def host_name() -> str:
    """The host name of the calling thread's UTS namespace."""
    return os.uname().nodename
