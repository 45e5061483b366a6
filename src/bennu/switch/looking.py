"""A switch looked at closely: what the newest HAProxy process does and has on its disk, beside what it should.

Nothing is told to the process, and nothing judged: ``running`` has the commands that would bring the one to the other.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

import msgspec

from bennu.errors import Unavailable
from bennu.host import network, process, tasks
from bennu.switch.config import backend_names, map_entries, server_name, streams
from bennu.switch.control import Control
from bennu.switch.haproxy import Generation, Processes
from bennu.switch.model import ANY, SwitchState

DELETED: Final = " (deleted)"
_SERVER: Final = "    server "


class SwitchLook(msgspec.Struct, frozen=True, kw_only=True):
    """What should be (``wanted_…``) and what is. Texts by name; empty where there is no process.

    ``servers``: ``backend/server`` -> address and whether it takes requests. ``lines``: of the configuration, without
    servers, which come and go while it runs. ``listeners``: where it listens. ``program``: what it executes;
    ``is_replaced``: that file is not there any more.
    """

    state: SwitchState
    is_needed: bool
    pid: int | None = None
    wanted_lines: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    wanted_map: dict[str, str] = {}
    map: dict[str, str] = {}
    wanted_servers: dict[str, str] = {}
    servers: dict[str, str] = {}
    wanted_frontends: tuple[str, ...] = ()
    frontends: dict[str, str] = {}
    wanted_listeners: dict[str, str] = {}
    listeners: dict[str, str] = {}
    program: str = ""
    is_replaced: bool = False


def look(state: SwitchState, processes: Processes) -> SwitchLook:
    """The newest process beside the state. One that ends meanwhile is none."""
    needed = bool(streams(state))
    wanted_listeners = {_place(bind.address, bind.port): one.service for one in streams(state) for bind in one.binds}
    found = processes.alive()
    if found:
        with suppress(Unavailable):
            return _look(state, found[0], processes, needed, wanted_listeners)
    others = {_place(str(at), port): "another program" for at, port in network.listeners().values()}
    there = {place: others[place] for place in wanted_listeners if place in others}
    return SwitchLook(state=state, is_needed=needed, wanted_listeners=wanted_listeners, listeners=there)


def _look(
    state: SwitchState, newest: Generation, processes: Processes, needed: bool, wanted_listeners: dict[str, str]
) -> SwitchLook:
    running = newest.observe()
    wanted, there = processes.texts(newest, state)
    program = tasks.executable(newest.pid)
    return SwitchLook(
        state=state,
        is_needed=needed,
        pid=newest.pid,
        wanted_lines=_without_servers(wanted),
        lines=_without_servers(there),
        wanted_map=map_entries(state),
        map=running.map,
        wanted_servers={f"{name}": text for name, text in _servers(state)},
        servers=dict(_running_servers(newest.control)),
        wanted_frontends=tuple(f"{one.service}.{one.port}" for one in streams(state)),
        frontends=_frontends(newest.control),
        wanted_listeners=wanted_listeners,
        listeners=_listeners(newest.pid, wanted_listeners),
        program=program.removesuffix(DELETED),
        is_replaced=program.endswith(DELETED),
    )


def _without_servers(text: str) -> tuple[str, ...]:
    return tuple(line for line in text.splitlines() if not line.startswith(_SERVER))


def _servers(state: SwitchState) -> Iterator[tuple[str, str]]:
    for placed in state.sets:
        for frontend in (one for one in streams(state) if one.service == placed.service):
            for backend in backend_names(frontend, placed.slot):
                for server in placed.servers:
                    text = f"{server.address}:{server.port_of(frontend)} {'ready' if server.ready else 'not ready'}"
                    yield f"{backend}/{server_name(placed.set, server)}", text


def _running_servers(control: Control) -> Iterator[tuple[str, str]]:
    columns: list[str] = []
    for words in map(str.split, control.ask("show servers state").splitlines()):
        if words[:1] == ["#"]:
            columns = words[1:]
        elif columns and len(words) == len(columns):
            row = dict(zip(columns, words, strict=True))
            text = f"{row['srv_addr']}:{row['srv_port']} {'ready' if row['srv_admin_state'] == '0' else 'not ready'}"
            if row["srv_uweight"] != row["srv_iweight"]:
                text += f" weight {row['srv_uweight']} instead of {row['srv_iweight']}"
            yield f"{row['be_name']}/{row['srv_name']}", text


def _frontends(control: Control) -> dict[str, str]:
    lines = (line for line in control.ask("show stat -1 1 -1").splitlines() if line.strip())
    return {row["# pxname"]: row["status"] for row in csv.DictReader(lines)}


def _listeners(pid: int, wanted: dict[str, str]) -> dict[str, str]:
    """Who listens where the switch should."""
    own = process.socket_inodes(pid)
    found: dict[str, str] = {}
    for inode, (address, port) in network.listeners().items():
        place = _place(str(address), port)
        if place not in wanted:
            continue
        text = wanted[place] if inode in own else "another program"
        if found.get(place, text) != text:
            text = f"{wanted[place]} and another program"
        found[place] = text
    return found


def _place(address: str, port: int) -> str:
    address = "0.0.0.0" if address == ANY else address  # noqa: S104 - compared
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
