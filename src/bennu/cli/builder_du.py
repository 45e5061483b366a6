"""``bennu builder du``: what the build cache takes on the disk, tree by tree."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bennu.cli import human
from bennu.cli.command import FORMAT, Arguments, Command, switch
from bennu.cli.context import Context
from bennu.cli.output import Column, listing

if TYPE_CHECKING:
    from bennu.build.storage import Entry

LABEL_COLUMNS = 60

COMMAND = Command(
    "builder du",
    "Show what the build cache takes on the disk",
    (FORMAT, switch("--no-trunc", help="Show whole labels")),
    description=(
        "One line a step, those that would be removed first at the top. A shared step is one that an image or a "
        "container stands on: its bytes are theirs, and to forget it would free nothing. A superseded one was run "
        "again since, a failed one can be looked into with `bennu shell --failed`. The cache keeps itself below a "
        "limit: 20 GB, or a quarter of the file system where that is less, or what BENNU_BUILD_CACHE_LIMIT says "
        "(20GB, 512MiB, 10%, none)."
    ),
    examples=(("bennu builder du --format json", "one object a line, for a script"),),
)

COLUMNS = (
    Column("ID", "ID"),
    Column("TYPE", "Type"),
    Column("STEP", "Step"),
    Column("SIZE", "Size"),
    Column("CREATED", "CreatedSince"),
    Column("LAST USED", "LastUsedSince"),
    Column("SHARED", "Shared"),
    Column("RECLAIMABLE", "Reclaimable"),
)


def run(args: Arguments, context: Context) -> int:
    """List, and sum up."""
    from bennu.wiring import Runtime

    with Runtime(context.settings) as store:
        entries = store.build_storage.entries()
        limit = store.build_storage.allowance().limit_bytes
    records = [record(entry, time.time(), None if args.no_trunc else LABEL_COLUMNS) for entry in entries]
    context.stdout.write(listing(records, COLUMNS, form=args.format))
    if args.format in {None, "table"}:
        own = sum(entry.size_bytes for entry in entries if not entry.is_shared)
        context.print()
        context.print(f"Shared:\t\t{human.size(sum(entry.size_bytes for entry in entries if entry.is_shared))}")
        context.print(f"Reclaimable:\t{human.size(sum(entry.size_bytes for entry in entries if entry.is_reclaimable))}")
        context.print(f"Total:\t\t{human.size(own)} of {'no limit' if limit is None else human.size(limit)}")
    return 0


def record(entry: Entry, now: float, columns: int | None = None) -> dict[str, object]:
    """An entry with the names of fields that listings show."""
    from bennu.cli.image_record import shown_time
    from bennu.cli.output import shown, truncated

    label = shown(" ".join(entry.label.split()))
    return {
        "ID": entry.id,
        "Step": label if columns is None else truncated(label, columns),
        "Type": entry.kind,
        "Size": human.size(entry.size_bytes),
        "SizeBytes": entry.size_bytes,
        "CreatedAt": shown_time(entry.created),
        "CreatedSince": human.ago(entry.created, now),
        "LastUsedAt": shown_time(entry.used),
        "LastUsedSince": human.ago(entry.used, now),
        "Shared": entry.is_shared,
        "InUse": entry.is_busy,
        "Reclaimable": entry.is_reclaimable,
    }
