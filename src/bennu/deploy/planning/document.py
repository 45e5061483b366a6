"""A plan for programs: what ``bennu plan --format json`` prints. Pure.

The document is described in docs/planning.md and is promised: fields are added, and none changes its meaning without
``version`` counting up. It tells no value of an environment variable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from bennu.deploy.planning.configuration import contents, differences
from bennu.deploy.planning.plan import Change, Plan
from bennu.deploy.planning.steps import steps
from bennu.deploy.planning.text import sign, summary

if TYPE_CHECKING:
    from bennu.deploy.planning.details import Details
    from bennu.engine.sets import SetSpec

VERSION: Final = 1


def document(plan: Plan, details: Details) -> dict[str, Any]:
    """The plan as plain values."""
    return {
        "format": "bennu plan",
        "version": VERSION,
        "project": plan.project,
        "revision": plan.revision,
        "stamp": plan.stamp,
        "release": plan.release,
        "active_release": details.release,
        "scope": plan.scope,
        "has_changes": not plan.is_empty,
        "summary": summary(plan),
        "counts": {
            kind: sum(change.kind == kind for change in plan.changes)
            for kind in ("create", "replace", "repair", "remove", "keep")
        },
        "services": [_change(change, details) for change in plan.changes],
        "replicas_to_make_again": [one.name for one in plan.renew],
        "volumes_added": sorted(details.volumes_added),
        "volumes_removed": sorted(details.volumes_removed),
        "sets_to_remove": list(plan.prune),
        "steps": steps(plan, details.gaps),
    }


def _change(change: Change, details: Details) -> dict[str, Any]:
    inside = details.images.get(change.service)
    old, new = change.old, change.new
    fields = (*differences(old.service, new.service), *contents(old.files, new.files)) if old and new else ()
    return {
        "service": change.service,
        "action": change.kind,
        "sign": sign(change).strip(),
        "order": change.order if change.kind == "replace" else None,
        "returns": change.returns and change.kind == "replace",
        "old": _set(change.old),
        "new": _set(change.new),
        "reasons": list(change.reasons),
        "configuration": [msgspec.to_builtins(one) for one in fields],
        "image": None if inside is None else msgspec.to_builtins(inside),
        "expected_gap_seconds": details.gaps.get(change.service),
    }


def _set(spec: SetSpec | None) -> dict[str, Any] | None:
    if spec is None:
        return None
    return {"set": spec.id, "replicas": spec.replicas, "image": spec.image, "image_name": spec.image_name}
