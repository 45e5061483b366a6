"""``bennu releases``: the releases of a project, what of them is kept, and which are bad."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bennu.cli.command import FORMAT, PROJECT, Arguments, Command, switch
from bennu.cli.context import Context
from bennu.cli.fleet import project_name
from bennu.cli.human import ago
from bennu.cli.output import Column, listing, truncated
from bennu.digest import short

if TYPE_CHECKING:
    from bennu.deploy.kept import ReleaseRecord

COMMAND = Command(
    "releases",
    "List the releases of a project, and what is kept of them",
    (*PROJECT, FORMAT, switch("-q", "--quiet", help="Only the digests")),
    description=(
        "A release is images, configuration and secrets of the whole project; `bennu rollback REVISION` goes back to "
        "one that served. KEPT says how quickly it could come back: its sets are warm (they run), frozen or stopped, "
        "or have to be made again from its images; gone means that an image has to be built again first. A bad one "
        "failed when it was last tried, and no rollback picks it."
    ),
)

REASON_COLUMNS = 60

COLUMNS = (
    Column("RELEASE", "ID"),
    Column("REVISIONS", "Revisions"),
    Column("COMMIT", "Commit"),
    Column("KEPT", "Kept"),
    Column("USED", "Used"),
    Column("IMAGES", "Images"),
    Column("BAD", "Bad"),
)


def run(args: Arguments, context: Context) -> int:
    """Print them, the last used first."""
    from bennu.deploy.kept import records
    from bennu.wiring import Fleet

    name = project_name(args, context)
    now = time.time()
    with Fleet(context.settings) as fleet:
        revisions = fleet.history.revisions(name)
        releases = {digest: fleet.history.release(digest) for digest in {each.release for each in revisions}}
        images = {image.manifest for image in fleet.images.walk()}
        found = records(revisions, releases, fleet.engine.observe(name), images)
    rows = [_record(one, name, now) for one in found]
    context.stdout.write(listing(rows, COLUMNS, form=args.format, quiet="ID" if args.quiet else None))
    return 0


def _record(one: ReleaseRecord, project: str, now: float) -> dict[str, object]:
    return {
        "Project": project,
        "ID": short(one.release),
        "Release": one.release,
        "Revisions": list(one.revisions),
        "Commit": (one.commit or "")[:10],
        "Kept": one.remains,
        "Served": one.served,
        "Used": ago(one.last, now),
        "UsedAt": one.last,
        "Images": list(dict.fromkeys(one.images.values())),
        "Sets": one.sets,
        "Bad": truncated(f"bad: {one.reason or 'failed'}", REASON_COLUMNS) if one.bad else "",
        "IsBad": one.bad,
        "Reason": one.reason or "",
    }
