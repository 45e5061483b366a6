"""Kept sets cool down: which of them has to be frozen or stopped now, and when to look again. Pure.

A set that lost the traffic stays *warm* (running) for ``keep_warm`` so that a rollback is a switch and nothing else.
Then the newest kept sets of each service, ``keep_frozen`` of them, are *frozen*: they keep their memory and no
processor, and are back within a moment. All older ones are *stopped*: they cost disk alone. A set that writes state
which the active one shares is stopped at once, and so is everything where the engine cannot freeze.
"""

from __future__ import annotations

from typing import Final

import msgspec

from bennu.engine.clock import believable
from bennu.engine.sets import Observation, SetId, SetObservation

LATER_SECONDS: Final = 3600.0
SLACK_SECONDS: Final = 60.0
"""Set back by less, a clock only lets a set stay warm for so much longer."""


class Keeping(msgspec.Struct, frozen=True, kw_only=True):
    """How kept sets cool down."""

    warm_seconds: float = 0.0
    frozen: int = 0


class Cooling(msgspec.Struct, frozen=True, kw_only=True):
    """The sets to freeze and to stop now, and the seconds until the next one's time."""

    freeze: tuple[SetId, ...] = ()
    stop: tuple[SetId, ...] = ()
    later_seconds: float = LATER_SECONDS

    @property
    def is_due(self) -> bool:
        """There is something to do now."""
        return bool(self.freeze or self.stop)


def cooling(observation: Observation, keeping: Keeping, now: float) -> Cooling:
    """What has to cool down at ``now``.

    ``now`` and ``SetObservation.released`` are Unix seconds. Sets that never had the traffic are a rollout's affair.
    """
    freeze: list[SetId] = []
    stop: list[SetId] = []
    later = LATER_SECONDS
    for rank, found in _kept(observation):
        states = {replica.state for replica in found.replicas}
        if found.released is None or not states & {"running", "paused"}:
            continue
        writes = found.spec.service.writes_shared_state
        warm = 0.0 if writes else keeping.warm_seconds
        left = believable(found.released + warm, now, warm + SLACK_SECONDS) - now
        if "running" in states and left > 0:
            later = min(later, left)
        elif writes or rank >= keeping.frozen:
            stop.append(found.id)
        elif "running" in states:
            freeze.append(found.id)
    return Cooling(freeze=tuple(sorted(freeze)), stop=tuple(sorted(stop)), later_seconds=later)


def _kept(observation: Observation) -> list[tuple[int, SetObservation]]:
    """The kept sets with their rank in their service: 0 for the one that had the traffic last."""
    active = set(observation.active.values())
    kept = [found for name, found in observation.sets.items() if name not in active and found.released is not None]
    ranks: dict[str, int] = {}
    ranked = []
    for found in sorted(kept, key=lambda one: (-(one.released or 0.0), one.id)):
        service = found.spec.service.name
        ranked.append((ranks.get(service, 0), found))
        ranks[service] = ranks.get(service, 0) + 1
    return ranked
