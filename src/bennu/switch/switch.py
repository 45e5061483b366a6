"""``Switch``: the traffic of one project. Every method is idempotent and can be repeated after a crash at any point.

One rule orders everything: the new state is on disk, durable, before anything is told to HAProxy or the kernel, and
what they are told is always the difference between what they do and what the disk says (``running``). So an activation
is committed when its file is; whoever comes next, ``reconcile`` included, finishes what a dead process began. Changes
that a running HAProxy cannot be told (a port more, a slot more) start its next generation (``haproxy``).
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final

import msgspec

from bennu.config import Settings
from bennu.errors import Corrupt, Unavailable
from bennu.host import files, locks, nftables
from bennu.switch import datagrams, drain, looking, model
from bennu.switch.config import streams, table_name
from bennu.switch.haproxy import Generation, Processes
from bennu.switch.looking import SwitchLook
from bennu.switch.meter import Count, Reading, counts
from bennu.switch.model import Canary, Frontend, Server, SwitchState
from bennu.switch.running import backends_of, corrections

REMOVAL_ATTEMPTS: Final = 5
REMOVAL_PAUSE_SECONDS: Final = 0.01


class SetStatus(msgspec.Struct, frozen=True):
    """A set at the switch, as it is now. ``share``: its percent of the new requests as a canary.

    Counters run from when the set was put, start again with each generation of HAProxy (take a decrease as a new
    start) and count events; ``sessions`` are the requests or connections of this moment.
    """

    service: str
    set: str
    active: bool
    share: int
    ready: int
    servers: int
    sessions: int = 0
    requests: int = 0
    server_errors: int = 0
    connect_failures: int = 0
    response_failures: int = 0
    rate: int = 0
    """Requests or connections of the last second."""

    @property
    def failures(self) -> int:
        """Requests that a client saw fail."""
        return self.server_errors + self.connect_failures + self.response_failures


class SwitchStatus(msgspec.Struct, frozen=True):
    """The switch as it is now. ``draining`` counts older HAProxy processes that still have connections."""

    running: bool
    draining: int
    sets: tuple[SetStatus, ...]


class Switch:
    """The switch of one project. Safe to use from several threads and processes. Needs root for ports below 1024."""

    def __init__(self, settings: Settings, project: str) -> None:
        short = hashlib.sha256(project.encode()).hexdigest()[:8]
        self._project = project
        self._directory = settings.projects / project / "switch"
        self._file = self._directory / "state.json"
        self._lock = settings.locks / f"switch-{short}.lock"
        self._table = f"bennu_{settings.key}_{short}"
        # a Unix socket's path has room for 107 bytes, so the directory is named by a digest
        self._processes = Processes(
            settings.run / "switch" / short,
            f"bennu-{settings.key}-switch-{short}",
            settings.run.parent / "listening.lock",
        )

    def state(self) -> SwitchState:
        """The committed switch; empty where there is none. ``Corrupt`` if its file cannot be read."""
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=SwitchState)
        except FileNotFoundError:
            return SwitchState()
        except msgspec.DecodeError as error:
            raise Corrupt(f"switch state {str(self._file)!r}: {error}") from error

    def ensure(self, frontends: Iterable[Frontend]) -> None:
        """Listen for these frontends and no others. ``Conflict`` where an address is taken: then nothing changes."""
        with self._locked():
            old = self.state()
            self._commit(old, model.with_frontends(old, frontends))

    def put_set(self, service: str, set_id: str, servers: Iterable[Server]) -> None:
        """Make a set known, with these servers and no others. It gets no traffic by that."""
        with self._locked():
            old = self.state()
            self._commit(old, model.with_set(old, service, set_id, servers))

    def set_ready(self, service: str, set_id: str, ready: Mapping[str, bool]) -> None:
        """Mark servers of a set, by name, as taking new requests or not. ``NotFound`` for an unknown set."""
        with self._locked():
            old = self.state()
            self._commit(old, model.with_ready(old, service, set_id, ready))

    def activate(self, sets: Mapping[str, str], *, frontends: Iterable[Frontend] | None = None) -> None:
        """Give these services' traffic to these sets, all at once; their canaries end. Committed when it returns.

        ``frontends`` changes what is listened for in the same step. ``NotFound`` for a set that nobody has put.
        """
        with self._locked():
            old = self.state()
            new = model.with_active(old, sets)
            self._commit(old, new if frontends is None else model.with_frontends(new, frontends))

    def share(self, canaries: Mapping[str, Canary]) -> None:
        """Give a share of these services' new requests to other sets than the active ones; all other canaries end.

        It lasts until the service's next activation. ``NotFound`` for a set that nobody has put.
        """
        with self._locked():
            old = self.state()
            self._commit(old, model.with_canaries(old, canaries))

    def propose(self, sets: Mapping[str, str], *, frontends: Iterable[Frontend] | None = None) -> None:
        """Make these sets, by service, the candidates and no others: their replicas reach each other by name.

        Nobody else's traffic moves. A set ceases to be a candidate when it is activated or removed. ``frontends`` as in
        ``activate``. ``NotFound`` for a set that nobody has put.
        """
        with self._locked():
            old = self.state()
            new = model.with_candidates(old, sets)
            self._commit(old, new if frontends is None else model.with_frontends(new, frontends))

    def deactivate(self, services: Iterable[str]) -> None:
        """Take services out: none of their sets is active any more, and nobody listens for them."""
        with self._locked():
            old = self.state()
            self._commit(old, model.without_active(old, services))

    def remove_set(self, service: str, set_id: str) -> None:
        """Forget a set that has no traffic. ``Conflict`` if it has; not an error if it is not known."""
        with self._locked():
            old = self.state()
            self._commit(old, model.without_set(old, service, set_id))

    def sessions(self, service: str, set_id: str) -> int:
        """The requests and connections that a set has now, those in older HAProxy processes included."""
        backends = backends_of(self.state(), service, set_id)
        total = 0
        for generation in self._processes.alive():
            with suppress(Unavailable):  # it has just ended, and its connections with it
                counts = generation.control.sessions()
                total += sum(counts.get(name, 0) for name in backends)
        return total

    def server_sessions(self, name: str) -> int:
        """The requests and connections that one server has now, on all its ports and in older processes too."""
        total = 0
        for generation in self._processes.alive():
            with suppress(Unavailable):
                total += sum(
                    one.sessions for one in generation.control.counters() if one.server.partition(":")[2] == name
                )
        return total

    def drain(self, service: str, set_id: str, timeout_seconds: float, cancel: threading.Event | None = None) -> int:
        """Wait until a set has no sessions left, or time is up; how many are left."""
        return drain.wait(lambda: self.sessions(service, set_id), timeout_seconds, cancel)

    def status(self) -> SwitchStatus:
        """What runs and what each set has done. Changes nothing."""
        state = self.state()
        generations = self._processes.alive()
        totals: dict[str, list[int]] = {}
        for generation in generations:
            with suppress(Unavailable):
                for one in generation.control.counters():
                    total = totals.setdefault(one.server.partition(":")[0], [0] * 6)
                    counts = (
                        one.sessions,
                        one.requests,
                        one.server_errors,
                        one.connect_failures,
                        one.response_failures,
                        one.rate,
                    )
                    total[:] = [before + now for before, now in zip(total, counts, strict=True)]
        shares = {one.set: one.percent for one in state.canaries.values()}
        sets = tuple(
            SetStatus(
                placed.service,
                placed.set,
                state.active.get(placed.service) == placed.set,
                shares.get(placed.set, 0),
                sum(server.ready for server in placed.servers),
                len(placed.servers),
                *totals.get(placed.set, ()),
            )
            for placed in state.sets
        )
        return SwitchStatus(bool(generations), max(len(generations) - 1, 0), sets)

    def measure(self) -> Reading:
        """What all sets have answered, as every HAProxy process has counted it: two readings make a measurement."""
        tables = tuple(table_name(one) for one in streams(self.state()) if one.protocol == "http")
        reading: dict[Count, int] = {}
        for generation in self._processes.alive():
            with suppress(Unavailable):  # it has just ended
                reading |= counts(generation.pid, generation.control.counters(), generation.control.times(tables))
        return reading

    def look(self) -> SwitchLook:
        """The committed switch and the newest process that should be it, looked at closely. Changes nothing."""
        return looking.look(self.state(), self._processes)

    def datagram_table(self) -> tuple[str, str]:
        """The name of the table for UDP ports, and the script that makes it what the committed switch says."""
        return self._table, datagrams.ruleset(self._table, self.state())

    def pids(self) -> tuple[int, ...]:
        """HAProxy's processes, the newest first."""
        return tuple(generation.pid for generation in self._processes.alive())

    def reconcile(self) -> None:
        """Make what runs what the disk says: after HAProxy or bennu was killed, after a reboot, or just in case."""
        with self._locked():
            state = self.state()
            self._steer(state)
            self._translate(state, state)

    def tend(self) -> None:
        """The agent's part: bring a killed HAProxy back, end older ones that have drained. Cheap if nothing is due."""
        expected = 1 if streams(self.state()) else 0
        if len(self._processes.alive()) != expected:
            self.reconcile()

    def renew(self) -> None:
        """Put a new HAProxy process, made of what the disk says alone, in the place of the one that runs.

        No connection is refused or cut: it takes over the listening sockets, and the old one finishes what it has.
        """
        with self._locked():
            state = self.state()
            if streams(state):
                generations = self._processes.alive()
                self._processes.start(state, generations[0] if generations else None)
            self._steer(state)
            self._translate(state, state)

    def remove(self) -> None:
        """End the switch with all its connections, and forget everything about it. Idempotent."""
        with self._locked():
            self._processes.remove()
            nftables.delete_table(self._table)
            files.remove_tree(self._directory)
            with suppress(OSError):  # it holds other things of the project
                self._directory.parent.rmdir()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with locks.held(self._lock, subject=f"the switch of project {self._project!r}"):
            yield

    def _commit(self, old: SwitchState, new: SwitchState) -> None:
        generations = self._processes.alive()
        if streams(new) and not self._fits(generations, new):
            # what needs a new process may fail (an address in use): it starts before the state is saved. Whoever finds
            # it without the state, after a crash, replaces it
            self._processes.start(new, generations[0] if generations else None)
        if new != old:
            self._directory.mkdir(parents=True, exist_ok=True)
            files.write_atomic(self._file, msgspec.json.format(msgspec.json.encode(new)))
        self._steer(new)
        self._translate(old, new)

    def _fits(self, generations: tuple[Generation, ...], state: SwitchState) -> bool:
        return bool(generations) and generations[0].shape == self._processes.wanted_shape(state)

    def _steer(self, state: SwitchState) -> None:
        """Bring every HAProxy process to the state, with a new one where the newest cannot be brought there."""
        self._processes.forget_ended()
        generations = self._processes.alive()
        if streams(state) and not self._fits(generations, state):
            self._processes.start(state, generations[0] if generations else None)
            generations = self._processes.alive()
        newest = generations[:1] if streams(state) else ()
        for generation in newest:
            try:
                _correct(generation, state, attempts=REMOVAL_ATTEMPTS)
            except Unavailable:
                if not self._processes.has_ended(generation):
                    raise
                return self._steer(state)  # killed just now: another one starts
        for generation in generations[len(newest) :]:
            with suppress(Unavailable):  # it has just ended with its last connection
                _correct(generation, state, attempts=1)
                self._processes.retire(generation)
                self._processes.reap(generation)
        return None

    def _translate(self, old: SwitchState, new: SwitchState) -> None:
        """Bring the UDP table to the state, and forget the flows of ports whose replicas are others now."""
        before, after = datagrams.targets(old), datagrams.targets(new)
        if not before and not after:
            return
        nftables.apply(datagrams.ruleset(self._table, new))
        for frontend in sorted({*before, *after}, key=lambda one: (one.service, one.port)):
            replicas = [address for address, _ in after.get(frontend, ())]
            for port in sorted({bind.port for bind in frontend.binds}):
                nftables.forget_datagrams(port, replicas)


def _correct(generation: Generation, state: SwitchState, *, attempts: int) -> None:
    control = generation.control
    running = generation.observe()
    needed = corrections(state, running)
    control.execute(needed.before)
    if needed.map is not None:
        control.replace_map(generation.map_file, running.map, needed.map)
    control.execute(needed.after)
    left = needed.removals
    for _ in range(attempts):
        # idle connections are closed a moment after maintenance; those in use keep their server until they end
        left = control.attempt(left)
        if not left:
            return
        time.sleep(REMOVAL_PAUSE_SECONDS)
