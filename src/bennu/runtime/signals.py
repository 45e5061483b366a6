"""Signals as people and images name them: ``SIGTERM``, ``term``, ``15``. Pure."""

from __future__ import annotations

import signal

from bennu.errors import Invalid


def signal_number(text: str) -> int:
    """The number of a signal; ``Invalid`` if there is none of that name."""
    name = text.strip().upper()
    if name.isdigit() and 0 < int(name) <= signal.SIGRTMAX:
        return int(name)
    full = name if name.startswith("SIG") else f"SIG{name}"
    for prefix, base in (("SIGRTMIN", signal.SIGRTMIN), ("SIGRTMAX", signal.SIGRTMAX)):
        offset = full.removeprefix(prefix)
        if full.startswith(prefix) and (not offset or (offset[0] in "+-" and offset[1:].isdigit())):
            number = int(base) + int(offset or 0)
            if signal.SIGRTMIN <= number <= signal.SIGRTMAX:
                return number
    if full in signal.Signals.__members__:
        return int(signal.Signals[full])
    raise Invalid(f"signal {text!r} is unknown", "signal(7) has the names, such as SIGTERM")
