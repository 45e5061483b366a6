"""Kept sets cool down: which of them has to stop now, and when to look again. Pure.

A set that lost the traffic stays *warm* (running) for ``keep_warm`` so that a rollback is a switch and nothing else;
then it is stopped. A set that writes state which the active one shares is never kept warm.
"""

from __future__ import annotations

from typing import Final

from bennu.engine.sets import Observation, SetId

LATER_SECONDS: Final = 3600.0


def cooling(observation: Observation, keep_warm_seconds: float, now: float) -> tuple[tuple[SetId, ...], float]:
    """The warm kept sets whose time is over, and the seconds until the next one's is.

    ``now`` and ``SetObservation.released`` are Unix seconds. Sets that never had the traffic are a rollout's affair.
    """
    active = set(observation.active.values())
    due: list[SetId] = []
    later = LATER_SECONDS
    for name, found in sorted(observation.sets.items()):
        if name in active or found.released is None or not any(r.state == "running" for r in found.replicas):
            continue
        warm = 0.0 if found.spec.service.writes_shared_state else keep_warm_seconds
        left = found.released + warm - now
        if left <= 0:
            due.append(name)
        else:
            later = min(later, left)
    return tuple(due), later
