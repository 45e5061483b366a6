"""What a rollback with data would lose: found out before anybody is asked. Used by ``bennu rollback --with-data``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bennu.cli.context import Context

if TYPE_CHECKING:
    from bennu.deploy.history import Revision
    from bennu.engine.snapshots import VolumeSnapshot
    from bennu.wiring import Fleet


def snapshots_to_restore(fleet: Fleet, project: str, target: Revision, number: int | None) -> dict[str, VolumeSnapshot]:
    """The snapshot of each volume that goes with a revision. ``NotFound`` names those that there are.

    ``number``: the revision that the user named, whose own data come first.
    """
    from bennu.deploy.data import snapshot_names, to_restore

    wanted = target if number is None else fleet.history.revision(project, number)
    names = snapshot_names(fleet.history.release(target.release))
    found = to_restore(fleet.engine.snapshots(project), fleet.history.revisions(project), wanted, names)
    fleet.engine.data.refuse_strangers(found, project)
    return found


def show_loss(fleet: Fleet, found: dict[str, VolumeSnapshot], context: Context) -> None:
    """Print what has changed since, by a walk over each volume and its snapshot."""
    from bennu.deploy.data_text import loss_lines

    changes = [fleet.engine.changes(one.id) for one in found.values()]
    for line in loss_lines(changes, list(found.values()), time.time()):
        context.print(line)
    context.print()
