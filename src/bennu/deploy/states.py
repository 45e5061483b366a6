"""The states of a rollout, what follows each, and what can happen to one: the table that the machine walks. Pure.

``NEXT`` is the whole of it; tests enumerate it, and kill what carries it out in each of its states.
"""

from __future__ import annotations

import enum
from typing import Final

from bennu.compose.struct import Value
from bennu.deploy.telling.hooks import CallHooks
from bennu.engine.actions import Action


class State(enum.Enum):
    """Where a rollout stands. The value is what a person reads."""

    NEW = "not begun"
    PREPARING = "preparing network, volumes and switch"
    STAGING = "copying data ahead"
    YIELDING = "stopping the old set of a service that shares its state"
    SNAPSHOTTING = "snapshotting volumes"
    RESTORING = "putting data back"
    PROPOSING = "letting candidates see each other"
    STARTING = "starting"
    PROVING = "waiting until ready"
    VALIDATING = "validating"
    VETTING = "asking hooks (post_validate)"
    COMPLETING = "starting the rest"
    PROVING_ALL = "waiting until all are ready"
    ANNOUNCING = "asking hooks before new services get the traffic (pre_switch)"
    ADOPTING = "putting new services into service"
    CLEARING = "asking hooks before the switch (pre_switch)"
    CANARYING = "trying the new sets with a share of the traffic"
    SWITCHING = "switching"
    DRAINING = "draining"
    WATCHING = "watching"
    RETIRING = "removing what nothing comes back to"
    REVERT_RESUMING = "reverting: letting writers go on"
    REVERT_STOPPING = "reverting: stopping what was started"
    REVERT_RESTORING = "reverting: taking data back"
    REVERT_STARTING = "reverting: starting what was stopped"
    REVERT_PROVING = "reverting: waiting until ready"
    REVERT_SWITCHING = "reverting: switching back"
    REVERT_DRAINING = "reverting: draining"
    REVERT_REMOVING = "reverting: removing what was started"
    DONE = "done"
    REVERTED = "reverted"
    STUCK = "could not be reverted"


NEXT: Final[dict[State, tuple[State, State]]] = {
    # state: (when all its commands are done, when one has failed)
    State.NEW: (State.PREPARING, State.PREPARING),
    State.PREPARING: (State.STAGING, State.REVERT_RESUMING),
    State.STAGING: (State.YIELDING, State.REVERT_RESUMING),
    State.YIELDING: (State.SNAPSHOTTING, State.REVERT_RESUMING),
    State.SNAPSHOTTING: (State.RESTORING, State.REVERT_RESUMING),
    State.RESTORING: (State.PROPOSING, State.REVERT_RESUMING),
    State.PROPOSING: (State.STARTING, State.REVERT_RESUMING),
    State.STARTING: (State.PROVING, State.REVERT_RESUMING),
    State.PROVING: (State.VALIDATING, State.REVERT_RESUMING),
    State.VALIDATING: (State.VETTING, State.REVERT_RESUMING),
    State.VETTING: (State.COMPLETING, State.REVERT_RESUMING),
    State.COMPLETING: (State.PROVING_ALL, State.REVERT_RESUMING),
    State.PROVING_ALL: (State.ANNOUNCING, State.REVERT_RESUMING),
    State.ANNOUNCING: (State.ADOPTING, State.REVERT_RESUMING),
    State.ADOPTING: (State.CLEARING, State.REVERT_RESUMING),  # or YIELDING, while there are waves left
    State.CLEARING: (State.CANARYING, State.REVERT_RESUMING),
    State.CANARYING: (State.SWITCHING, State.REVERT_RESUMING),
    State.SWITCHING: (State.DRAINING, State.REVERT_RESUMING),
    State.DRAINING: (State.WATCHING, State.WATCHING),
    State.WATCHING: (State.RETIRING, State.REVERT_RESUMING),
    State.RETIRING: (State.DONE, State.DONE),
    State.REVERT_RESUMING: (State.REVERT_STOPPING, State.REVERT_STOPPING),
    State.REVERT_STOPPING: (State.REVERT_RESTORING, State.REVERT_RESTORING),
    State.REVERT_RESTORING: (State.REVERT_STARTING, State.STUCK),
    State.REVERT_STARTING: (State.REVERT_PROVING, State.STUCK),
    State.REVERT_PROVING: (State.REVERT_SWITCHING, State.STUCK),
    State.REVERT_SWITCHING: (State.REVERT_DRAINING, State.STUCK),
    State.REVERT_DRAINING: (State.REVERT_REMOVING, State.REVERT_REMOVING),
    State.REVERT_REMOVING: (State.REVERTED, State.REVERTED),
}
FINAL: Final = frozenset({State.DONE, State.REVERTED, State.STUCK})
COMMITTED: Final = frozenset({State.DRAINING, State.RETIRING, State.DONE})
"""A failure in one of these is noted, and nothing is taken back for it."""
SWITCHED: Final = COMMITTED | {State.WATCHING}
"""The new sets have the traffic: nobody's wish stops the rollout any more."""


class Deadlines(Value, frozen=True, kw_only=True, omit_defaults=True):
    """How long the waits of a rollout may take, in seconds."""

    ready_seconds: float = 300.0
    drain_seconds: float = 30.0


Command = Action | CallHooks
"""What a rollout wants done: by the engine, or by whoever calls hooks."""


class Done(Value, frozen=True, kw_only=True):
    """A command has been carried out."""

    command: Command


class Failed(Value, frozen=True, kw_only=True):
    """A command has failed; ``reason`` is one line."""

    command: Command
    reason: str


class Cancelled(Value, frozen=True, kw_only=True):
    """Somebody wants it to stop. Ignored once the switch is done."""

    reason: str


Event = Done | Failed | Cancelled
