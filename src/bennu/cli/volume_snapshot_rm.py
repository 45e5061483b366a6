"""``bennu volume snapshot-rm``: snapshots that nobody wants to go back to."""

from __future__ import annotations

from bennu.cli.command import YES, Arguments, Command, operand
from bennu.cli.context import Context
from bennu.cli.several import each

COMMAND = Command(
    "volume snapshot-rm",
    "Remove snapshots of volumes",
    (YES, operand("SNAPSHOT", dest="snapshots", help="Ids, as `volume snapshots` shows them", repeatable=True)),
    description="A rollback with data to the revision that a snapshot belongs to is not possible any more.",
)


def run(args: Arguments, context: Context) -> int:
    """Ask, and remove each."""
    from bennu.wiring import Fleet

    with Fleet(context.settings) as fleet:
        snapshots = fleet.engine.data.snapshots
        for name in args.snapshots:
            snapshots.get(name)
        context.confirm(f"Remove {', '.join(args.snapshots)} for good?", yes=args.yes)

        def remove(name: str) -> None:
            snapshots.remove(snapshots.get(name).id)
            context.print(name)

        return each(args.snapshots, remove, context)
