"""Drift in words: a sentence for each, the command that mends it, a page grouped by what it is about. Pure.

Written to be read at three in the morning: what, since when, what to do; the worst and the many do not hide the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from bennu.deploy.drift.comparison import Changed, Drift, Missing, Unexpected, span
from bennu.deploy.drift.kinds import KINDS, Mend

if TYPE_CHECKING:
    from bennu.deploy.drift.records import Look

SHOWN: Final = 12
"""So many lines of one kind about one thing; the rest is counted. JSON has them all."""
_SPEAKS_FOR_ITSELF: Final = frozenset(
    {"a replica", "a rule", "held", "whole", "the layer's digest", "running", "there", "recorded"}
)


def sentence(drift: Drift) -> str:
    """What is amiss, without what it is about."""
    kind = KINDS[drift.kind]
    name = kind.noun if kind.is_only else f"{kind.noun} {drift.field}"
    match drift:
        case Missing():
            told = "" if drift.want in _SPEAKS_FOR_ITSELF or kind.is_only or _is_secret(drift) else f" ({drift.want})"
            return f"{name}{told} is missing"
        case Unexpected():
            told = "" if drift.have in _SPEAKS_FOR_ITSELF or _is_secret(drift) else f": {drift.have}"
            return f"unexpected {name}{told}"
        case Changed():
            if _is_secret(drift):
                return f"{name} has another value"
            if drift.kind == "etc":
                return f"{name} was changed"
            return f"{name}: {drift.have}, should be {drift.want}"


def _is_secret(drift: Drift) -> bool:
    return drift.kind == "environment" or (drift.kind == "configuration" and drift.field == "env")


def about(drift: Drift) -> str:
    """What it is about: ``web.2``, the host, the switch."""
    return drift.subject or KINDS[drift.kind].about


def command(drift: Drift) -> str:
    """The command that mends it."""
    name = drift.field if drift.kind == "replica" else drift.subject
    mend = KINDS[drift.kind].mend
    if mend == "replace" and " " in name:  # of a kept set
        mend = "around"
    commands: dict[Mend, str] = {
        "replace": f"bennu apply --replace {name}",
        "around": "bennu drift --fix",
        "agent": "bennu drift --fix",
        "remove": f"bennu rm --force {drift.field}",
        "rebuild": "bennu reprovision --rebuild",
        "apply": "bennu apply",
        "pull": f"bennu pull {drift.field} && bennu apply",
        "restore": "bennu apply",
        "reprovision": f"bennu reprovision {name.rpartition('.')[0] or name}",
        "accept": "bennu drift --accept",
    }
    return commands[mend]


_REMARKS: Final = {
    "accept": "if it was meant; a fleet cannot mend its host",
    "restore": "makes it again, empty: put its data back from a snapshot or a backup first",
}


def page(project: str, drifts: Sequence[Drift], notes: Sequence[str], now: float) -> str:
    """All of it, grouped by what it is about; held replicas last, since their drift is meant."""
    own = [drift for drift in drifts if not drift.held]
    held = [drift for drift in drifts if drift.held]
    lines: list[str] = []
    for group in _groups(own):
        lines += [*_group(group, now), ""]
    for group in _groups(held):
        lines += [f"{about(group[0])} is held; what differs there is meant to:", *_sentences(group, now), ""]
    lines += [f"note: {note}" for note in notes]
    lines.append(summary(project, drifts))
    return "\n".join(lines) + "\n"


def summary(project: str, drifts: Sequence[Drift]) -> str:
    """One line: how many, about how many things."""
    own = [drift for drift in drifts if not drift.held]
    held = len(drifts) - len(own)
    tail = f" ({held} more in held replicas)" if held else ""
    if not own:
        return f"No drift: {project} is as it was made{tail}."
    things = len({about(drift) for drift in own})
    counted = f"{len(own)} {'difference' if len(own) == 1 else 'differences'}"
    return f"Drift: {counted} in {things} {'place' if things == 1 else 'places'}{tail}."


def _groups(drifts: Iterable[Drift]) -> list[list[Drift]]:
    found: dict[str, list[Drift]] = {}
    for drift in drifts:
        found.setdefault(about(drift), []).append(drift)
    return list(found.values())


def _group(group: list[Drift], now: float) -> list[str]:
    mends: dict[str, str] = {}
    for drift in group:
        mends.setdefault(command(drift), _REMARKS.get(KINDS[drift.kind].mend, ""))
    lines = [about(group[0]), *_sentences(group, now)]
    lines += [f"  -> {words}{f'  ({remark})' if remark else ''}" for words, remark in mends.items()]
    return lines


def _sentences(group: list[Drift], now: float) -> list[str]:
    lines: list[str] = []
    by_kind: dict[str, list[Drift]] = {}
    for drift in group:
        by_kind.setdefault(drift.kind, []).append(drift)
    for kind, members in by_kind.items():
        lines += [f"  {_sign(drift)} {sentence(drift)}{_when(drift, now)}" for drift in members[:SHOWN]]
        if len(members) > SHOWN:
            lines.append(f"    and {len(members) - SHOWN} more of this kind ({kind}); --format json has all of them")
    return lines


def _sign(drift: Drift) -> str:
    match drift:
        case Missing():
            return "-"
        case Unexpected():
            return "+"
        case Changed():
            return "~"


def _when(drift: Drift, now: float) -> str:
    if drift.since is not None and drift.since > 0:
        if now - drift.since < 1:
            return "  (just now)"
        return f"  (for {span(max(0.0, now - drift.since))})"
    if drift.first_seen is not None and now - drift.first_seen >= 1:
        return f"  (seen {span(now - drift.first_seen)} ago)"
    return ""


def document(look: Look) -> str:
    """A look as JSON in one line: each drift with its sentence and the command that mends it. Stable."""
    plain: dict[str, object] = msgspec.to_builtins(look)
    drifts = [
        {**msgspec.to_builtins(one), "about": about(one), "text": sentence(one), "mend": command(one)}
        for one in look.drifts
    ]
    whole = {
        **plain,
        "notes": list(look.notes),
        "drifts": [one for one in drifts if not one.get("held")],
        "held": [one for one in drifts if one.get("held")],
    }
    return msgspec.json.encode(whole, order="sorted").decode()
