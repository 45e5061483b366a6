"""The switch of a project, kept to what is recorded: which sets are active, and where their replicas are.

The records decide (``records.activate`` is the commit); ``align`` brings the switch to them and is safe to call at
any time: after a crash between the two, after a replica came back at another address, after HAProxy was killed.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress

import msgspec

from bennu.compose.model import Service
from bennu.config import Settings
from bennu.engine.embedded.records import EngineRecords
from bennu.engine.embedded.replicas import network_name
from bennu.engine.embedded.routing import (
    candidate_servers,
    frontends,
    held_servers,
    servers,
    wants_host_port,
)
from bennu.engine.sets import HoldObservation, ReplicaObservation, SetId, SetSpec
from bennu.errors import Conflict
from bennu.host import locks, network
from bennu.runtime.networks import Networks
from bennu.store.images import Images
from bennu.switch import drain
from bennu.switch.config import streams
from bennu.switch.model import ANY, Bind, Canary, Frontend, Server
from bennu.switch.switch import Switch


class Traffic:
    """The switches of one root's projects."""

    def __init__(self, settings: Settings, records: EngineRecords, networks: Networks, images: Images) -> None:
        self._settings = settings
        self._records = records
        self._networks = networks
        self._images = images
        self._switches: dict[str, Switch] = {}

    def switch(self, project: str) -> Switch:
        """The switch of a project."""
        if project not in self._switches:
            self._switches[project] = Switch(self._settings, project)
        return self._switches[project]

    @contextmanager
    def watching(self, projects: Iterable[str], wakes: Iterable[int]) -> Iterator[int]:
        """One descriptor: it can be read when one of ``wakes`` can, or when a process of these switches has ended."""
        with ExitStack() as stack:
            together = stack.enter_context(select.epoll())
            for wake in wakes:
                together.register(wake, select.EPOLLIN)
            for pid in (pid for project in projects for pid in self.switch(project).pids()):
                with suppress(ProcessLookupError):  # it ended just now, and tending will see to it
                    ending = os.pidfd_open(pid)
                    stack.callback(os.close, ending)
                    together.register(ending, select.EPOLLIN)
            yield together.fileno()

    def choose_ports(self, project: str, services: Iterable[Service]) -> None:
        """Find a host port for each port that is published on any, once and for all."""
        for service in services:
            for port in wants_host_port(service):
                key = (project, service.name, port.target, port.protocol)
                if self._records.host_port(*key) is None:
                    found = network.free_port(port.host_ip or "", datagrams=port.protocol == "udp")
                    self._records.choose_host_port(*key, found)

    def refuse_taken(self, project: str, services: Iterable[Service]) -> None:
        """``Conflict`` where somebody else listens on a host port that a service is to be published on.

        Told before anything starts; what takes a port afterwards is found by the switch.
        """
        ours = {bind for frontend in self.switch(project).state().frontends for bind in frontend.binds}
        wanted = {
            (port.host_ip or "0.0.0.0", port.published): service.name  # noqa: S104 - compared
            for service in services
            for port in service.ports
            if port.published is not None
            and port.protocol == "tcp"
            and Bind(port.host_ip or ANY, port.published) not in ours
        }
        # who listens takes a while to find out, and most deploys want no new port
        taken = {(str(address), port) for address, port in network.listeners().values()} if wanted else set()
        for (address, port), name in wanted.items():
            if (address, port) in taken or not _can_listen(address, port):
                raise Conflict(
                    f"port {port} of service {name!r} is in use by another program",
                    f"`ss -ltnp sport = :{port}` names it; publish another port",
                )

    def put_active(
        self,
        spec: SetSpec,
        replicas: Iterable[ReplicaObservation],
        ready: Mapping[str, bool],
        holds: Iterable[HoldObservation],
    ) -> None:
        """``put`` for a set that is active; nothing for one that has ceased to be meanwhile."""
        with self._steering(spec.project):
            if self._records.active(spec.project).get(spec.service.name) == spec.id:
                self.put(spec, replicas, ready, holds)

    def put(
        self,
        spec: SetSpec,
        replicas: Iterable[ReplicaObservation],
        ready: Mapping[str, bool],
        holds: Iterable[HoldObservation],
    ) -> None:
        """Tell the switch where a set's replicas are and which of them take requests; nothing if it knows.

        Held replicas that are to get requests beside it do too.
        """
        self._put(spec, (*servers(spec, replicas, ready), *held_servers(spec, holds)))

    def _put(self, spec: SetSpec, members: tuple[Server, ...]) -> None:
        switch = self.switch(spec.project)
        known = switch.state().find(spec.service.name, spec.id)
        if known is None or _sorted(known.servers) != _sorted(members):
            switch.put_set(spec.service.name, spec.id, members)

    def propose(self, project: str, placed: Iterable[tuple[SetSpec, Mapping[int, str]]]) -> None:
        """Make these sets the candidates and no others; with the addresses that their replicas have, by index."""
        with self._steering(project):
            candidates: dict[str, str] = {}
            for spec, addresses in placed:
                self._put(spec, candidate_servers(spec, addresses))
                candidates[spec.service.name] = spec.id
            self.switch(project).propose(candidates)
            self._align(project)

    def put_candidate(self, spec: SetSpec, addresses: Mapping[int, str]) -> None:
        """Tell the switch of a candidate's replicas before they start, so that they ask as such from the beginning;
        nothing for a set that is none.
        """
        with self._steering(spec.project):
            if self.switch(spec.project).state().candidates.get(spec.service.name) == spec.id:
                self._put(spec, candidate_servers(spec, addresses))

    def share(self, project: str, trials: Iterable[tuple[SetSpec, SetId, int]]) -> None:
        """Give these sets their percents of the traffic of their services, where the sets named after them are active.

        ``Conflict`` where another set is active, or where the new one does not serve a port that the old one does.
        """
        with self._steering(project):
            self._align(project)
            active = self._records.active(project)
            state = self.switch(project).state()
            canaries: dict[str, Canary] = {}
            for spec, old, percent in trials:
                service = spec.service.name
                if active.get(service) != old:
                    raise Conflict(f"set {old!r} of service {service!r} is not active", "make a new plan")
                ports = {(one.port, one.protocol) for one in streams(state) if one.service == service}
                lost = sorted(ports - {(one.port, one.protocol) for one in self._frontends(project, [spec])})
                if lost:
                    raise Conflict(
                        f"canary of service {service!r}: the new set does not serve port {lost[0][0]}/{lost[0][1]}",
                        "ports are changed without a canary: leave `x-bennu.canary` away for this change",
                    )
                canaries[service] = Canary(spec.id, percent)
            self.switch(project).share(canaries)

    def end_shares(self, project: str) -> None:
        """All traffic of a project is its active sets' again."""
        with self._steering(project):
            if self.switch(project).state().canaries:
                self.switch(project).share({})

    def canaries(self, project: str) -> dict[str, int]:
        """The sets that have a share of the traffic without being active, with their percents."""
        return {one.set: one.percent for one in self.switch(project).state().canaries.values()}

    def activate(self, project: str, sets: Mapping[str, SetId]) -> None:
        """``align`` after these sets have been recorded as active: canaries of their services end with it."""
        with self._steering(project):
            self._align(project)
            canaries = self.switch(project).state().canaries
            if canaries.keys() & sets:
                self.switch(project).share({name: one for name, one in canaries.items() if name not in sets})

    def align(self, project: str) -> None:
        """Make the switch what the records say, with listeners for the active sets and no others."""
        with self._steering(project):  # who read the records earlier must not have the last word
            self._align(project)

    def remove(self, project: str) -> None:
        """End a project's switch. Its sets are no longer active by now."""
        with self._steering(project):
            self.switch(project).remove()

    def _steering(self, project: str) -> AbstractContextManager[str | None]:
        return locks.held(self._settings.locks / f"traffic-{project}.lock", subject=f"the traffic of {project!r}")

    def _align(self, project: str) -> None:
        switch = self.switch(project)
        active = self._records.active(project)
        state = switch.state()
        wanted = self._listeners(project, active, state.candidates)
        routed = {service: name for service, name in active.items() if state.find(service, name) is not None}
        listening = tuple(one for one in wanted if one.service in routed or one.service in state.candidates)
        gone = [service for service in state.active if service not in active]
        if gone:
            switch.deactivate(gone)
            state = switch.state()
        current = {service: state.active.get(service) for service in routed}
        if current != routed or set(state.frontends) != set(listening):
            switch.activate({s: n for s, n in routed.items() if current[s] != n}, frontends=listening)

    def _listeners(
        self, project: str, active: Mapping[str, SetId], candidates: Mapping[str, str]
    ) -> tuple[Frontend, ...]:
        """The frontends of active sets; and where a candidate has more ports, these at its stable address alone."""
        found = self._frontends(project, self._specs(project, active).values())
        known = {(one.service, one.port, one.protocol == "udp") for one in found}
        stable = {str(address) for address in self._networks.service_addresses(network_name(project)).values()}
        more = [
            msgspec.structs.replace(one, binds=tuple(bind for bind in one.binds if bind.address in stable))
            for one in self._frontends(project, self._specs(project, candidates).values())
            if (one.service, one.port, one.protocol == "udp") not in known
        ]
        return (*found, *(one for one in more if one.binds))

    def forget_set(self, spec: SetSpec) -> None:
        """The switch need not know this set any more, which is not active."""
        with self._steering(spec.project):
            self._align(spec.project)  # whoever made another one active may have died before it told the switch
            canaries = self.switch(spec.project).state().canaries
            if canaries.get(spec.service.name, Canary("", 0)).set == spec.id:
                self.switch(spec.project).share({n: one for n, one in canaries.items() if n != spec.service.name})
            self.switch(spec.project).remove_set(spec.service.name, spec.id)

    def drain_server(self, spec: SetSpec, name: str, timeout_seconds: float, cancel: threading.Event) -> int:
        """Wait until a server that gets no new requests has none left; how many it has when time is up."""
        switch = self.switch(spec.project)
        return drain.wait(lambda: switch.server_sessions(name), timeout_seconds, cancel)

    def is_switched(self, spec: SetSpec) -> bool:
        """Whether the set has any port that HAProxy answers for, so that its traffic can be shared."""
        return any(one.protocol != "udp" and one.binds for one in self._frontends(spec.project, [spec]))

    def is_served(self, spec: SetSpec) -> bool:
        """Whether the set has any port that the switch answers for."""
        return bool(self._frontends(spec.project, [spec]))

    def _specs(self, project: str, chosen: Mapping[str, str]) -> dict[str, SetSpec]:
        sets = {str(name): record.spec for name, record in self._records.sets(project).items()}
        return {service: sets[name] for service, name in chosen.items() if name in sets}

    def _frontends(self, project: str, specs: Iterable[SetSpec]) -> tuple[Frontend, ...]:
        every = list(specs)
        configs = {spec.service.name: self._images.get(spec.image).config.config for spec in every}
        chosen: dict[tuple[str, int, str], int] = {
            (spec.service.name, port.target, port.protocol): found
            for spec in every
            for port in wants_host_port(spec.service)
            if (found := self._records.host_port(project, spec.service.name, port.target, port.protocol)) is not None
        }
        addresses = {name: str(one) for name, one in self._networks.service_addresses(network_name(project)).items()}
        return frontends([spec.service for spec in every], configs, addresses, chosen)


def _can_listen(address: str, port: int) -> bool:
    """Whether the kernel lets HAProxy have an address: beside others of its kind, as they share ports."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            trial.bind((address, port))
            trial.listen(1)
        except OSError as error:
            return error.errno != errno.EADDRINUSE
    return True


def _sorted(members: Iterable[Server]) -> list[Server]:
    return sorted(members, key=lambda server: server.name)
