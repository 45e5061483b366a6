"""What sets answer while somebody looks: the switch's counters, read again and again, and a clock that may jump.

HAProxy measures times by the wall clock. What was counted between two readings over which that clock and the one that
never jumps are at odds is left out of the times, and so are the answers that were under way then.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from bennu.switch.meter import Figures, Meter, Reading

JUMP_SECONDS: Final = 0.05
SETTLING_SECONDS: Final = 5.0
"""How long after a jump answers may have been begun before it."""


class Measurement:
    """From now on. ``read`` gives the switch's counters; ``clocks`` the wall clock and the steady one, in seconds."""

    def __init__(
        self,
        read: Callable[[], Reading],
        clocks: Callable[[], tuple[float, float]] = lambda: (time.time(), time.monotonic()),
    ) -> None:
        self._read = read
        self._clocks = clocks
        self._wall, self._steady = clocks()
        self._jumped: float | None = None
        self.first = read()
        self._meter = Meter(self.first)

    def take(self) -> None:
        """Read once more."""
        wall, steady = self._clocks()
        if abs((wall - self._wall) - (steady - self._steady)) > JUMP_SECONDS:
            self._jumped = steady
        self._wall, self._steady = wall, steady
        settled = self._jumped is None or steady - self._jumped > SETTLING_SECONDS
        self._meter.take(self._read(), timed=settled)

    def figures(self, set_id: str) -> Figures:
        """What a set has answered since."""
        return self._meter.figures(set_id)
