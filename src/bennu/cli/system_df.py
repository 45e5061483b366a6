"""``bennu system df``: what the store takes on the disk, and what could be had back."""

from __future__ import annotations

from bennu.cli import human
from bennu.cli.command import FORMAT, Arguments, Command
from bennu.cli.context import Context
from bennu.cli.output import Column, listing

COMMAND = Command(
    "system df",
    "Show what the store takes on the disk",
    (FORMAT,),
    description="Reclaimable is what `bennu rmi`, `rm`, `volume rm` and `gc` could free without touching what runs.",
    examples=(("bennu system df", "images, containers, volumes, build cache"),),
)

_COLUMNS = (
    Column("TYPE", "Type"),
    Column("TOTAL", "TotalCount"),
    Column("ACTIVE", "Active"),
    Column("SIZE", "Size"),
    Column("RECLAIMABLE", "Reclaimable"),
)


def run(args: Arguments, context: Context) -> int:
    """One line a kind of thing."""
    from bennu.wiring import Store

    with Store(context.settings) as store:
        kinds = store.usage()
    records = [
        {
            "Type": kind.what,
            "TotalCount": str(kind.count),
            "Active": str(kind.active),
            "Size": human.size(kind.size_bytes),
            "Reclaimable": _reclaimable(kind.reclaimable_bytes, kind.size_bytes),
        }
        for kind in kinds
    ]
    context.stdout.write(listing(records, _COLUMNS, form=args.format))
    return 0


def _reclaimable(part_bytes: int, whole_bytes: int) -> str:
    share = f" ({100 * part_bytes // whole_bytes}%)" if whole_bytes else ""
    return human.size(part_bytes) + share
