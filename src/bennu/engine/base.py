"""The contract of an engine: observe a project, execute one action on it, tend what runs.

Actions are values of service grain: "start this set", "make these sets active". How many containers, tasks or hosts
that takes is the engine's affair, so that Swarm need not be faked. Every action is idempotent: executing it again
after a crash at any point completes it. ``deploy.rollout`` decides which action comes next, ``deploy.plan`` what has
to change; an engine decides nothing. Conformance suite: ``tests/conformance/test_engine.py``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Literal, NewType, Protocol

import msgspec

from bennu.compose.model import Service, Validation, Value, Volume
from bennu.digest import Digest, digest_of, encoded

SetId = NewType("SetId", str)
ReplicaState = Literal["created", "running", "paused", "exited"]
Health = Literal["none", "starting", "healthy", "unhealthy"]


class SetSpec(Value, frozen=True, kw_only=True, omit_defaults=True):
    """Everything that makes a set what it is. Two specs with the same ``id`` are the same set.

    ``image`` is a manifest digest. ``service`` is resolved and carries ports, mounts, health check and limits;
    ``volumes`` are the project's, by their keys in the fleet file.
    """

    id: SetId
    project: str
    image: Digest
    image_name: str
    service: Service
    volumes: dict[str, Volume] = {}

    @property
    def replicas(self) -> int:
        """How many replicas the set has."""
        return self.service.replicas


def set_id(
    project: str, service: str, configuration: Digest, image: Digest, *, replicas: int, generation: int = 0
) -> SetId:
    """The name of a set: the service and ten hexadecimal digits of what its replicas are made from, and how many.

    A set never changes, its size included, and belongs to one project: the same file deployed under two names makes
    two. ``generation`` counts how often it was made again from scratch.
    """
    content = digest_of(f"set 1\n{project}\n{configuration}\n{image}\n{replicas}\n".encode())
    return SetId(f"{service}-{encoded(content)[:10]}" + (f"-{generation}" if generation else ""))


class ReplicaObservation(Value, frozen=True, kw_only=True, omit_defaults=True):
    """One replica as it is. ``address`` is on the project's network; times are Unix seconds.

    ``problem`` is what a person should know: the last failed probe with its exit status and output.
    """

    service: str
    set: SetId
    index: int
    container: str
    state: ReplicaState
    health: Health = "none"
    address: str | None = None
    exit_status: int | None = None
    restarts: int = 0
    created: float = 0.0
    started: float | None = None
    problem: str | None = None

    @property
    def name(self) -> str:
        """``web.2``."""
        return f"{self.service}.{self.index}"

    @property
    def is_ready(self) -> bool:
        """Running, and healthy as far as it has a health check."""
        return self.state == "running" and self.health in {"none", "healthy"}


class SetObservation(Value, frozen=True, kw_only=True, omit_defaults=True):
    """A set as it is: its spec as it was started, and its replicas by index."""

    spec: SetSpec
    replicas: tuple[ReplicaObservation, ...] = ()
    sessions: int = 0
    """Connections that the switch holds to it now."""
    released: float | None = None
    """When it last lost the traffic (Unix seconds); None while it is active or has never had it."""

    @property
    def id(self) -> SetId:
        """The set's name."""
        return self.spec.id

    @property
    def is_ready(self) -> bool:
        """As many replicas as it should have, all of them ready."""
        return len(self.replicas) == self.spec.replicas and all(replica.is_ready for replica in self.replicas)

    @property
    def temperature(self) -> Literal["warm", "frozen", "stopped"]:
        """How quickly it could take the traffic: runs, is paused, or has to be started."""
        states = {replica.state for replica in self.replicas}
        if states == {"running"}:
            return "warm"
        return "frozen" if states == {"paused"} else "stopped"


class Observation(Value, frozen=True, kw_only=True, omit_defaults=True):
    """A project as it is.

    ``active`` names the set of each service that has the traffic or, where it has no ports, the duty.
    """

    project: str
    sets: dict[SetId, SetObservation] = {}
    active: dict[str, SetId] = {}
    switch_running: bool = False

    @property
    def stamp(self) -> Digest:
        """What a saved plan is bound to: the sets, how many replicas they have, and which of them are active."""
        facts = {
            "active": self.active,
            "sets": {name: [replica.index for replica in found.replicas] for name, found in self.sets.items()},
        }
        return digest_of(msgspec.json.encode(facts, order="deterministic"))

    def active_set(self, service: str) -> SetObservation | None:
        """The active set of a service, or None if it has none."""
        name = self.active.get(service)
        return None if name is None else self.sets.get(name)


class Prepare(Value, frozen=True, kw_only=True, tag=True):
    """Make sure of what all sets stand on: the project's network and its volumes. ``Conflict`` for taken ports.

    ``services`` are all services of the release, so that every name has its stable address before a replica asks for
    it.
    """

    project: str
    services: dict[str, Service]
    volumes: dict[str, Volume]


class StartSet(Value, frozen=True, kw_only=True, tag=True):
    """Create the replicas that are missing, start those that do not run, thaw those that are frozen. No traffic yet.

    ``first``: so many of them only, those with the lowest numbers. The first replica is the set's *test server*.
    """

    spec: SetSpec
    first: int | None = None

    @property
    def count(self) -> int:
        """How many replicas it is about."""
        return self.spec.replicas if self.first is None else min(self.first, self.spec.replicas)


class AwaitReady(Value, frozen=True, kw_only=True, tag=True):
    """Probe a set until all its replicas are ready. ``Failed`` when one cannot become so, or time is up.

    It says which replica, what was probed and answered, and gives the replica's last lines. An end is told at once.
    A service without a health check is ready when its replicas have run for a moment without ending;
    with ``completed`` it has to end with status 0 instead (a job that others wait for). ``first`` as in ``StartSet``.
    """

    set: SetId
    timeout_seconds: float
    completed: bool = False
    first: int | None = None


class Propose(Value, frozen=True, kw_only=True, tag=True):
    """Make these sets the *candidates* and no others: they reach each other by their services' names.

    Replicas of candidates, those that start later too, get the candidate of a service that has one, and everybody else
    what they got before. A set that is activated, stopped or removed is a candidate no longer. Idempotent. They need
    not have been started.
    """

    project: str
    specs: tuple[SetSpec, ...]


class Validate(Value, frozen=True, kw_only=True, tag=True):
    """Check a set's test server, one validation after the other. ``Failed`` at the first that does not pass.

    It says which, what was answered (status and body, or the command's last lines), and gives the replica's last lines.
    """

    set: SetId
    validations: tuple[Validation, ...]


class WatchSet(Value, frozen=True, kw_only=True, tag=True):
    """Watch a set that has the traffic. ``Failed`` when a replica ends or falls ill, or the share of errors is above
    ``max_error_share`` (of its HTTP answers since the beginning, once there are enough to tell).

    A set ``cancel`` ends the watch early and well: the switch stays.
    """

    set: SetId
    seconds: float
    max_error_share: float | None = None


class Activate(Value, frozen=True, kw_only=True, tag=True):
    """Give the traffic of several services to these sets, all at once. Committed when it returns; idempotent.

    This is the commit point of a rollout: what the engine has recorded here is what every later process restores.
    """

    project: str
    sets: dict[str, SetId]


class Deactivate(Value, frozen=True, kw_only=True, tag=True):
    """Take services out of the project: no set of theirs is active afterwards, and their listeners go."""

    project: str
    services: tuple[str, ...]


class Drain(Value, frozen=True, kw_only=True, tag=True):
    """Wait until a set that is out of the traffic has no sessions left, or the deadline has passed."""

    set: SetId
    timeout_seconds: float


class StopSet(Value, frozen=True, kw_only=True, tag=True):
    """Send the stop signal to every replica, wait its stop timeout, then kill. The replicas can be started again."""

    set: SetId


class RemoveSet(Value, frozen=True, kw_only=True, tag=True):
    """Stop a set and remove its replicas with all that was theirs. ``Conflict`` if active; no error if gone."""

    set: SetId


class RemoveProject(Value, frozen=True, kw_only=True, tag=True):
    """Remove all sets, the switch and the network of a project; its volumes too if asked."""

    project: str
    volumes: bool = False


Action = (
    Prepare
    | StartSet
    | AwaitReady
    | Propose
    | Validate
    | Activate
    | Deactivate
    | Drain
    | WatchSet
    | StopSet
    | RemoveSet
    | RemoveProject
)


class Receipt(Value, frozen=True, kw_only=True, omit_defaults=True):
    """What an action did: one line for the history, and figures worth keeping (``sessions_left``, ``gap_seconds``)."""

    summary: str
    figures: dict[str, float] = {}


class Capabilities(Value, frozen=True, kw_only=True, omit_defaults=True):
    """What an engine can do; a plan states what follows from what it cannot."""

    name: str
    freezes: bool
    holds_in_place: bool
    shares_namespaces: bool
    hosts: Literal["one", "many"]


Report = Callable[[str], None]
"""Called with one line whenever there is something new to say about an action under way (``3 of 4 ready``)."""


class Engine(Protocol):
    """See the module's docstring.

    Errors: ``Unavailable`` where the platform does not answer, ``Conflict``, ``Failed``, ``NotFound``.
    Safe to call from several threads and processes; one rollout at a time is the deploy lock's affair.
    """

    def capabilities(self) -> Capabilities:
        """What this engine can do. Constant."""
        ...

    def projects(self) -> tuple[str, ...]:
        """The names of all projects that have anything on this engine."""
        ...

    def observe(self, project: str) -> Observation:
        """The project as it is now, from the platform itself; empty if it is not there. Changes nothing."""
        ...

    def execute(self, action: Action, report: Report, cancel: threading.Event) -> Receipt:
        """Do one action to its end.

        A set ``cancel`` ends the waits with ``Failed``; what is half done can be executed again.
        """
        ...

    def tend(self, project: str, now: float) -> float:
        """Do what is due at ``now`` (Unix seconds): health checks, restarts, the switch restored.

        Returns the seconds until it should be called again. Must be cheap when nothing is due. Called by
        the agent alone, one caller at a time.
        """
        ...

    def watch(self, timeout_seconds: float, wake: int) -> None:
        """Return when a replica has ended, when ``wake`` (a file descriptor) can be read, or when time is up.

        May return early for no reason: the caller tends and watches again.
        """
        ...

    def logs(
        self, project: str, *, service: str | None, set_id: SetId | None, index: int | None, tail: int
    ) -> Iterator[str]:
        """The last lines of the replicas that match, oldest first, each prefixed with the replica's name."""
        ...
