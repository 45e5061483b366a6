"""Networks: one bridge each, an address for every container, a stable address for every service.

SQLite says what networks and addresses there are; the kernel's state is made from it and can be made again at any
time: after a reboot ``ensure`` brings a bridge back with the same subnet, and ``attach`` a container's namespace with
the same address. A network is found complete by its bridge being up, a container by its port having a master; each is
the last thing done, so whatever a kill -9 leaves is recognised and completed or made anew.

Order of changes: choosing subnets and building bridges goes under one lock for the whole host, since two roots must
not choose the same; attaching takes no lock beyond its transaction. ``addresses`` has the arithmetic, ``firewall``
the rules; ``host.network`` talks to the kernel. Names are ``etc_files``' business.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from sqlite3 import Connection, Row
from typing import Final

from bennu.config import Settings
from bennu.errors import Conflict, NotFound
from bennu.host import locks, network, nftables
from bennu.runtime import addresses, firewall
from bennu.store.database import Database

DEFAULT: Final = "bennu0"
"""The network of containers outside every project, and of steps of a build. ``attach`` makes it when it is missing."""


@dataclass(frozen=True, slots=True)
class Network:
    """A network as it is recorded."""

    name: str
    bridge: str
    subnet: IPv4Network
    gateway: IPv4Address


@dataclass(frozen=True, slots=True)
class Attachment:
    """A container's plug: the namespace to join, its interface there, and how it is addressed.

    ``address`` and ``gateway`` are dotted quads, ``prefix`` is the subnet's length in bits, ``port`` the host's end
    of the link.
    """

    network: str
    netns: Path
    interface: str
    address: str
    prefix: int
    gateway: str
    port: str


class Networks:
    """The networks of one root. Safe to call from several threads and processes. Needs root."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._key = settings.key
        self._database = database
        self._namespaces = settings.run / "netns"
        self._lock = settings.run.parent / "networks.lock"

    def ensure(self, name: str) -> Network:
        """A network, made if it is missing, brought back if the host lost it. ``Conflict`` if its subnet is taken.

        Cheap (one query, one look at the bridge) where nothing is missing.
        """
        found = self.get(name)
        if found is not None and network.is_up(found.bridge):
            return found
        with self._changing():
            found = self.get(name) or self._record(name)
            self._build(found)
        return found

    def get(self, name: str) -> Network | None:
        """A network as it is recorded, or None."""
        row = self._database.one("SELECT * FROM networks WHERE name = ?", (name,))
        return None if row is None else _network(row)

    def walk(self) -> tuple[Network, ...]:
        """All networks, by name."""
        return tuple(_network(row) for row in self._database.query("SELECT * FROM networks ORDER BY name"))

    def remove(self, name: str) -> None:
        """Remove a network, its bridge and its services' addresses; not an error if it is gone.

        ``Conflict`` while containers are attached.
        """
        with self._changing():
            found = self.get(name)
            if found is None:
                return
            with self._database.transaction() as connection:
                owners = _owners(connection, name)
                if owners:
                    raise Conflict(
                        f"network {name!r} is used by {', '.join(map(repr, owners[:3]))}"
                        + (f" and {len(owners) - 3} more" if len(owners) > 3 else ""),
                        "remove these containers first; `bennu ps --all` lists them",
                    )
                connection.execute("DELETE FROM network_addresses WHERE network = ?", (name,))
                connection.execute("DELETE FROM networks WHERE name = ?", (name,))
            for port in network.ports_of(found.bridge):  # of containers whose namespace has not ended yet
                network.delete_link(port)
            network.delete_link(found.bridge)
            self._filter()

    def attach(self, name: str, owner_id: str) -> Attachment:
        """Connect a container (by its id) to a network; a second network gives it a second interface.

        Idempotent, and the same address after a reboot. The first network brings the default route. ``NotFound`` for
        a network that nobody has ensured, except ``DEFAULT``.
        """
        found = self.ensure(DEFAULT) if name == DEFAULT else self._known(name)
        with self._database.transaction() as connection:
            row = _attachment_row(connection, name, owner_id) or self._allocate(connection, found, owner_id)
        attachment = self._attachment(found, row)
        if not self._is_whole(attachment):
            self._plug(found, attachment, first=row["position"] == 0)
        return attachment

    def attachments(self, owner_id: str) -> tuple[Attachment, ...]:
        """What a container is attached to, its first network first."""
        rows = self._database.query(
            "SELECT a.*, n.* FROM network_addresses a JOIN networks n ON n.name = a.network"
            " WHERE a.kind = 'container' AND a.owner = ? ORDER BY a.position",
            (owner_id,),
        )
        return tuple(self._attachment(_network(row), row) for row in rows)

    def detach(self, owner_id: str) -> None:
        """Let go of a container's namespace and free its addresses. Idempotent.

        The namespace and its interfaces end when the last process in it does, at once if there is none.
        """
        network.remove_netns(self._netns(owner_id))
        where = "kind = 'container' AND owner = ?"
        if self._database.one(f"SELECT 1 FROM network_addresses WHERE {where}", (owner_id,)):  # noqa: S608 - constant
            with self._database.transaction() as connection:
                connection.execute(f"DELETE FROM network_addresses WHERE {where}", (owner_id,))  # noqa: S608

    def owners(self) -> frozenset[str]:
        """The ids of all attached containers, those that no longer exist included: whoever knows detaches them."""
        rows = self._database.query("SELECT DISTINCT owner FROM network_addresses WHERE kind = 'container'")
        return frozenset(row["owner"] for row in rows)

    def owners_in(self, name: str) -> dict[str, IPv4Address]:
        """The ids of the containers that are attached to a network, with their addresses there."""
        rows = self._database.query(
            "SELECT owner, address FROM network_addresses WHERE network = ? AND kind = 'container'", (name,)
        )
        return {row["owner"]: IPv4Address(row["address"]) for row in rows}

    def service_address(self, name: str, service: str) -> str:
        """The stable address of a service in a network: the host answers it, for the switch. Idempotent."""
        found = self._known(name)
        known = self.service_addresses(name).get(service)
        if known is None:
            with self._database.transaction() as connection:
                known = self.service_addresses(name).get(service)
                if known is None:
                    known = str(addresses.last_address(found.subnet, _used(connection, found)))
                    connection.execute(
                        "INSERT INTO network_addresses (network, address, kind, owner) VALUES (?, ?, 'service', ?)",
                        (name, known, service),
                    )
        network.add_address(found.bridge, IPv4Address(known))
        return known

    def service_addresses(self, name: str) -> dict[str, str]:
        """The stable addresses of a network by service."""
        rows = self._database.query(
            "SELECT owner, address FROM network_addresses WHERE network = ? AND kind = 'service' ORDER BY owner",
            (name,),
        )
        return {row["owner"]: row["address"] for row in rows}

    def release_service_address(self, name: str, service: str) -> None:
        """Give a service's stable address back. Idempotent."""
        found, known = self.get(name), self.service_addresses(name).get(service)
        if found is None or known is None:
            return
        network.remove_address(found.bridge, IPv4Address(known))
        with self._database.transaction() as connection:
            connection.execute(
                "DELETE FROM network_addresses WHERE network = ? AND kind = 'service' AND owner = ?", (name, service)
            )

    def reconcile(self) -> None:
        """Bring back whatever the host has lost of all networks: bridges, addresses, rules. Changes nothing else."""
        with self._changing():
            for found in self.walk():
                self._build(found)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with locks.held(self._lock, subject="the networks of this host", owner=f"bennu root {self._key}"):
            yield

    def _known(self, name: str) -> Network:
        found = self.get(name)
        if found is None:
            raise NotFound(f"network {name!r} does not exist", "`bennu network ls` lists the networks")
        return found if network.is_up(found.bridge) else self.ensure(name)

    def _record(self, name: str) -> Network:
        existing = self.walk()
        taken = (*network.occupied(), *(other.subnet for other in existing))
        subnet = addresses.choose_subnet(self._key, name, taken)
        bridge = addresses.bridge_name(self._key, name, {other.bridge for other in existing})
        gateway = addresses.gateway_of(subnet)
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO networks (name, bridge, subnet, gateway, created) VALUES (?, ?, ?, ?, ?)",
                (name, bridge, str(subnet), str(gateway), time.time()),
            )
        return Network(name, bridge, subnet, gateway)

    def _build(self, found: Network) -> None:
        if not network.exists(found.bridge):
            for other in network.occupied():
                if found.subnet.overlaps(other):
                    raise Conflict(
                        f"network {found.name!r}: its subnet {str(found.subnet)!r} overlaps {str(other)!r}, which this"
                        " host has gained since",
                        "`ip route` shows whose it is; remove the network, or that route",
                    )
        network.enable_forwarding()
        self._filter()
        services = tuple(IPv4Address(address) for address in self.service_addresses(found.name).values())
        own = IPv4Interface((found.gateway, found.subnet.prefixlen))
        network.ensure_bridge(found.bridge, own, addresses.mac_of(found.gateway), services)

    def _filter(self) -> None:
        nftables.apply(firewall.ruleset(self._key, [(found.bridge, found.subnet) for found in self.walk()]))

    def _allocate(self, connection: Connection, found: Network, owner_id: str) -> Row:
        last = connection.execute("SELECT last FROM networks WHERE name = ?", (found.name,)).fetchone()
        if last is None:
            raise NotFound(f"network {found.name!r} was removed meanwhile")
        after = None if last[0] is None else IPv4Address(last[0])
        address = str(addresses.next_address(found.subnet, _used(connection, found), after))
        connection.execute("UPDATE networks SET last = ? WHERE name = ?", (address, found.name))
        connection.execute(
            "INSERT INTO network_addresses (network, address, kind, owner, position) VALUES (?, ?, 'container', ?,"
            " (SELECT COALESCE(MAX(position) + 1, 0) FROM network_addresses WHERE kind = 'container' AND owner = ?))",
            (found.name, address, owner_id, owner_id),
        )
        row = _attachment_row(connection, found.name, owner_id)
        assert row is not None
        return row

    def _attachment(self, found: Network, row: Row) -> Attachment:
        return Attachment(
            network=found.name,
            netns=self._netns(row["owner"]),
            interface=f"eth{row['position']}",
            address=row["address"],
            prefix=found.subnet.prefixlen,
            gateway=str(found.gateway),
            port=addresses.port_name(self._key, IPv4Address(row["address"])),
        )

    def _netns(self, owner_id: str) -> Path:
        return self._namespaces / owner_id

    def _is_whole(self, attachment: Attachment) -> bool:
        return network.is_netns(attachment.netns) and network.master_of(attachment.port) is not None

    def _plug(self, found: Network, attachment: Attachment, *, first: bool) -> None:
        network.delete_link(attachment.port)
        if first or not network.is_netns(attachment.netns):
            network.remove_netns(attachment.netns)
            network.create_netns(attachment.netns)
        address = IPv4Address(attachment.address)
        network.plug(
            network.Plug(
                netns=attachment.netns,
                interface=attachment.interface,
                port=attachment.port,
                bridge=found.bridge,
                address=IPv4Interface((address, attachment.prefix)),
                mac=addresses.mac_of(address),
                gateway=found.gateway if first else None,
            )
        )


def _network(row: Row) -> Network:
    return Network(row["name"], row["bridge"], IPv4Network(row["subnet"]), IPv4Address(row["gateway"]))


def _attachment_row(connection: Connection, name: str, owner_id: str) -> Row | None:
    row: Row | None = connection.execute(
        "SELECT * FROM network_addresses WHERE network = ? AND kind = 'container' AND owner = ?", (name, owner_id)
    ).fetchone()
    return row


def _used(connection: Connection, found: Network) -> set[IPv4Address]:
    rows = connection.execute("SELECT address FROM network_addresses WHERE network = ?", (found.name,))
    return {found.gateway, *(IPv4Address(row["address"]) for row in rows)}


def _owners(connection: Connection, name: str) -> list[str]:
    rows = connection.execute(
        "SELECT owner FROM network_addresses WHERE network = ? AND kind = 'container' ORDER BY owner", (name,)
    )
    return [row["owner"] for row in rows]
