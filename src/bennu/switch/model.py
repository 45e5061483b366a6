"""What the switch is to do, as values, and every change of it as a pure function from state to state.

A service has *frontends*, one for each of its ports, and *sets*, of which one is active. In HAProxy a set lives in a
*slot* of its service: backends that are always there, one for each port, into which servers can be put while it runs.
A map names the slot that is active, so that moving any number of services is one change of a map. The state is stored
as JSON before HAProxy is told anything: it always describes the committed switch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import Final, Literal

import msgspec

from bennu.errors import Conflict, Invalid, NotFound

Protocol = Literal["http", "tcp", "udp"]

SLOTS: Final = 4
"""Slots that a service begins with, and gains when it needs one more; gaining means a new HAProxy process."""
ANY: Final = "*"


class Bind(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a frontend listens. ``address``: IPv4, IPv6, or ``*`` for every IPv4 address of the host."""

    address: str
    port: int


class Frontend(msgspec.Struct, frozen=True, omit_defaults=True):
    """One port of a service. ``port`` is the servers' own; requests arrive at ``binds``.

    ``proxy_header`` tells servers the client's address by the PROXY protocol, version 2 (not for udp).
    """

    service: str
    port: int
    protocol: Protocol = "tcp"
    binds: tuple[Bind, ...] = ()
    proxy_header: bool = False


class Server(msgspec.Struct, frozen=True, omit_defaults=True):
    """One replica as the switch sees it. ``ready`` False keeps new requests from it.

    ``name`` is unique in its set. ``ports`` names those service ports that this replica serves elsewhere.
    """

    name: str
    address: str
    ready: bool = True
    ports: dict[int, int] = {}

    def port_of(self, frontend: Frontend) -> int:
        """Where this replica serves a frontend's port."""
        return self.ports.get(frontend.port, frontend.port)


class PlacedSet(msgspec.Struct, frozen=True):
    """A set that the switch knows: where it is placed, and its servers by name."""

    service: str
    set: str
    slot: int
    servers: tuple[Server, ...]


class Canary(msgspec.Struct, frozen=True):
    """A set that gets a share of a service's new requests (HTTP) or connections (TCP), in percent."""

    set: str
    percent: int


class SwitchState(msgspec.Struct, frozen=True, omit_defaults=True):
    """The committed switch of one project. Made by the functions below only.

    ``candidates``: sets that are being proven. What their replicas ask of each other's services goes to the candidate;
    what anybody else asks does not.
    """

    frontends: tuple[Frontend, ...] = ()
    sets: tuple[PlacedSet, ...] = ()
    active: dict[str, str] = {}
    canaries: dict[str, Canary] = {}
    candidates: dict[str, str] = {}
    slots: dict[str, int] = {}

    @property
    def services(self) -> tuple[str, ...]:
        """The services that have frontends, in order."""
        return tuple(sorted({frontend.service for frontend in self.frontends}))

    def find(self, service: str, set_id: str) -> PlacedSet | None:
        """A set, or None if the switch does not know it."""
        return next((one for one in self.sets if one.service == service and one.set == set_id), None)

    def active_set(self, service: str) -> PlacedSet | None:
        """The set that has a service's traffic, or None."""
        name = self.active.get(service)
        return None if name is None else self.find(service, name)


def with_frontends(state: SwitchState, frontends: Iterable[Frontend]) -> SwitchState:
    """The state with these frontends and no others. ``Conflict`` where two want one port, ``Invalid`` values."""
    wanted = tuple(sorted(frontends, key=lambda one: (one.service, one.port, one.protocol == "udp")))
    _check(wanted)
    services = {frontend.service for frontend in wanted}
    slots = {service: max(state.slots.get(service, SLOTS), SLOTS) for service in sorted(services)}
    return msgspec.structs.replace(state, frontends=wanted, slots=_grown(slots, state.sets))


def with_set(state: SwitchState, service: str, set_id: str, servers: Iterable[Server]) -> SwitchState:
    """The state with a set's servers as given, in the slot it has or in the first free one."""
    _check_name(service, "service")
    _check_name(set_id, "set")
    members = tuple(sorted(servers, key=lambda one: one.name))
    for server in members:
        _check_name(server.name, "server")
        _check_address(server.address)
    if len({server.name for server in members}) != len(members):
        raise Invalid(f"set {set_id!r}: two of its servers have the same name")
    known = state.find(service, set_id)
    slot = known.slot if known else _free_slot(state, service)
    others = [one for one in state.sets if one is not known]
    sets = sorted([*others, PlacedSet(service, set_id, slot, members)], key=lambda one: (one.service, one.slot))
    return msgspec.structs.replace(state, sets=tuple(sets), slots=_grown(state.slots, sets))


def with_ready(state: SwitchState, service: str, set_id: str, ready: Mapping[str, bool]) -> SwitchState:
    """The state with some of a set's servers, by name, marked ready or not. ``NotFound`` for an unknown set."""
    found = _known(state, service, set_id)
    servers = [msgspec.structs.replace(one, ready=ready.get(one.name, one.ready)) for one in found.servers]
    return with_set(state, service, set_id, servers)


def with_active(state: SwitchState, sets: Mapping[str, str]) -> SwitchState:
    """The state with these services' traffic given to these sets; their canaries end. ``NotFound``: an unknown set."""
    for service, set_id in sets.items():
        _known(state, service, set_id)
    kept = {service: canary for service, canary in state.canaries.items() if service not in sets}
    proven = {service: name for service, name in state.candidates.items() if sets.get(service) != name}
    return msgspec.structs.replace(state, active={**state.active, **sets}, canaries=kept, candidates=proven)


def with_canaries(state: SwitchState, canaries: Mapping[str, Canary]) -> SwitchState:
    """The state with these canaries, by service, and no others. What is active stays. ``NotFound``, ``Invalid``."""
    for service, canary in canaries.items():
        _known(state, service, canary.set)
        if not 0 <= canary.percent <= 100:
            raise Invalid(f"canary of service {service!r}: {canary.percent} is not a percentage")
    return msgspec.structs.replace(state, canaries=dict(sorted(canaries.items())))


def with_candidates(state: SwitchState, sets: Mapping[str, str]) -> SwitchState:
    """The state with these sets, by service, as the candidates and no others. ``NotFound`` for an unknown set."""
    for service, set_id in sets.items():
        _known(state, service, set_id)
    return msgspec.structs.replace(state, candidates=dict(sorted(sets.items())))


def without_active(state: SwitchState, services: Iterable[str]) -> SwitchState:
    """The state with no set of these services active, and without their frontends."""
    gone = set(services)
    return msgspec.structs.replace(
        state,
        frontends=tuple(one for one in state.frontends if one.service not in gone),
        active={service: name for service, name in state.active.items() if service not in gone},
        canaries={service: canary for service, canary in state.canaries.items() if service not in gone},
    )


def without_set(state: SwitchState, service: str, set_id: str) -> SwitchState:
    """The state without a set. ``Conflict`` while it has traffic; not an error if it is not there."""
    canary = state.canaries.get(service)
    if state.active.get(service) == set_id or (canary is not None and canary.set == set_id):
        raise Conflict(f"set {set_id!r} has the traffic of service {service!r}", "activate another set first")
    gone = state.find(service, set_id)
    candidates = {name: one for name, one in state.candidates.items() if (name, one) != (service, set_id)}
    sets = tuple(one for one in state.sets if one is not gone)
    return msgspec.structs.replace(state, sets=sets, candidates=candidates)


def _known(state: SwitchState, service: str, set_id: str) -> PlacedSet:
    found = state.find(service, set_id)
    if found is None:
        raise NotFound(f"set {set_id!r} of service {service!r} is not at the switch")
    return found


def _free_slot(state: SwitchState, service: str) -> int:
    used = {one.slot for one in state.sets if one.service == service}
    return next(number for number in range(len(used) + 1) if number not in used)


def _grown(slots: Mapping[str, int], sets: Iterable[PlacedSet]) -> dict[str, int]:
    grown = dict(slots)
    for one in sets:
        while one.service in grown and one.slot >= grown[one.service]:
            grown[one.service] += SLOTS
    return grown


def _check(frontends: tuple[Frontend, ...]) -> None:
    owners: dict[tuple[str, str, int], Frontend] = {}
    ports: set[tuple[str, int, str]] = set()
    for frontend in frontends:
        _check_name(frontend.service, "service")
        transport = "udp" if frontend.protocol == "udp" else "tcp"
        if (frontend.service, frontend.port, transport) in ports:
            raise Invalid(f"service {frontend.service!r}: port {frontend.port}/{transport} is given twice")
        ports.add((frontend.service, frontend.port, transport))
        for bind in frontend.binds:
            if bind.address != ANY:
                _check_address(bind.address)
            if not (0 < bind.port < 1 << 16 and 0 < frontend.port < 1 << 16):
                raise Invalid(f"service {frontend.service!r}: {bind.port}:{frontend.port} is not a pair of ports")
            other = owners.setdefault((transport, bind.address, bind.port), frontend)
            if other is not frontend:
                raise Conflict(
                    f"port {bind.port} of {bind.address!r} is wanted by services {other.service!r} and"
                    f" {frontend.service!r}",
                    "publish one of them on another port",
                )


def _check_name(name: str, kind: str) -> None:
    # names become words of HAProxy's language: nothing that could end a word or a line
    if not name or not all(char.isascii() and (char.isalnum() or char in "_-.") for char in name):
        raise Invalid(f"{kind} name {name!r} has other characters than letters, digits, '_', '-' and '.'")


def _check_address(address: str) -> None:
    try:
        ip_address(address)
    except ValueError as error:
        raise Invalid(f"address {address!r} is not an IP address") from error
