"""``bennu volume inspect``: everything about volumes, who mounts them and what snapshots they have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bennu.cli.command import FORMAT, Arguments, Command, operand
from bennu.cli.context import Context
from bennu.cli.output import document
from bennu.cli.several import each
from bennu.cli.volume_record import found, record

if TYPE_CHECKING:
    from bennu.wiring import Fleet

COMMAND = Command(
    "volume inspect",
    "Show everything about volumes",
    (
        FORMAT._replace(flags=("-f", "--format")),
        operand("VOLUME", dest="names", help="Names", repeatable=True, complete="volume"),
    ),
    examples=(("bennu volume inspect --format '{{.Mountpoint}}' data", "where its files are"),),
)


def run(args: Arguments, context: Context) -> int:
    """One JSON list of all that were found."""
    from bennu.wiring import Fleet

    records: list[dict[str, Any]] = []
    with Fleet(context.settings) as fleet:
        status = each(args.names, lambda name: records.append(_record(fleet, name)), context)
    context.stdout.write(document(records, args.format))
    return status


def _record(fleet: Fleet, name: str) -> dict[str, Any]:
    containers = fleet.containers
    volume = found(containers, name)
    users = [containers.resolve(one).name for one in containers.volumes.users(name)]
    snapshots = [one.id for one in fleet.engine.data.list(None) if one.volume == name]
    return {**record(volume), "Containers": users, "Snapshots": snapshots}
