"""The base of all values that are kept, compared and sent: of a fleet file, a plan, a container. Pure."""

from __future__ import annotations

import msgspec


class Value(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of all values of the model: frozen, by keyword only, and silent in JSON about what has its default."""
