"""Links, addresses, routes and network namespaces, over rtnetlink.

A replica's plug into a bridge takes six requests; as netlink messages that is 2.5 ms, most of it the kernel's, where
two runs of ip(8) take 7 ms, so this module speaks the protocol itself (``netlink``; kinds and structures are those of
include/uapi/linux/rtnetlink.h and if_link.h). It owns no policy: ``runtime.networks`` chooses names and addresses,
``nftables`` holds the firewall.

A namespace is named by a bind mount on a file of the caller's choice. Unlinking that file takes the mount out of
every other mount namespace too, so a namespace ends with its last process even though each container's supervisor
keeps a copy of the mount table. IPv4 only for now: IPv6 is off on the interfaces made here, so that none of them
answers on an address nobody chose.
"""

from __future__ import annotations

import errno
import os
import random
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, ip_address
from pathlib import Path
from typing import Final

from bennu.errors import Failed, Unavailable
from bennu.host import mounts, syscalls
from bennu.host.namespaces import in_namespace, in_new_network
from bennu.host.netlink import CREATE, EXCLUSIVE, Netlink, attribute, attributes, number, text

INTERFACES: Final = Path("/sys/class/net")
NAME_LENGTH: Final = 15  # IFNAMSIZ without the terminating zero
FIRST_FREE_PORT: Final = 20_000  # below are those of well-known programs
PORT_ATTEMPTS: Final = 100

_NEWLINK, _DELLINK, _SETLINK = 16, 17, 19
_NEWADDR, _DELADDR = 20, 21
_NEWROUTE, _GETROUTE = 24, 26
_NESTED: Final = 0x8000
_UP: Final = 1
_LINK_ADDRESS, _LINK_NAME, _LINK_MASTER, _LINK_PROTINFO, _LINK_INFO, _LINK_NS_FD = 1, 3, 10, 12, 18, 28
_INFO_KIND, _INFO_DATA, _VETH_PEER, _BRIDGE_PORT_HAIRPIN = 1, 2, 1, 4
_ADDRESS, _LOCAL = 1, 2
_ROUTE_DESTINATION, _ROUTE_OIF, _ROUTE_GATEWAY = 1, 4, 5
_TABLE_MAIN, _PROTOCOL_BOOT, _SCOPE_UNIVERSE, _TYPE_UNICAST, _TYPE_LOCAL = 254, 3, 0, 1, 2
_LOOPBACK_INDEX: Final = 1
_LISTEN: Final = "0A"


@dataclass(frozen=True, slots=True)
class Plug:
    """One interface of a namespace and the bridge that it leads to.

    ``interface`` is its name inside, ``port`` the host's end. ``gateway`` None adds no default route.
    """

    netns: Path
    interface: str
    port: str
    bridge: str
    address: IPv4Interface
    mac: str
    gateway: IPv4Address | None = None


def _link(index: int = 0, flags: int = 0, *, family: int = 0) -> bytes:
    return struct.pack("=BxHiII", family, 0, index, flags, flags)


def _index(name: str) -> int:
    try:
        return socket.if_nametoindex(name)
    except OSError as error:  # which carries no number
        raise OSError(errno.ENODEV, f"there is no interface {name!r}") from error


def _mac(value: str) -> bytes:
    return attribute(_LINK_ADDRESS, bytes.fromhex(value.replace(":", "")))


def _address(index: int, address: IPv4Interface) -> bytes:
    header = struct.pack("=BBBBI", socket.AF_INET, address.network.prefixlen, 0, _SCOPE_UNIVERSE, index)
    return header + attribute(_LOCAL, address.packed) + attribute(_ADDRESS, address.packed)


def exists(name: str) -> bool:
    """Whether the host has an interface of this name."""
    return (INTERFACES / name).exists()


def is_up(name: str) -> bool:
    """Whether an interface exists and is switched on (whatever its carrier says)."""
    try:
        return bool(int((INTERFACES / name / "flags").read_text(), 16) & _UP)
    except OSError:
        return False


def master_of(port: str) -> str | None:
    """The bridge that an interface is a port of, or None."""
    try:
        return os.path.basename(os.readlink(INTERFACES / port / "master"))
    except OSError:
        return None


def ports_of(bridge: str) -> tuple[str, ...]:
    """The names of a bridge's ports; empty where there is no such bridge."""
    try:
        return tuple(sorted(os.listdir(INTERFACES / bridge / "brif")))
    except FileNotFoundError:
        return ()


def occupied() -> tuple[IPv4Network, ...]:
    """Every IPv4 network that the host has a route to or an address in, without the default route."""
    found: set[IPv4Network] = set()
    with Netlink() as netlink:
        for payload in netlink.dump(_GETROUTE, struct.pack("=BBBBBBBBI", socket.AF_INET, *[0] * 8)):
            prefix = payload[1]
            destination = dict(attributes(payload[12:])).get(_ROUTE_DESTINATION)
            if prefix and destination is not None and payload[7] in {_TYPE_UNICAST, _TYPE_LOCAL}:
                found.add(IPv4Network((destination, prefix)))
    return tuple(sorted(found))


def ensure_bridge(name: str, address: IPv4Interface, mac: str, others: tuple[IPv4Address, ...] = ()) -> None:
    """A bridge with its addresses, switched on last: one that is up is complete.

    Its MAC address is fixed, since a bridge without one takes that of its lowest port, and neighbours would have to
    learn it again with each replica that comes or goes.
    """
    with _translated(f"bridge {name!r}"), Netlink() as netlink:
        kind = attribute(_LINK_INFO, text(_INFO_KIND, "bridge"))
        with _allowing(errno.EEXIST):
            netlink.request(_NEWLINK, _link() + text(_LINK_NAME, name) + _mac(mac) + kind, CREATE | EXCLUSIVE)
        _without_ipv6(name)
        # packets for 127.0.0.1 that a map sends to a replica, and their answers; the firewall stops all others
        _write(f"/proc/sys/net/ipv4/conf/{name}/route_localnet", "1")
        index = _index(name)
        for one in (address, *(IPv4Interface((other, 32)) for other in others)):
            with _allowing(errno.EEXIST):
                netlink.request(_NEWADDR, _address(index, one), CREATE | EXCLUSIVE)
        netlink.request(_NEWLINK, _link(index, _UP))


def add_address(name: str, address: IPv4Address) -> None:
    """Give an interface one more address, of which only the host answers. Not an error if it has it."""
    with _translated(f"address {str(address)!r} on {name!r}"), Netlink() as netlink, _allowing(errno.EEXIST):
        body = _address(_index(name), IPv4Interface((address, 32)))
        netlink.request(_NEWADDR, body, CREATE | EXCLUSIVE)


def remove_address(name: str, address: IPv4Address | IPv4Interface) -> None:
    """Take an address away, one of the host alone unless it has a prefix. Not an error if it, or the interface, is not
    there.
    """
    absent = (errno.EADDRNOTAVAIL, errno.ENODEV)
    with _translated(f"address {str(address)!r} on {name!r}"), Netlink() as netlink, _allowing(*absent):
        whole = address if isinstance(address, IPv4Interface) else IPv4Interface((address, 32))
        netlink.request(_DELADDR, _address(_index(name), whole))


def delete_link(name: str) -> None:
    """Delete an interface. Not an error if it is not there."""
    with _translated(f"interface {name!r}"), Netlink() as netlink, _allowing(errno.ENODEV):
        netlink.request(_DELLINK, _link(_index(name)))


def release_port(name: str) -> None:
    """Take an interface out of the bridge that it is a port of. Not an error if it is not there."""
    with _translated(f"interface {name!r}"), Netlink() as netlink, _allowing(errno.ENODEV):
        netlink.request(_NEWLINK, _link(_index(name)) + number(_LINK_MASTER, 0))


def create_netns(path: Path) -> None:
    """A new network namespace, named by a bind mount at ``path``, with loopback up.

    Ports below 1024 and ping are free to everyone in it, as Docker has them: a service that runs as an ordinary user,
    or in a user namespace of its own, can bind port 80.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444))

    def inside() -> None:
        with Netlink() as netlink:
            netlink.request(_NEWLINK, _link(_LOOPBACK_INDEX, _UP))
        _write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0")
        _write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647")
        mounts.attach(mounts.Bind(Path("/proc/thread-self/ns/net")), path)

    with _translated(f"network namespace {str(path)!r}"):
        in_new_network(inside)


def is_netns(path: Path) -> bool:
    """Whether a namespace is bound at ``path`` (nsfs is a device of its own)."""
    try:
        return os.stat(path).st_dev == os.stat("/proc/self/ns/net").st_dev
    except OSError:
        return False


def remove_netns(path: Path) -> None:
    """Let go of a namespace: it ends, with its interfaces, when its last process does. Not an error if it is gone."""
    mounts.detach(path)
    with suppress(FileNotFoundError):
        os.unlink(path)


def plug(plug: Plug) -> None:
    """Connect a namespace to a bridge. The port joins the bridge last: one that has a master is complete."""
    with _translated(f"interface {plug.interface!r} of {str(plug.netns)!r}"), Netlink() as netlink:
        netns = os.open(plug.netns, os.O_RDONLY | os.O_CLOEXEC)
        try:
            peer = _link() + text(_LINK_NAME, plug.interface) + _mac(plug.mac) + number(_LINK_NS_FD, netns)
            data = attribute(_INFO_DATA, attribute(_VETH_PEER, peer))
            info = attribute(_LINK_INFO, text(_INFO_KIND, "veth") + data)
            netlink.request(_NEWLINK, _link() + text(_LINK_NAME, plug.port) + info, CREATE | EXCLUSIVE)
        finally:
            os.close(netns)
        in_namespace(plug.netns, syscalls.CLONE_NEWNET, lambda: _configure(plug))
        _without_ipv6(plug.port)
        port, bridge = _index(plug.port), _index(plug.bridge)
        netlink.request(_NEWLINK, _link(port, _UP) + number(_LINK_MASTER, bridge))
        # a replica that calls its own service by a published UDP port gets its packet back through its own port
        hairpin = attribute(_LINK_PROTINFO | _NESTED, attribute(_BRIDGE_PORT_HAIRPIN, b"\1"))
        netlink.request(_SETLINK, _link(port, family=socket.AF_BRIDGE) + hairpin)


def _configure(plug: Plug) -> None:
    _without_ipv6(plug.interface)
    index = _index(plug.interface)
    with Netlink() as netlink:
        netlink.request(_NEWADDR, _address(index, plug.address), CREATE | EXCLUSIVE)
        netlink.request(_NEWLINK, _link(index, _UP))
        if plug.gateway is not None:
            header = struct.pack(
                "=BBBBBBBBI", socket.AF_INET, 0, 0, 0, _TABLE_MAIN, _PROTOCOL_BOOT, _SCOPE_UNIVERSE, _TYPE_UNICAST, 0
            )
            way = attribute(_ROUTE_GATEWAY, plug.gateway.packed) + number(_ROUTE_OIF, index)
            netlink.request(_NEWROUTE, header + way, CREATE | EXCLUSIVE)


def listeners() -> dict[int, tuple[IPv4Address | IPv6Address, int]]:
    """Every listening TCP socket of the host, by its inode: address (0.0.0.0 and :: stand for all) and port."""
    found: dict[int, tuple[IPv4Address | IPv6Address, int]] = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(FileNotFoundError), open(table, encoding="ascii") as file:
            for words in map(str.split, file.readlines()[1:]):
                if words[3] == _LISTEN:
                    address, port = words[1].split(":")
                    # the kernel prints an address as 32-bit words in its own byte order
                    packed = b"".join(
                        int(address[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(address), 8)
                    )
                    found[int(words[9])] = (ip_address(packed), int(port, 16))
    return found


def free_port(address: str = "", *, datagrams: bool = False) -> int:
    """A port that nobody uses on a local IPv4 address (all of them by default) at this moment.

    It is not one of those that the kernel lends to outgoing connections: a port that is left for a while, between a
    release and the return to it, would be lent to some connection, and could not be listened on again.
    """
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
        lowest, highest = map(int, file.read().split())
    fixed = [port for port in range(FIRST_FREE_PORT, 0x10000) if not lowest <= port <= highest]
    for port in (*random.sample(fixed, min(len(fixed), PORT_ATTEMPTS)), 0):
        kind = socket.SOCK_DGRAM if datagrams else socket.SOCK_STREAM
        with socket.socket(socket.AF_INET, kind) as probe, suppress(OSError):
            probe.bind((address, port))
            found: int = probe.getsockname()[1]
            return found
    raise Unavailable(f"no port is free on {address or 'this host'}", "`ss -lntu` names those in use")


def enable_forwarding() -> None:
    """Let the host forward IPv4 packets between its interfaces."""
    path = "/proc/sys/net/ipv4/ip_forward"
    with _translated("IPv4 forwarding"), open(path, encoding="ascii") as file:
        if file.read().strip() != "1":
            _write(path, "1")


def _without_ipv6(name: str) -> None:
    with suppress(FileNotFoundError):  # a kernel without IPv6
        _write(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6", "1")


def _write(path: str, value: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(value)


@contextmanager
def _allowing(*numbers: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in numbers:
            raise


@contextmanager
def _translated(subject: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        hint = "run it as root" if error.errno in {errno.EPERM, errno.EACCES} else "run `bennu doctor`"
        raise Failed(f"{subject}: {error.strerror or error}", hint) from error
