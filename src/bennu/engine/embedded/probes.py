"""Probes: a command inside a replica, or a request from the host to its address. What they say is all they give."""

from __future__ import annotations

import socket
import time
from typing import Final

import msgspec

from bennu.compose.extension import Probe
from bennu.engine.embedded.health import Answer, Check, HealthState, after
from bennu.engine.sets import ReplicaObservation
from bennu.errors import BennuError
from bennu.runtime import exec as execution
from bennu.runtime.containers import Containers
from bennu.runtime.records import Record

TIMED_OUT: Final = 124
SHOWN_BYTES: Final = 2048


class Asked(msgspec.Struct, frozen=True):
    """What came of one probe: of which start of the replica, when it began (Unix seconds), what was answered."""

    started: float
    began: float
    answer: Answer

    def told(self, check: Check, state: HealthState) -> HealthState:
        """The state with this taken in; as it was where the replica has been started anew meanwhile."""
        return after(check, state, self.answer, self.began) if state.started == self.started else state


def ask(containers: Containers, record: Record, replica: ReplicaObservation, check: Check, state: HealthState) -> Asked:
    """Probe a replica whose state is known."""
    began = time.time()
    return Asked(state.started, began, probe(containers, record, replica.address, check))


def probe(containers: Containers, record: Record, address: str | None, check: Check) -> Answer:
    """Probe a running replica once. Never raises for what the replica does."""
    if isinstance(check.test, Probe):
        return _request(check.test, address, check.timeout_seconds)
    kind, *words = check.test
    if kind == "CMD-SHELL":
        shell = record.config.shell or ("/bin/sh", "-c")
        words = [*shell, *words]
    wanted = execution.Exec(command=tuple(words))
    try:
        done = execution.collect(
            containers, record, wanted, timeout_seconds=check.timeout_seconds, limit_bytes=SHOWN_BYTES
        )
    except (BennuError, OSError) as error:  # it has ended, or is being removed
        return Answer(1, str(error))
    output = done.output.decode(errors="replace")
    if done.status == TIMED_OUT:
        output = f"no end after {check.timeout_seconds:g} s\n{output}"
    return Answer(done.status, output)


def _request(wanted: Probe, address: str | None, timeout_seconds: float) -> Answer:
    if address is None:
        return Answer(1, "the replica has no address")
    import http.client  # with what it brings along it would cost every start a hundredth of a second

    try:
        if wanted.kind == "tcp":
            socket.create_connection((address, wanted.port), timeout_seconds).close()
            return Answer(0, "")
        connection = http.client.HTTPConnection(address, wanted.port, timeout=timeout_seconds)
        try:
            connection.request("GET", wanted.path, headers={"Connection": "close"})
            response = connection.getresponse()
            body = response.read(SHOWN_BYTES).decode(errors="replace")
        finally:
            connection.close()
    except TimeoutError:
        return Answer(TIMED_OUT, f"no answer after {timeout_seconds:g} s")
    except (OSError, http.client.HTTPException) as error:
        return Answer(1, str(error))
    return Answer(0 if response.status < 400 else 1, f"{body}\n{response.status} {response.reason}")
