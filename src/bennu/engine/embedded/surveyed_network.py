"""What is around the replicas, looked at closely: bridge, addresses, ports of the bridge, rules, forwarding, volumes.

The host's links and addresses come by two dumps, its rules by one run of nft. What the rules should be is what nft
makes of the same scripts in a network of its own, since nft writes rules in a form of its own; that is tried once for
each script.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from bennu.config import Settings
from bennu.engine.embedded.records import EngineRecords, SetRecord
from bennu.engine.embedded.replicas import network_name
from bennu.engine.sets import SetId
from bennu.engine.survey import Facts
from bennu.host import network_state, nftables
from bennu.host.network_state import Links
from bennu.host.tasks import read
from bennu.runtime import firewall
from bennu.runtime import options as labels
from bennu.runtime.addresses import port_name
from bennu.runtime.containers import Containers
from bennu.runtime.networks import Network
from bennu.runtime.volumes import Volumes


class NetworkSurvey:
    """The surroundings of the projects of one root."""

    def __init__(self, settings: Settings, containers: Containers, records: EngineRecords) -> None:
        self._settings = settings
        self._containers = containers
        self._networks = containers.networks
        self._records = records
        self._rendered: dict[str, dict[str, tuple[str, ...]]] = {}

    def facts(
        self, project: str, known: Mapping[SetId, SetRecord], udp: tuple[str, str], names: Mapping[str, str]
    ) -> Iterator[Facts]:
        """Everything about a project's network and volumes. ``udp``: its table for datagrams and the script;
        ``names``: what its living containers are called, by their ids.
        """
        found = self._networks.get(network_name(project))
        if found is not None:
            links = network_state.links()
            yield from self._bridge(found, links)
            yield from self._ports(found, names, links)
            yield self._strangers(found, known)
        networks = self._networks.walk()
        if networks:
            own = firewall.table_name(self._settings.key)
            pairs = [(one.bridge, one.subnet) for one in networks]
            yield self._rules({own: firewall.ruleset(self._settings.key, pairs), udp[0]: udp[1]})
            yield _forwarding(networks)
        yield from volume_facts(self._containers.volumes, list(known.values()))

    def _bridge(self, found: Network, links: Links) -> Iterator[Facts]:
        state = links.texts.get(found.bridge, "missing").split()[0]
        yield Facts(
            kind="bridge",
            subject=found.name,
            want={found.bridge: "up"},
            have={} if state == "missing" else {found.bridge: state},
        )
        wanted = {f"{found.gateway}/{found.subnet.prefixlen}": "the gateway"}
        services = self._networks.service_addresses(found.name)
        wanted |= {f"{address}/32": f"service {service}" for service, address in services.items()}
        there = [
            words[0]
            for words in map(str.split, network_state.addresses(links))
            if words[1] == found.bridge and "." in words[0]
        ]
        have = {address: wanted.get(address, "nobody's") for address in there}
        yield Facts(kind="stable-address", subject=found.name, want=wanted, have=have)

    def _ports(self, found: Network, names: Mapping[str, str], links: Links) -> Iterator[Facts]:
        owners = self._networks.owners_in(found.name)
        ports = {port_name(self._settings.key, address): owner for owner, address in owners.items()}
        there = {port for port, bridge in links.masters.items() if bridge == found.bridge}
        for port, owner in ports.items():
            if owner in names:
                plugged = {port: f"in {found.bridge}"}
                yield Facts(kind="plug", subject=names[owner], want=plugged, have=plugged if port in there else {})
        extra = dict.fromkeys(there - ports.keys(), "an interface that bennu did not put there")
        yield Facts(kind="bridge-port", subject=found.name, have=extra)

    def _strangers(self, found: Network, known: Mapping[SetId, SetRecord]) -> Facts:
        """Containers of no set that are in the project's network."""
        strange = {}
        for owner in self._networks.owners_in(found.name):
            record = self._containers.records.get(owner)
            if record is not None and record.labels.get(labels.HELD, record.labels.get(labels.SET)) not in known:
                strange[record.name] = f"a container of no set, in the network {found.name}"
        return Facts(kind="container", have=strange)

    def _rules(self, scripts: Mapping[str, str]) -> Facts:
        want: dict[str, str] = {}
        have: dict[str, str] = {}
        there = nftables.listing()
        for name, script in scripts.items():
            if script not in self._rendered:
                is_empty = script == nftables.table_header(name)
                self._rendered[script] = {} if is_empty else nftables.rendered(script)
            want |= _numbered(name, self._rendered[script].get(name, ()))
            have |= _numbered(name, there.get(name, ()))
        return Facts(kind="nftables", want=want, have=have)


def _numbered(table: str, lines: tuple[str, ...]) -> dict[str, str]:
    """The lines of a table by themselves; the same line twice counts as two. Their order is that of their chain."""
    found: dict[str, str] = {}
    counts: dict[str, int] = {}
    for line in lines:
        key = f"table {table}: {line}"
        counts[key] = counts.get(key, 0) + 1
        found[key if counts[key] == 1 else f"{key} ({counts[key]})"] = "a rule"
    return found


def _forwarding(networks: tuple[Network, ...]) -> Facts:
    """The kernel's settings that the networks stand on."""
    paths = {"net.ipv4.ip_forward": "/proc/sys/net/ipv4/ip_forward"}
    paths |= {
        f"net.ipv4.conf.{one.bridge}.route_localnet": f"/proc/sys/net/ipv4/conf/{one.bridge}/route_localnet"
        for one in networks
        if Path(f"/proc/sys/net/ipv4/conf/{one.bridge}").exists()
    }
    return Facts(
        kind="forwarding",
        want=dict.fromkeys(paths, "1"),
        have={name: read(path).decode().strip() for name, path in paths.items()},
    )


def volume_facts(volumes: Volumes, known: list[SetRecord]) -> Iterator[Facts]:
    """The volumes that sets name: there, with their directory and their labels."""
    wanted: dict[str, dict[str, str]] = {}
    have: dict[str, dict[str, str]] = {}
    for record in known:
        for volume in record.spec.volumes.values():
            if volume.name in wanted:
                continue
            asked = {} if volume.external else {**volume.labels, labels.PROJECT: record.spec.project}
            found = volumes.get(volume.name)
            wanted[volume.name] = {"volume": "recorded", "directory": "there", **_labels(asked)}
            if not volume.external:
                wanted[volume.name]["driver options"] = _plain(volume.driver_opts)
            if found is None:
                have[volume.name] = {}
                continue
            is_there = {"directory": "there"} if found.path.is_dir() else {}
            mine = {name: text for name, text in _labels(found.labels).items() if name in wanted[volume.name]}
            have[volume.name] = {"volume": "recorded", **is_there, **mine}
            if not volume.external:
                have[volume.name]["driver options"] = _plain(found.options)
    for name, facts in wanted.items():
        yield Facts(kind="volume", subject=name, want=facts, have=have[name])


def _plain(options: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(options.items())) or "none"


def _labels(given: Mapping[str, str]) -> dict[str, str]:
    return {f"label {name}": msgspec.json.encode(value).decode() for name, value in given.items()}
