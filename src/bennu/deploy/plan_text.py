"""A plan as people read it: one block a service, Terraform's signs, a summary line. Pure.

``+`` created, ``-/+`` replaced (the new set stands before the old one goes), ``+/-`` replaced with a gap
(stop-first), ``-`` removed, ``~`` repaired; unchanged services take one line together.
"""

from __future__ import annotations

from bennu.deploy.plan import Change, Plan

_SIGNS = {"create": "+", "remove": "-", "repair": "~", "keep": " "}


def render(plan: Plan) -> list[str]:
    """The plan's lines, without colours."""
    if plan.is_empty:
        return [f"Project {plan.project}: no changes. What runs is what the fleet file says."]
    lines = [f"Project {plan.project}, release {plan.release.rpartition(':')[2][:12]}", ""]
    for change in plan.changes:
        if change.kind != "keep":
            lines += _block(change)
    kept = [change.service for change in plan.changes if change.kind == "keep"]
    if kept:
        lines.append(f"    unchanged: {', '.join(kept)}")
    if plan.prune:
        lines.append(f"  - kept sets that nothing comes back to: {', '.join(plan.prune)}")
    return [*lines, "", summary(plan)]


def summary(plan: Plan) -> str:
    """``Plan: 1 service to create, 1 to replace.``"""
    names = {"create": "to create", "replace": "to replace", "repair": "to repair", "remove": "to remove"}
    counts = {kind: sum(change.kind == kind for change in plan.changes) for kind in names}
    parts = [f"{count} {names[kind]}" for kind, count in counts.items() if count]
    unchanged = sum(change.kind == "keep" for change in plan.changes)
    if unchanged:
        parts.append(f"{unchanged} unchanged")
    if plan.prune:
        parts.append(f"{len(plan.prune)} kept {'set' if len(plan.prune) == 1 else 'sets'} to remove")
    return f"Plan: {', '.join(parts) or 'no changes'}."


def sign(change: Change) -> str:
    """The sign of a change."""
    if change.kind == "replace":
        return "-/+" if change.order == "start-first" else "+/-"
    return _SIGNS[change.kind]


def _block(change: Change) -> list[str]:
    lines = [f"{sign(change):>3} {change.service}: {_headline(change)}"]
    if change.kind in {"replace", "repair"}:
        lines += [f"      {reason}" for reason in change.reasons]
    if change.kind == "replace" and change.order == "stop-first":
        lines.append("      the sets share a volume that they write: the old one stops before the new one starts,")
        lines.append("      so the service does not answer until the new set is ready")
    return lines


def _headline(change: Change) -> str:
    new, old = change.new, change.old
    if change.kind == "remove" and old is not None:
        return f"remove set {old.id} ({_replicas(old.replicas)}); it is no longer in the fleet file"
    assert new is not None
    what = f"{_replicas(new.replicas)} of {new.image_name} as set {new.id}"
    if change.kind == "create":
        return f"create {what}"
    if change.kind == "repair":
        return f"start what is missing of set {new.id}"
    assert old is not None
    verb = "return to" if change.returns else "replace by"
    order = "start-first" if change.order == "start-first" else "stop-first"
    return f"{verb} {what}, {order}; {old.id} is kept"


def _replicas(count: int) -> str:
    return f"{count} replica" if count == 1 else f"{count} replicas"
