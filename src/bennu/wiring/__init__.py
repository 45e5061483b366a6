"""Wiring: the one place that chooses implementations and puts them together for one root.

``Store`` is the ground floor; what stands above adds its own class here. Parts are made at first use, so a verb pays
only for what it touches, and everything that was opened closes with the object. The verbs and the agent start here;
nothing below imports this module.
"""

from bennu.wiring.fleet import Fleet
from bennu.wiring.runtime import Runtime
from bennu.wiring.store import Store

__all__ = ["Fleet", "Runtime", "Store"]
