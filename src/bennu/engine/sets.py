"""A set and its replicas, as they should be and as they are: the values that plans are made of and engines observe.

Pure. ``SetSpec`` is everything that makes a set what it is; ``Observation`` is a project as an engine found it.
"""

from __future__ import annotations

from typing import Literal, NewType

import msgspec

from bennu.compose.model import Service, Volume
from bennu.compose.struct import Value
from bennu.digest import Digest, digest_of, encoded

SetId = NewType("SetId", str)
ReplicaState = Literal["created", "running", "paused", "exited"]
Health = Literal["none", "starting", "healthy", "unhealthy"]


class ReplicaFile(Value, frozen=True, kw_only=True, omit_defaults=True):
    """A config or secret in each replica: ``source`` is its key in the fleet file, ``target`` an absolute path, and
    ``version`` names the content (``store.contents``), which is nowhere in here.
    """

    source: str
    target: str
    version: Digest
    is_secret: bool = False
    uid: int = 0
    gid: int = 0
    mode: int = 0o444


class SetSpec(Value, frozen=True, kw_only=True, omit_defaults=True):
    """Everything that makes a set what it is. Two specs with the same ``id`` are the same set.

    ``image`` is a manifest digest. ``service`` is resolved and carries ports, mounts, health check and limits;
    ``volumes`` are the project's, by their keys in the fleet file; ``files`` are what configs and secrets have become.
    """

    id: SetId
    project: str
    image: Digest
    image_name: str
    service: Service
    volumes: dict[str, Volume] = {}
    files: tuple[ReplicaFile, ...] = ()

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


def generation_of(name: SetId, first: SetId) -> int | None:
    """Which generation of the set ``first`` (whose generation is 0) another set is; None for one of other content."""
    if name == first:
        return 0
    number = name.removeprefix(f"{first}-") if name.startswith(f"{first}-") else ""
    return int(number) if number.isdigit() else None


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


class TrafficObservation(Value, frozen=True, kw_only=True, omit_defaults=True):
    """What a set answers. ``requests`` (connections in TCP mode) and the ``failures`` among them, since the switch
    began to count; ``per_second``: of the last second.
    """

    requests: int = 0
    failures: int = 0
    per_second: int = 0

    @property
    def failed_share(self) -> float:
        """0 to 1."""
        return self.failures / self.requests if self.requests else 0.0


class SetObservation(Value, frozen=True, kw_only=True, omit_defaults=True):
    """A set as it is: its spec as it was started, and its replicas by index."""

    spec: SetSpec
    replicas: tuple[ReplicaObservation, ...] = ()
    sessions: int = 0
    """Connections that the switch holds to it now."""
    released: float | None = None
    """When it last lost the traffic (Unix seconds); None while it is active or has never had it."""
    traffic: TrafficObservation = TrafficObservation()
    share: int = 0
    """The percent of its service's new requests that it gets as a canary, without being active."""

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


class HoldObservation(Value, frozen=True, kw_only=True, omit_defaults=True):
    """A held replica as it is: no part of its set any more, unless ``in_set``.

    ``replica.set`` is the set that it was made for, which may be gone. ``traffic``: ``in`` gets requests beside its set
    as long as that is active; ``leaving`` does until another replica of its set is ready; ``out`` gets none;
    ``stopped`` gets none and is not started again after a reboot. ``in_set``: it writes what only one may write, so
    nothing stands in for it, and it stays a replica of its set until that is stopped.
    """

    replica: ReplicaObservation
    traffic: Literal["in", "leaving", "out", "stopped"]
    in_set: bool = False

    @property
    def name(self) -> str:
        """``web.2``."""
        return self.replica.name

    @property
    def is_server(self) -> bool:
        """Gets requests beside its set, as long as that is active."""
        return self.traffic in {"in", "leaving"} and not self.in_set


class Facts(Value, frozen=True, kw_only=True, omit_defaults=True):
    """What a plan stands on: the sets by name with the numbers of their replicas, and which of them are active."""

    active: dict[str, SetId] = {}
    sets: dict[SetId, tuple[int, ...]] = {}

    @property
    def stamp(self) -> Digest:
        """The digest of them."""
        return digest_of(msgspec.json.encode(self, order="deterministic"))

    def moved_to(self, now: Facts) -> tuple[str, ...]:
        """What is different ``now``, one phrase each, for people."""
        lines = [
            f"the active set of {service} is {now.active.get(service, 'none')} and no longer {name}"
            for service, name in sorted(self.active.items())
            if now.active.get(service) != name
        ]
        lines += [f"{service} has come into service" for service in sorted(now.active.keys() - self.active.keys())]
        lines += [f"set {name} is gone" for name in sorted(self.sets.keys() - now.sets.keys())]
        lines += [f"set {name} has come" for name in sorted(now.sets.keys() - self.sets.keys())]
        for name in sorted(self.sets.keys() & now.sets.keys()):
            before, after = set(self.sets[name]), set(now.sets[name])
            lines += [f"replica {index} of set {name} is gone" for index in sorted(before - after)]
            lines += [f"replica {index} of set {name} has come" for index in sorted(after - before)]
        return tuple(lines)


class Observation(Value, frozen=True, kw_only=True, omit_defaults=True):
    """A project as it is.

    ``active`` names the set of each service that has the traffic or, where it has no ports, the duty. ``holds`` are
    the held replicas, by name.
    """

    project: str
    sets: dict[SetId, SetObservation] = {}
    active: dict[str, SetId] = {}
    switch_running: bool = False
    holds: tuple[HoldObservation, ...] = ()

    @property
    def stamp(self) -> Digest:
        """What a plan is bound to: the digest of ``facts``."""
        return self.facts.stamp

    @property
    def facts(self) -> Facts:
        """What a plan stands on."""
        sets = {name: tuple(replica.index for replica in found.replicas) for name, found in self.sets.items()}
        return Facts(active=dict(self.active), sets=sets)

    def active_set(self, service: str) -> SetObservation | None:
        """The active set of a service, or None if it has none."""
        name = self.active.get(service)
        return None if name is None else self.sets.get(name)

    def hold(self, name: str) -> HoldObservation | None:
        """The held replica of a name (``web.2``), or None."""
        return next((held for held in self.holds if held.name == name), None)
