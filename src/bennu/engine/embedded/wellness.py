"""The replicas of a set that is looked at for a while: does one end, or fall ill?

What the agent does meanwhile counts against the set too: a replica that it had to start again has ended.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bennu.engine.sets import ReplicaObservation
from bennu.errors import Failed

Look = Callable[[], Sequence[ReplicaObservation]]
Tail = Callable[[ReplicaObservation], tuple[str, ...]]


class Wellness:
    """One set, from now on. ``look`` gives its replicas, ``tail`` a replica's last lines; ``when`` is for messages."""

    def __init__(self, look: Look, tail: Tail, when: str) -> None:
        self._look = look
        self._tail = tail
        self._when = when
        self._began = {replica.index: replica for replica in look()}

    def check(self) -> None:
        """``Failed`` if a replica is not well, with its last lines."""
        found = {replica.index: replica for replica in self._look()}
        for index, before in self._began.items():
            replica = found.get(index)
            if replica is None:
                raise Failed(f"replica {before.name} of set {before.set} is gone {self._when}")
            self._check(replica, before)

    def _check(self, replica: ReplicaObservation, before: ReplicaObservation) -> None:
        name = f"replica {replica.name} of set {replica.set}"
        if replica.state == "exited":
            why = f" ({replica.problem})" if replica.problem else ""
            raise Failed(
                f"{name} ended with exit status {replica.exit_status}{why} {self._when}",
                status=replica.exit_status or 1,
                tail=self._tail(replica),
            )
        if (replica.restarts, replica.container) != (before.restarts, before.container):
            raise Failed(f"{name} ended {self._when}, and was started again", tail=self._tail(replica))
        if replica.health == "unhealthy":
            raise Failed(f"{name} fell ill {self._when}: {replica.problem}", tail=self._tail(replica))
