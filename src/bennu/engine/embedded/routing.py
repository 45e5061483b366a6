"""What the switch has to listen for, and whom it may ask: services and replicas as the switch's values. Pure.

Each service answers at its stable address on every port that it publishes or exposes, and on the host at those that it
publishes. A port is switched request by request where it speaks HTTP, else connection by connection: its
``app_protocol`` says so; where that is left out, ports 80 and 8080 and the port of an ``http`` probe are taken to
(``docs/decisions/0003-which-ports-are-http.md``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from bennu.compose.model import Port, Service
from bennu.engine.sets import HoldObservation, ReplicaObservation, SetSpec
from bennu.oci.image_config import ContainerConfig
from bennu.switch.model import ANY, Bind, Frontend, Server

HTTP_PORTS: Final = frozenset({80, 8080})
"""What servers of HTTP listen on unless told otherwise."""

HostPort = Mapping[tuple[str, int, str], int]
"""Chosen host ports by service, target and protocol, for ports that are published anywhere."""


def frontends(
    services: Iterable[Service],
    configs: Mapping[str, ContainerConfig],
    addresses: Mapping[str, str],
    chosen: HostPort,
) -> tuple[Frontend, ...]:
    """Every frontend of these services. ``addresses``: stable address by service; ``configs``: images' by service."""
    return tuple(
        Frontend(
            service=service.name,
            port=target,
            protocol="udp" if protocol == "udp" else "http" if _is_http(service, target, ports) else "tcp",
            binds=_binds(ports, target, addresses.get(service.name), chosen.get((service.name, target, protocol))),
        )
        for service in services
        for (target, protocol), ports in _ports(service, configs.get(service.name)).items()
    )


def servers(spec: SetSpec, replicas: Iterable[ReplicaObservation], ready: Mapping[str, bool]) -> tuple[Server, ...]:
    """The servers of a set: its replicas that have an address; ``ready`` by container."""
    return tuple(
        Server(
            name=server_of(spec, replica.index),
            address=replica.address,
            ready=ready.get(replica.container, replica.is_ready),
        )
        for replica in replicas
        if replica.address is not None
    )


def held_servers(spec: SetSpec, holds: Iterable[HoldObservation]) -> tuple[Server, ...]:
    """The servers that held replicas are beside a set. One that nobody stands in for yet is asked in any case."""
    return tuple(
        Server(
            name=held_server(spec, one.replica.index),
            address=one.replica.address,
            ready=one.replica.is_ready or (one.traffic == "leaving" and one.replica.state == "running"),
        )
        for one in holds
        if one.is_server and one.replica.set == spec.id and one.replica.address is not None
    )


def held_server(spec: SetSpec, index: int) -> str:
    """The name of the server that a held replica is."""
    return f"{server_of(spec, index)}-held"


def candidate_servers(spec: SetSpec, addresses: Mapping[int, str]) -> tuple[Server, ...]:
    """The servers of a set whose replicas need not run yet; addresses by replica number."""
    return tuple(Server(name=server_of(spec, index), address=address) for index, address in sorted(addresses.items()))


def server_of(spec: SetSpec, index: int) -> str:
    """The name of the server that a replica is."""
    return f"{spec.id}.{index}"


def takes_requests(replicas: Iterable[ReplicaObservation], leaving: Collection[str] = ()) -> dict[str, bool]:
    """Who of a set takes requests, by container: all that are ready; if none is, all that run, since a guess beats a
    refusal. One that is paused for the moment of a snapshot goes on: its requests wait that long. ``leaving``:
    containers that take none while anybody else can.
    """
    every = tuple(replicas)
    for able in (
        {one.container for one in every if one.is_ready or one.state == "paused"},
        {one.container for one in every if one.state == "running"},
    ):
        if able.difference(leaving):
            return {one.container: one.container in able and one.container not in leaving for one in every}
    return {one.container: one.state == "running" for one in every}


def wants_host_port(service: Service) -> tuple[Port, ...]:
    """The ports of a service that are published on any host port."""
    return tuple(port for port in service.ports if port.published is None)


def _ports(service: Service, config: ContainerConfig | None) -> dict[tuple[int, str], list[Port]]:
    found: dict[tuple[int, str], list[Port]] = {}
    for port in service.ports:
        found.setdefault((port.target, port.protocol), []).append(port)
    for exposed in service.expose:
        found.setdefault((exposed.target, exposed.protocol), [])
    for name in sorted(config.exposed_ports) if config is not None else ():
        number, _, protocol = name.partition("/")
        if number.isdigit() and protocol in {"", "tcp", "udp"}:
            found.setdefault((int(number), protocol or "tcp"), [])
    return found


def _is_http(service: Service, target: int, ports: list[Port]) -> bool:
    said = {port.app_protocol for port in ports if port.app_protocol is not None}
    if said:
        return "http" in said
    probe = service.x_bennu.probe
    return target in HTTP_PORTS or (probe is not None and probe.kind == "http" and probe.port == target)


def _binds(ports: list[Port], target: int, stable: str | None, chosen: int | None) -> tuple[Bind, ...]:
    binds = [] if stable is None else [Bind(stable, target)]
    for port in ports:
        published = port.published if port.published is not None else chosen
        if published is not None:
            binds.append(Bind(port.host_ip or ANY, published))
    return tuple(dict.fromkeys(binds))
