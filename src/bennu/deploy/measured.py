"""What a rollout measures as it goes: gaps of services that were replaced stop-first, what its receipts say. Pure.

The gap of a service runs from the moment that its old set was told to stop until its new one had the traffic. The
history keeps it, so that the next plan can say how long the gap is expected to be.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING, Final

from bennu.deploy.planning.plan import Plan
from bennu.engine.actions import Action, Activate, Receipt, StopSet

if TYPE_CHECKING:
    from bennu.deploy.history import Revision

GAP: Final = "gap_seconds"
RECENT: Final = 5
"""So many of a service's last gaps are taken into account."""


class Measured:
    """The figures of one rollout, by service or set."""

    def __init__(self, plan: Plan) -> None:
        changes = [c for c in plan.changes if c.kind == "replace" and c.order == "stop-first" and c.old and c.new]
        self._by_old = {c.old.id: c.service for c in changes if c.old}
        self._by_new = {c.service: c.new.id for c in changes if c.new}
        self._stopped: dict[str, float] = {}
        self.all: dict[str, dict[str, float]] = {}

    def note(self, action: Action, receipt: Receipt, now: float, seconds: float) -> None:
        """An action has been done at ``now`` (of a clock that only goes forward) and took so long."""
        if isinstance(action, StopSet) and action.set in self._by_old:
            self._stopped.setdefault(self._by_old[action.set], now - seconds)
        if isinstance(action, Activate):
            for service, name in action.sets.items():
                if self._by_new.get(service) == name and service in self._stopped:
                    self._add(service, {GAP: round(now - self._stopped.pop(service), 3)})
        if receipt.figures:
            subject = getattr(action, "set", None) or getattr(action, "project", "")
            self._add(str(subject), receipt.figures)

    def _add(self, subject: str, figures: dict[str, float]) -> None:
        self.all.setdefault(subject, {}).update(figures)


def expected_gap(service: str, revisions: Sequence[Revision]) -> float | None:
    """The median of a service's last gaps in seconds, from revisions newest first; None where none was measured."""
    found = [each.figures[service][GAP] for each in revisions if GAP in each.figures.get(service, {})]
    return median(found[:RECENT]) if found else None
