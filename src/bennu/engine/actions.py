"""What an engine can be told to do: actions as values of service grain, and the receipts that they give.

Pure. How many containers, tasks or hosts an action takes is the engine's affair, so that Swarm need not be faked.
Every action is idempotent: executing it again after a crash at any point completes it.
"""

from __future__ import annotations

from typing import Literal

from bennu.compose.extension import Canary, Quiesce, Tolerance, Validation
from bennu.compose.model import Service, Volume
from bennu.compose.struct import Value
from bennu.engine.sets import SetId, SetSpec


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
    """Watch a set that has the traffic. ``Failed`` when a replica ends or falls ill, or its answers since the beginning
    are worse than ``limits`` say, once there are enough to tell.

    ``old``: whom it is compared with, by what that one answered before the switch. A set ``cancel`` ends the watch
    early and well: the switch stays.
    """

    set: SetId
    seconds: float
    limits: Tolerance = Tolerance()
    old: SetId | None = None


class Trial(Value, frozen=True, kw_only=True):
    """The canary of one service: the set that is tried, and the active one that it is compared with."""

    set: SetId
    old: SetId
    canary: Canary


class TryCanaries(Value, frozen=True, kw_only=True, tag=True):
    """Give each of these sets its share of its service's new requests, all at once, and watch them for their time.

    ``Failed`` when a replica of one ends or falls ill, when its answers are worse than its limits say (compared with
    the old set's at the same time), when there were fewer than it asks for, or on ``cancel``. Then all traffic is with
    the active sets again before this returns. Otherwise the sets keep their shares until their services are activated,
    or they are stopped or removed. No set becomes active by this: what comes back after a crash are the active sets,
    with or without canaries beside them.
    """

    project: str
    trials: tuple[Trial, ...]


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


class RenewReplica(Value, frozen=True, kw_only=True, tag=True):
    """Burn one replica of a set and make it again from the image, in the same place.

    Where others of its set serve, it leaves the traffic and is drained first, for so long at most; then it is stopped,
    removed with all that was its own, made, started and proven. ``Failed`` where the new one does not become ready: it
    stays, out of the traffic, and is tended. A crash at any point leaves at worst a set that the next ``tend`` or
    ``StartSet`` completes. ``Receipt.figures``: ``sessions_left``.
    """

    set: SetId
    index: int
    drain_seconds: float = 30.0
    ready_seconds: float = 300.0


class FreezeSet(Value, frozen=True, kw_only=True, tag=True):
    """Hold the processes of a set that is not active, in their memory, until ``StartSet`` thaws it. Idempotent.

    Replicas that do not run stay as they are. ``Conflict`` if active; no error if gone.
    """

    set: SetId


class RenewSurroundings(Value, frozen=True, kw_only=True, tag=True):
    """Make what is around a project's replicas anew from what is recorded: the switch's process, its map and servers,
    the network's rules and addresses. No connection is cut; what others have put there is taken away.
    """

    project: str


class RemoveStray(Value, frozen=True, kw_only=True, tag=True):
    """Remove a container, by its name, that is in a project or in its network and is no replica of it.

    ``Conflict`` for a replica, a held one too; no error if gone.
    """

    project: str
    container: str


class StopSet(Value, frozen=True, kw_only=True, tag=True):
    """Send the stop signal to every replica, wait its stop timeout, then kill. The replicas can be started again.

    Held ones that were made for it go on, unless its service writes what the next set shares: they are stopped too.
    """

    set: SetId


class RemoveSet(Value, frozen=True, kw_only=True, tag=True):
    """Stop a set and remove its replicas with all that was theirs. ``Conflict`` if active; no error if gone."""

    set: SetId


class RemoveProject(Value, frozen=True, kw_only=True, tag=True):
    """Remove all sets, held replicas, the switch and the network of a project; its volumes too if asked."""

    project: str
    volumes: bool = False


class HoldReplica(Value, frozen=True, kw_only=True, tag=True):
    """Set a replica of the active set aside, with its own root writable, and make a fresh one in its place.

    From then on it is nobody's: its set may be stopped, frozen, removed and started again without it. It gets no new
    requests as soon as another replica of its set is ready, which is at once where there are several; with
    ``in_traffic`` it goes on getting its share, beside the fresh one, as long as its set is active. What it has under
    way ends by itself. Where a single replica writes a volume, nothing can stand in for it: then it is held in its
    place, ``in_traffic`` only, and stops with its set. ``Conflict`` otherwise, ``NotFound`` if the service has no such
    replica. Executed again, it completes the hold that there is.
    """

    project: str
    service: str
    index: int
    in_traffic: bool = False
    timeout_seconds: float = 300.0
    """How long the replacement may take until it is ready."""


class EndHold(Value, frozen=True, kw_only=True, tag=True):
    """Take a held replica out of the traffic, drain and stop it, remove it with all that it wrote. No error if gone.

    Where nothing stood in for it, its set gets a fresh one.
    """

    project: str
    service: str
    index: int
    drain_seconds: float = 30.0


class SnapshotVolumes(Value, frozen=True, kw_only=True, tag=True):
    """Snapshot volumes as they are now, for ``revision``, whose data they hold, on the way to revision ``rollout``.

    A running replica that writes one is quiesced by the command that ``quiesce`` has for its service, else paused,
    except where the method is atomic; it is let go in any case. What is half done when the process dies is no
    snapshot. Done again, a snapshot that this rollout has taken is kept. ``Unavailable`` where the disk has no room.
    ``ahead``: only copy what can be copied before writers stop, so that the rest takes less.
    """

    project: str
    revision: int
    rollout: int
    volumes: tuple[str, ...]
    quiesce: dict[str, Quiesce] = {}
    ahead: bool = False


class ResumeWriters(Value, frozen=True, kw_only=True, tag=True):
    """Let go what a snapshot has quieted and not let go, because its process died. Nothing to do otherwise."""

    project: str


class RestoreVolumes(Value, frozen=True, kw_only=True, tag=True):
    """Put the data of snapshots (volume -> snapshot) back, in steps: ``stage`` makes them ready beside the volumes;
    ``swap`` puts them in place at one stroke each, and what was there is the snapshot for ``revision`` now; ``back``
    undoes a swap, and all that is staged. ``Conflict`` where a replica that runs has a volume mounted.
    """

    project: str
    revision: int
    rollout: int
    snapshots: dict[str, str]
    step: Literal["stage", "swap", "back"]


class RemoveSnapshots(Value, frozen=True, kw_only=True, tag=True):
    """Remove snapshots by their ids, and what ``rollout`` has begun and not finished; with ``taken`` also all that it
    has taken. No error for one that is gone.
    """

    project: str
    snapshots: tuple[str, ...] = ()
    rollout: int | None = None
    taken: bool = False


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
    | RenewReplica
    | TryCanaries
    | FreezeSet
    | RenewSurroundings
    | RemoveStray
    | StopSet
    | RemoveSet
    | RemoveProject
    | HoldReplica
    | EndHold
    | SnapshotVolumes
    | ResumeWriters
    | RestoreVolumes
    | RemoveSnapshots
)


class Receipt(Value, frozen=True, kw_only=True, omit_defaults=True):
    """What an action did: one line for the history, and figures worth keeping (``sessions_left``, ``gap_seconds``)."""

    summary: str
    figures: dict[str, float] = {}
