"""``bennu volume prune``: volumes that no container mounts."""

from __future__ import annotations

from contextlib import suppress

from bennu.cli import human
from bennu.cli.command import Arguments, Command, option, switch
from bennu.cli.context import Context
from bennu.cli.volume_record import FILTERS, passes

COMMAND = Command(
    "volume prune",
    "Remove volumes that nothing uses",
    (
        switch("-a", "--all", help="Named ones too, not only anonymous ones"),
        option("--filter", metavar="KEY=VALUE", dest="filters", help=", ".join(FILTERS), repeatable=True),
        switch("-f", "--force", help="Do not ask", dest="yes"),
        switch("-y", "--yes", help="Do not ask", dest="sure"),
    ),
    description="A volume that has snapshots is kept: a rollback may need it. `bennu volume rm --force` removes it.",
)


def run(args: Arguments, context: Context) -> int:
    """Ask, remove, say what that gave."""
    from bennu.errors import Conflict, NotFound
    from bennu.host.files import disk_usage
    from bennu.wiring import Runtime

    which = "all volumes" if args.all else "all anonymous volumes"
    context.confirm(f"Remove {which} that no container mounts?", yes=args.yes or args.sure)
    freed = 0
    with Runtime(context.settings) as runtime:
        containers = runtime.containers
        for volume in containers.volumes.walk():
            if not (args.all or volume.anonymous) or containers.volumes.users(volume.name):
                continue
            if passes(containers, volume, args.filters):
                size = 0 if volume.options else disk_usage(volume.path)
                with suppress(Conflict, NotFound):  # mounted or removed just now, or it has snapshots
                    containers.volumes.remove(volume.name, snapshots=False)
                    context.print(volume.name)
                    freed += size
    context.print(f"Total reclaimed space: {human.size(freed)}")
    return 0
