"""``bennu volume ls``: the volumes of this root."""

from __future__ import annotations

from bennu.cli.command import FORMAT, Arguments, Command, option, switch
from bennu.cli.context import Context
from bennu.cli.output import Column, listing
from bennu.cli.volume_record import FILTERS, passes, record

COMMAND = Command(
    "volume ls",
    "List volumes",
    (
        option("-f", "--filter", metavar="KEY=VALUE", dest="filters", help=", ".join(FILTERS), repeatable=True),
        FORMAT,
        switch("-q", "--quiet", help="Only the names"),
    ),
    examples=(("bennu volume ls --filter dangling=true", "volumes that no container mounts"),),
)

COLUMNS = (Column("DRIVER", "Driver"), Column("VOLUME NAME", "Name"))


def run(args: Arguments, context: Context) -> int:
    """Print those that pass every filter, by name."""
    from bennu.wiring import Runtime

    with Runtime(context.settings) as runtime:
        containers = runtime.containers
        records = [record(one) for one in containers.volumes.walk() if passes(containers, one, args.filters)]
    for each in records:
        each["Labels"] = ",".join(f"{key}={value}" for key, value in sorted(each["Labels"].items()))
    context.stdout.write(listing(records, COLUMNS, form=args.format, quiet="Name" if args.quiet else None))
    return 0
