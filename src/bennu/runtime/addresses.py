"""Names and numbers of networks, chosen by pure functions: subnets, addresses, bridges, ports, MAC addresses.

A subnet is looked for from a place that the root's key and the network's name fix, so that two roots, or two hosts
that restore one root, seldom want the same one. Replicas' addresses go round and round in the subnet: one that has
just been freed is the last to be given out again, so that nobody's stale connection reaches a stranger. Services'
stable addresses come from the top. ``networks`` keeps all of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from ipaddress import IPv4Address, IPv4Network
from typing import Final

from bennu.errors import Unavailable

POOL: Final = IPv4Network("10.64.0.0/10")
"""Away from Docker's (172.17 and on, 192.168) and Podman's (10.88, 10.89 are asked for by name there) habits."""
PREFIX_LENGTH: Final = 22
"""1,022 addresses: a Linux bridge has at most 1,024 ports (``BR_MAX_PORTS``)."""


def choose_subnet(key: str, network: str, taken: Collection[IPv4Network]) -> IPv4Network:
    """A subnet of the pool that overlaps none of ``taken``; ``Unavailable`` where there is none left."""
    count = 1 << (PREFIX_LENGTH - POOL.prefixlen)
    size = 1 << (32 - PREFIX_LENGTH)
    start = _number(f"{key}/{network}") % count
    for step in range(count):
        base = int(POOL.network_address) + (start + step) % count * size
        subnet = IPv4Network((base, PREFIX_LENGTH))
        if not any(subnet.overlaps(other) for other in taken):
            return subnet
    raise Unavailable(f"network {network!r}: no subnet of {POOL} is free", "`ip route` shows what the host has")


def gateway_of(subnet: IPv4Network) -> IPv4Address:
    """The bridge's own address: the first of the subnet."""
    return subnet.network_address + 1


def next_address(subnet: IPv4Network, used: Collection[IPv4Address], after: IPv4Address | None) -> IPv4Address:
    """The first address behind ``after`` that is not used, round the subnet; ``Unavailable`` where all are."""
    first, last = int(subnet.network_address) + 2, int(subnet.broadcast_address) - 1
    start = first if after is None else int(after) + 1
    numbers = {int(address) for address in used}
    for number in (*range(start, last + 1), *range(first, min(start, last + 1))):
        if number not in numbers:
            return IPv4Address(number)
    raise _full(subnet)


def last_address(subnet: IPv4Network, used: Collection[IPv4Address]) -> IPv4Address:
    """The highest address that is not used; ``Unavailable`` where all are."""
    numbers = {int(address) for address in used}
    for number in range(int(subnet.broadcast_address) - 1, int(subnet.network_address) + 1, -1):
        if number not in numbers:
            return IPv4Address(number)
    raise _full(subnet)


def _full(subnet: IPv4Network) -> Unavailable:
    return Unavailable(f"subnet {str(subnet)!r} has no free address", "remove containers that are not needed")


def bridge_name(key: str, network: str, taken: Collection[str]) -> str:
    """The interface name of a network's bridge: ``bn``, the root's key, four digits of the network's name."""
    number = _number(network)
    while True:
        name = f"bn{key}-{number & 0xFFFF:04x}"
        if name not in taken:
            return name
        number += 1


def port_name(key: str, address: IPv4Address) -> str:
    """The interface name of the host's end of a replica's link: ``v``, the root's key, six digits of its address.

    Base 32 of the low 30 bits, in which no two private ranges meet.
    """
    number = int(address) & 0x3FFFFFFF
    digits = "".join("0123456789abcdefghijklmnopqrstuv"[number >> shift & 31] for shift in range(25, -1, -5))
    return f"v{key}{digits}"


def mac_of(address: IPv4Address) -> str:
    """A locally administered MAC address that goes with an IPv4 address, so that no neighbour's table goes stale."""
    return ":".join(f"{byte:02x}" for byte in b"\x02\xbe" + address.packed)


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
