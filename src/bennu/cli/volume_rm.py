"""``bennu volume rm``: volumes with all that they hold."""

from __future__ import annotations

from bennu.cli.command import Arguments, Command, operand, switch
from bennu.cli.context import Context
from bennu.cli.several import each

COMMAND = Command(
    "volume rm",
    "Remove volumes and what they hold",
    (
        switch("-f", "--force", help="Their snapshots too, and no error for one that is not there"),
        operand("VOLUME", dest="names", help="Names", repeatable=True, complete="volume"),
    ),
    description="A volume that a container mounts, running or not, is not removed.",
)


def run(args: Arguments, context: Context) -> int:
    """Remove each."""
    from bennu.errors import NotFound
    from bennu.wiring import Runtime

    with Runtime(context.settings) as runtime:
        volumes = runtime.containers.volumes

        def remove(name: str) -> None:
            try:
                volumes.remove(name, snapshots=args.force)
            except NotFound:
                if not args.force:
                    raise
                return
            context.print(name)

        return each(args.names, remove, context)
