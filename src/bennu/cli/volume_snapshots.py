"""``bennu volume snapshots``: the snapshots of volumes, with the revisions whose data they hold."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bennu.cli.command import FORMAT, PROJECT_NAME, Arguments, Command, switch
from bennu.cli.context import Context
from bennu.cli.human import ago, clock, size
from bennu.cli.output import Column, listing

if TYPE_CHECKING:
    from bennu.engine.snapshots import VolumeSnapshot

COMMAND = Command(
    "volume snapshots",
    "List the snapshots of volumes",
    (PROJECT_NAME, FORMAT, switch("-q", "--quiet", help="Only the ids")),
    description=(
        "A volume that `x-bennu.snapshot` names is snapshotted at each switch, before new code starts. A snapshot "
        "belongs to the revision whose data it holds: `bennu rollback REVISION --with-data` goes back to it."
    ),
)

COLUMNS = (
    Column("SNAPSHOT", "ID"),
    Column("VOLUME", "Volume"),
    Column("PROJECT", "Project"),
    Column("REVISION", "Revision"),
    Column("CREATED", "Created"),
    Column("METHOD", "Method"),
    Column("WRITER", "Consistency"),
    Column("FILES", "Files"),
    Column("SIZE", "Size"),
    Column("TOOK", "Took"),
)


def run(args: Arguments, context: Context) -> int:
    """Print them, the oldest first."""
    from bennu.wiring import Fleet

    with Fleet(context.settings) as fleet:
        found = fleet.engine.data.list(args.project)
    records = [_record(one, time.time()) for one in found]
    context.stdout.write(listing(records, COLUMNS, form=args.format, quiet="ID" if args.quiet else None))
    return 0


def _record(one: VolumeSnapshot, now: float) -> dict[str, object]:
    return {
        "ID": one.id,
        "Volume": one.volume,
        "Project": one.project,
        "Revision": one.revision,
        "Rollout": one.rollout,
        "Created": ago(one.created, now),
        "CreatedAt": one.created,
        "Method": one.method,
        "Consistency": one.consistency,
        "Files": one.files,
        "Size": size(one.size_bytes),
        "SizeBytes": one.size_bytes,
        "Took": clock(one.seconds),
        "Path": one.path,
    }
