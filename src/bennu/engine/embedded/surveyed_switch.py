"""A project's switch as facts: the records against the committed switch, and that against what HAProxy does."""

from __future__ import annotations

from collections.abc import Iterator

from bennu.config import Settings
from bennu.engine.embedded.records import EngineRecords
from bennu.engine.embedded.traffic import Traffic
from bennu.engine.sets import SetId
from bennu.engine.survey import Facts
from bennu.errors import BennuError
from bennu.switch.looking import SwitchLook

ATTEMPTS = 3
"""A look that the switch changed under is taken again."""


class SwitchSurvey:
    """The switches of the projects of one root."""

    def __init__(self, settings: Settings, records: EngineRecords, traffic: Traffic) -> None:
        self._settings = settings
        self._records = records
        self._traffic = traffic

    def datagrams(self, project: str) -> tuple[str, str]:
        """The table for datagrams, and what should be in it."""
        return self._traffic.switch(project).datagram_table()

    def facts(self, project: str, notes: list[str]) -> Iterator[Facts]:
        """Everything about the switch of a project."""
        look = self._look(project)
        if look is None:
            notes.append("the switch was being changed while it was looked at")
            return
        active = self._records.active(project)
        served = {service: str(name) for service, name in active.items() if self._is_served(project, name)}
        # a service without ports is active there as well, and nobody asks for it
        there = {one: name for one, name in look.state.active.items() if one in served or active.get(one) != name}
        yield Facts(kind="switch-active", want=served, have=there)
        yield Facts(
            kind="switch-process",
            want={"haproxy": "running"} if look.is_needed else {},
            have={"haproxy": "running"} if look.pid is not None else {},
        )
        yield Facts(kind="published", want=look.wanted_listeners, have=look.listeners)
        if look.pid is not None:
            yield from _process(look)

    def _is_served(self, project: str, name: SetId) -> bool:
        record = self._records.find(name, project)
        try:
            return record is not None and self._traffic.is_served(record.spec)
        except BennuError:  # its image is damaged, which is told elsewhere
            return record is not None and name in self._traffic.switch(project).state().active.values()

    def _look(self, project: str) -> SwitchLook | None:
        switch = self._traffic.switch(project)
        for _ in range(ATTEMPTS):
            found = switch.look()
            if switch.state() == found.state:
                return found
        return None


def _process(look: SwitchLook) -> Iterator[Facts]:
    want = {f"line {number}": line for number, line in enumerate(look.wanted_lines, start=1)}
    have = {f"line {number}": line for number, line in enumerate(look.lines, start=1)}
    yield Facts(kind="switch-config", want=want, have=have)
    yield Facts(kind="switch-map", want=look.wanted_map, have=look.map)
    yield Facts(kind="switch-server", want=look.wanted_servers, have=look.servers)
    yield Facts(
        kind="switch-frontend",
        want=dict.fromkeys(look.wanted_frontends, "open"),
        have={name: "open" if state == "OPEN" else state.lower() for name, state in look.frontends.items()},
    )
    replaced = "a program that the host has replaced since"
    yield Facts(
        kind="switch-program",
        want={"haproxy": look.program},
        have={"haproxy": f"{look.program}, {replaced}" if look.is_replaced else look.program},
    )
