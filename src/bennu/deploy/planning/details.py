"""What a plan does not know by itself and a person wants to see: what changes inside the images, how long gaps were.

``gather`` looks into the store and the history and changes nothing. What can no longer be looked at (an old image that
is gone) is left out: the plan is good without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bennu.compose.model import Volume
from bennu.deploy.history import History
from bennu.deploy.measured import expected_gap
from bennu.deploy.planning.plan import Plan
from bennu.digest import Digest
from bennu.errors import BennuError

if TYPE_CHECKING:
    from bennu.store.image_changes import ImageChanges
    from bennu.store.images import Images


@dataclass(frozen=True)
class Details:
    """By service: ``images`` of those whose image is another one, ``gaps`` in seconds where one was measured before.

    ``release``: that of the active revision. ``volumes_added`` and ``volumes_removed`` by key, beside it; the data of
    a removed one stays.
    """

    images: Mapping[str, ImageChanges] = field(default_factory=dict)
    gaps: Mapping[str, float] = field(default_factory=dict)
    release: Digest | None = None
    volumes_added: Mapping[str, Volume] = field(default_factory=dict)
    volumes_removed: Mapping[str, Volume] = field(default_factory=dict)


def gather(plan: Plan, images: Images | None, history: History) -> Details:
    """Look into images and history; with None the images are not looked into, since that takes its time."""
    revisions = history.revisions(plan.project)
    gaps = {
        change.service: seconds
        for change in plan.changes
        if change.kind == "replace" and change.order == "stop-first"
        if (seconds := expected_gap(change.service, revisions)) is not None
    }
    active = history.active(plan.project)
    before = {} if active is None else history.release(active.release).volumes
    return Details(
        images={
            change.service: found
            for change in plan.changes
            if images is not None and change.old and change.new and change.old.image != change.new.image
            if (found := changes_between(images, change.old.image, change.new.image)) is not None
        },
        gaps=gaps,
        release=None if active is None else active.release,
        volumes_added={key: one for key, one in plan.volumes.items() if key not in before},
        volumes_removed={key: one for key, one in before.items() if key not in plan.volumes},
    )


def changes_between(images: Images, before: Digest, after: Digest) -> ImageChanges | None:
    """What is different inside two images by their manifests, or None where one of them cannot be looked at."""
    from bennu.store.image_changes import compare

    try:
        return compare(images, images.get(before), images.get(after))
    except (BennuError, OSError):
        return None
