"""What runs against what should: the commands that lead from one to the other, by a pure function.

Every change of the switch, and every repair after a crash, is the same comparison: the state says what should be, a
process says what is. Order matters and is fixed here: servers come in first, then the map moves the traffic, then
servers go out, so that no request ever meets a slot that is not ready for it. A process of an older generation may
have fewer backends; what it does not have is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bennu.switch.config import FRESH, backend_names, map_entries, server_name, server_words, streams
from bennu.switch.control import ServerState
from bennu.switch.model import SwitchState


@dataclass(frozen=True, slots=True)
class Running:
    """What one process does now."""

    backends: frozenset[str]
    servers: tuple[ServerState, ...]
    map: dict[str, str]


@dataclass(frozen=True, slots=True)
class Corrections:
    """Commands in the order of their execution. ``map`` is the map's new content, or None where it is right already.

    ``removals`` may be refused while a connection is open; they are tried again later.
    """

    before: tuple[str, ...] = ()
    map: dict[str, str] | None = None
    after: tuple[str, ...] = ()
    removals: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether everything is as it should be."""
        return not (self.before or self.after or self.removals) and self.map is None


@dataclass(frozen=True, slots=True)
class _Wanted:
    address: str
    port: int
    words: str
    ready: bool


def corrections(state: SwitchState, running: Running) -> Corrections:
    """What to tell a process so that it does what the state says, as far as it has the backends."""
    wanted = {key: one for key, one in _wanted(state) if key[0] in running.backends}
    present = {(one.backend, one.name): one for one in running.servers}
    before, after = [], []
    for key, one in wanted.items():
        name = f"{key[0]}/{key[1]}"
        found = present.get(key)
        if found is None:
            before.append(f"add server {name} {one.words}")
        elif (found.address, found.port) != (one.address, one.port):
            before.append(f"set server {name} addr {one.address} port {one.port}")
        if one.ready and (found is None or found.in_maintenance):
            before.append(f"set server {name} state ready")
        if not one.ready and found is not None and not found.in_maintenance:
            after.append(f"set server {name} state maint")
    gone = [one for key, one in present.items() if key not in wanted]
    after += [f"set server {one.backend}/{one.name} state maint" for one in gone if not one.in_maintenance]
    entries = map_entries(state)
    return Corrections(
        before=tuple(before),
        map=None if running.map == entries else entries,
        after=tuple(after),
        removals=tuple(f"del server {one.backend}/{one.name}" for one in gone),
    )


def _wanted(state: SwitchState) -> Iterator[tuple[tuple[str, str], _Wanted]]:
    frontends = streams(state)
    for placed in state.sets:
        for frontend in (one for one in frontends if one.service == placed.service):
            for backend in backend_names(frontend, placed.slot):
                for server in placed.servers:
                    words = server_words(server, frontend, fresh=backend.endswith(FRESH))
                    yield (
                        (backend, server_name(placed.set, server)),
                        _Wanted(server.address, server.port_of(frontend), words, server.ready),
                    )


def backends_of(state: SwitchState, service: str, set_id: str) -> frozenset[str]:
    """The backends in which a set stands; empty for a set that the switch does not know."""
    placed = state.find(service, set_id)
    if placed is None:
        return frozenset()
    frontends = (one for one in streams(state) if one.service == service)
    return frozenset(name for frontend in frontends for name in backend_names(frontend, placed.slot))
