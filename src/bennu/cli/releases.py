"""``bennu releases``: the revisions of a project, newest first."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bennu.cli.command import FORMAT, PROJECT, Arguments, Command, switch
from bennu.cli.context import Context
from bennu.cli.fleet import project_name
from bennu.cli.human import ago, clock
from bennu.cli.output import Column, listing
from bennu.digest import short

if TYPE_CHECKING:
    from bennu.deploy.history import Revision

COMMAND = Command(
    "releases",
    "List the revisions of a project",
    (*PROJECT, FORMAT, switch("-q", "--quiet", help="Only the numbers")),
    description="Every apply and rollback is a revision; `bennu rollback NUMBER` goes back to one that served.",
)

COLUMNS = (
    Column("REVISION", "Revision"),
    Column("STATE", "State"),
    Column("KIND", "Kind"),
    Column("RELEASE", "Release"),
    Column("COMMIT", "Commit"),
    Column("STARTED", "Started"),
    Column("TOOK", "Took"),
    Column("BY", "Author"),
    Column("REASON", "Reason"),
)


def run(args: Arguments, context: Context) -> int:
    """Print the history."""
    from bennu.wiring import Fleet

    name = project_name(args, context)
    with Fleet(context.settings) as fleet:
        records = [_record(revision, time.time()) for revision in fleet.history.revisions(name)]
    context.stdout.write(listing(records, COLUMNS, form=args.format, quiet="Revision" if args.quiet else None))
    return 0


def _record(revision: Revision, now: float) -> dict[str, object]:
    back = f"rollback to {revision.origin}" if revision.kind == "rollback" else revision.kind
    origin = revision.origin_of_release
    took = clock(revision.finished - revision.started) if revision.finished is not None else ""
    return {
        "Project": revision.project,
        "Revision": revision.number,
        "State": revision.state,
        "Kind": back,
        "Release": short(revision.release),
        "Commit": origin.commit[:10] if origin and origin.commit else "",
        "Reference": origin.reference if origin else None,
        "Repository": origin.repository if origin else None,
        "Directory": origin.directory if origin else None,
        "Started": ago(revision.started, now),
        "StartedAt": revision.started,
        "Took": took,
        "Author": revision.author,
        "Reason": revision.reason or "",
        "Phases": revision.phases,
        "Sets": revision.sets,
    }
