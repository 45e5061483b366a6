"""A plan as people read it, on a terminal or in a pull request: Terraform's signs, what differs, the steps. Pure.

``+`` created, ``-/+`` replaced (the new set stands before the old one goes), ``+/-`` replaced with a gap
(stop-first), ``-`` removed, ``~`` repaired or made again in part; unchanged services take one line together.
``sign`` of a line below: ``+`` added, ``~`` changed, ``-`` removed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bennu.deploy.data_text import data_lines
from bennu.deploy.planning.image_text import lines as image_lines
from bennu.deploy.planning.plan import Change, Plan
from bennu.deploy.planning.steps import gap, replicas, steps
from bennu.digest import Digest

if TYPE_CHECKING:
    from bennu.deploy.planning.details import Details

SIGNS: Final = {"create": "+", "remove": "-", "repair": "~", "keep": " "}
LIMIT: Final = 10
"""So many packages and files of an image are shown unless all are asked for."""


def render(plan: Plan, details: Details | None = None, *, full: bool = False) -> list[str]:
    """The plan's lines, without colours."""
    if plan.is_empty:
        if plan.scope:
            return [f"Project {plan.project}, {plan.scope}: no changes."]
        return [f"Project {plan.project}: no changes. What runs is what the fleet file says."]
    before = f"{_short(details.release)} -> " if details and details.release not in {None, plan.release} else ""
    lines = [f"Project {plan.project} at revision {plan.revision}, release {before}{_short(plan.release)}"]
    if plan.scope:
        lines.append(f"Scope: {plan.scope}")
    lines.append("")
    for change in plan.changes:
        if change.kind != "keep":
            lines += _block(plan, change, details, None if full else LIMIT)
    for one in plan.renew:
        lines.append(f"  ~ {one.name}: make this replica again from the image, in set {one.set}")
    lines += _project(plan, details)
    taken = steps(plan, details.gaps if details else {})
    if taken:
        width = len(str(len(taken)))
        lines += ["", "Steps:", *(f"  {number:>{width}}. {step}" for number, step in enumerate(taken, 1))]
    return [*lines, "", summary(plan)]


def summary(plan: Plan) -> str:
    """``Plan: 1 service to create, 1 to replace.``"""
    names = {"create": "to create", "replace": "to replace", "repair": "to repair", "remove": "to remove"}
    counts = {kind: sum(change.kind == kind for change in plan.changes) for kind in names}
    parts = [f"{count} {names[kind]}" for kind, count in counts.items() if count]
    unchanged = sum(change.kind == "keep" for change in plan.changes)
    if plan.renew:
        parts.append(f"{len(plan.renew)} {'replica' if len(plan.renew) == 1 else 'replicas'} to make again")
    if unchanged:
        parts.append(f"{unchanged} unchanged")
    if plan.prune:
        parts.append(f"{len(plan.prune)} kept {'set' if len(plan.prune) == 1 else 'sets'} to remove")
    return f"Plan: {', '.join(parts) or 'no changes'}."


def sign(change: Change) -> str:
    """The sign of a change."""
    if change.kind == "replace":
        return "-/+" if change.order == "start-first" else "+/-"
    return SIGNS[change.kind]


def _project(plan: Plan, details: Details | None) -> list[str]:
    lines = []
    if details is not None:
        lines += [f"  + volume {one.name} ({key})" for key, one in details.volumes_added.items()]
        lines += [
            f"  - volume {one.name} ({key}) is in the fleet file no more; its data stays"
            for key, one in details.volumes_removed.items()
        ]
    kept = [change.service for change in plan.changes if change.kind == "keep"]
    if kept:
        lines.append(f"    unchanged: {', '.join(kept)}")
    if plan.held:
        lines.append(f"    held, and left alone: {', '.join(plan.held)}")
    lines += data_lines(plan.data)
    if plan.prune:
        lines.append(f"  - kept sets that nothing comes back to: {', '.join(plan.prune)}")
    return lines


def _block(plan: Plan, change: Change, details: Details | None, limit: int | None) -> list[str]:
    lines = [f"{sign(change):>3} {change.service}: {_headline(plan, change)}"]
    if change.kind == "replace":
        inside = details.images.get(change.service) if details else None
        for reason in change.reasons:
            lines.append(f"      {reason}")
            if inside is not None and reason.startswith("image "):
                same = ["        nothing is different inside"] if inside.is_empty else []
                lines += same or image_lines(inside, limit=limit, indent="        ")
    elif change.kind == "repair":
        lines += [f"      {reason}" for reason in change.reasons]
    if change.kind == "replace" and change.order == "stop-first":
        seconds = details.gaps.get(change.service) if details else None
        lines += [f"      {line}" for line in _stop_first(plan, change, gap(seconds))]
    return lines


def _stop_first(plan: Plan, change: Change, expected: str) -> list[str]:
    until = f"so the service does not answer until the new set is ready, {expected}"
    if plan.data is not None and plan.data.restore:
        return ["data go back: all that changes stops before, so that no code meets the other's data,", until]
    without = "; no canary" if plan.services[change.service].x_bennu.canary else ""
    return [
        "the sets share a volume that they write: the old one stops before the new one starts,",
        until,
        f"what is kept of it is stopped, never warm or frozen{without}",
    ]


def _headline(plan: Plan, change: Change) -> str:
    new, old = change.new, change.old
    if change.kind == "remove" and old is not None:
        return f"remove {replicas(change.service, old.replicas)}, set {old.id}; it is no longer in the fleet file"
    assert new is not None
    which = replicas(change.service, new.replicas)
    what = f"{which} of {new.image_name} as set {new.id}"
    if change.kind == "create":
        return f"create {what}"
    if change.kind == "repair":
        return f"start what is missing of {which}, set {new.id}"
    assert old is not None
    verb = "return to" if change.returns else "replace by"
    return f"{verb} {what}, {change.order}; {old.id} {'goes' if old.id in plan.prune else 'is kept'}"


def _short(digest: Digest | None) -> str:
    return "" if digest is None else digest.rpartition(":")[2][:12]
