"""What is around replicas, made anew: the switch's process, the network's rules and addresses; strangers removed."""

from __future__ import annotations

from ipaddress import IPv4Interface

from bennu.config import Settings
from bennu.engine.actions import Receipt, RemoveStray, RenewSurroundings
from bennu.engine.embedded.records import EngineRecords
from bennu.engine.embedded.replicas import network_name
from bennu.engine.embedded.traffic import Traffic
from bennu.engine.sets import SetId
from bennu.errors import Conflict, NotFound
from bennu.host import network, network_state
from bennu.runtime import options as labels
from bennu.runtime.addresses import port_name
from bennu.runtime.containers import Containers


class Surroundings:
    """Those of the projects of one root."""

    def __init__(self, settings: Settings, records: EngineRecords, containers: Containers, traffic: Traffic) -> None:
        self._settings = settings
        self._records = records
        self._containers = containers
        self._traffic = traffic

    def execute(self, action: RenewSurroundings | RemoveStray) -> Receipt:
        """Do it to its end."""
        match action:
            case RenewSurroundings():
                return self._renew(action.project)
            case RemoveStray():
                return self._remove(action)

    def _renew(self, project: str) -> Receipt:
        taken = self._take_away(network_name(project))
        self._containers.networks.reconcile()
        self._traffic.align(project)
        self._traffic.switch(project).renew()
        more = f"; {', '.join(taken)} taken away" if taken else ""
        return Receipt(summary=f"made anew from what is recorded{more}")

    def _take_away(self, name: str) -> list[str]:
        """Addresses and ports of the bridge that are nobody's."""
        networks = self._containers.networks
        found = networks.get(name)
        if found is None or not network.exists(found.bridge):
            return []
        mine = {str(found.gateway), *networks.service_addresses(name).values()}
        taken = []
        links = network_state.links()
        for words in map(str.split, network_state.addresses(links)):
            if words[1] == found.bridge and "." in words[0] and words[0].partition("/")[0] not in mine:
                network.remove_address(found.bridge, IPv4Interface(words[0]))
                taken.append(f"address {words[0]}")
        ports = {port_name(self._settings.key, address) for address in networks.owners_in(name).values()}
        for port, bridge in links.masters.items():
            if bridge == found.bridge and port not in ports:
                network.release_port(port)
                taken.append(f"port {port}")
        return taken

    def _remove(self, action: RemoveStray) -> Receipt:
        try:
            record = self._containers.resolve(action.container)
        except NotFound:
            return Receipt(summary="is gone")
        known = self._records.sets(action.project)
        given = record.labels
        found = known.get(SetId(given.get(labels.SET, "")))
        index = given.get(labels.REPLICA, "")
        is_replica = found is not None and index.isdigit() and 1 <= int(index) <= found.spec.replicas
        if is_replica or labels.HELD in given:
            raise Conflict(f"container {record.name!r} is a replica of project {action.project!r}")
        self._containers.remove(record.id, force=True)
        return Receipt(summary="removed")
