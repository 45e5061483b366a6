"""Watching a set that has just got the traffic: does a replica end or fall ill, are too many answers errors?

What the agent does meanwhile counts against the set too: a replica that it had to start again has ended.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from bennu.engine.actions import WatchSet
from bennu.engine.base import Report
from bennu.engine.sets import ReplicaObservation, SetSpec
from bennu.errors import Failed

POLL_SECONDS: Final = 0.25
LEAST_ANSWERS: Final = 20
"""Fewer tell nothing of a share."""

Tail = Callable[[ReplicaObservation], tuple[str, ...]]


class Counted(NamedTuple):
    """HTTP answers of a set, and how many of them were 5xx, since its HAProxy began to count."""

    answers: int
    errors: int


class Watching:
    """One watch of one set. ``look`` gives its replicas, ``count`` its answers, ``tail`` a replica's last lines."""

    def __init__(
        self, spec: SetSpec, look: Callable[[], Sequence[ReplicaObservation]], count: Callable[[], Counted], tail: Tail
    ) -> None:
        self._spec = spec
        self._look = look
        self._count = count
        self._tail = tail

    def wait(self, action: WatchSet, report: Report, cancel: threading.Event) -> Counted:
        """Return when the time is up, or on ``cancel``, with what was answered. ``Failed`` when the set is not well."""
        deadline = time.monotonic() + action.seconds
        began = {replica.index: replica for replica in self._look()}
        before = self._count()
        seen = Counted(0, 0)
        report(f"watched for {action.seconds:g} s")
        while True:
            seen, before = self._counted(seen, before)
            self._refuse_errors(seen, action.max_error_share)
            for replica in self._look():
                self._refuse_ill(replica, began.get(replica.index))
            left = deadline - time.monotonic()
            if left <= 0 or cancel.wait(min(left, POLL_SECONDS)):
                return seen

    def _counted(self, seen: Counted, before: Counted) -> tuple[Counted, Counted]:
        now = self._count()
        # a new HAProxy process counts from nothing again
        answers = now.answers - before.answers if now.answers >= before.answers else now.answers
        errors = now.errors - before.errors if now.errors >= before.errors else now.errors
        return Counted(seen.answers + answers, seen.errors + errors), now

    def _refuse_errors(self, seen: Counted, limit: float | None) -> None:
        if limit is None or seen.answers < LEAST_ANSWERS:
            return
        share = seen.errors / seen.answers
        if share > limit:
            raise Failed(
                f"set {self._spec.id}: {seen.errors} of {seen.answers} answers were errors of the server"
                f" ({share:.1%}, at most {limit:.1%} is allowed)"
            )

    def _refuse_ill(self, replica: ReplicaObservation, before: ReplicaObservation | None) -> None:
        name = f"replica {replica.name} of set {self._spec.id}"
        if replica.state == "exited":
            why = f" ({replica.problem})" if replica.problem else ""
            raise Failed(
                f"{name} ended with exit status {replica.exit_status}{why} while it was watched",
                status=replica.exit_status or 1,
                tail=self._tail(replica),
            )
        if before is not None and (replica.restarts, replica.container) != (before.restarts, before.container):
            raise Failed(f"{name} ended while it was watched, and was started again", tail=self._tail(replica))
        if replica.health == "unhealthy":
            raise Failed(f"{name} fell ill while it was watched: {replica.problem}", tail=self._tail(replica))
