"""What hooks and the log are told of drift that the agent has found. Pure."""

from __future__ import annotations

from typing import Final, NamedTuple

from bennu.deploy.drift.records import Look, identity
from bennu.deploy.drift.text import about, command, sentence
from bennu.digest import sha256_hex

TOLD: Final = 20
"""So many findings stand in one event."""


class Told(NamedTuple):
    """``key`` names the occasion: the findings that were new."""

    reason: str
    key: str
    detail: dict[str, str | int | float | bool | list[str] | None]


def told(whole: Look, news: Look) -> Told:
    """The event for a look that found something new."""
    new = news.own
    first = f"{about(new[0])}: {sentence(new[0])}"
    rest = f", and {len(new) - 1} more" if len(new) > 1 else ""
    return Told(
        reason=f"{first}{rest}; `{command(new[0])}`",
        key=sha256_hex("\n".join(sorted(identity(one) for one in new)).encode() + f"{news.taken:.0f}".encode()),
        detail={
            "count": len(whole.own),
            "new": [f"{about(one)}: {sentence(one)}" for one in new[:TOLD]],
            "mend": list(dict.fromkeys(command(one) for one in new[:TOLD])),
        },
    )
