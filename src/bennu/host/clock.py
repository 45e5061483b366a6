"""The clocks of this host that are not the wall's."""

from __future__ import annotations

import time


def uptime_seconds() -> float:
    """Seconds since this boot, those that the host slept included (``CLOCK_BOOTTIME``). Nobody can set it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
