"""``bennu volume restore``: what an archive holds takes the place of what a volume holds."""

from __future__ import annotations

import time
from pathlib import Path

from bennu.cli.command import YES, Arguments, Command, operand, switch
from bennu.cli.context import Context
from bennu.cli.human import clock
from bennu.cli.volume_record import running_users

COMMAND = Command(
    "volume restore",
    "Put back what a volume held",
    (
        switch("-f", "--force", help="Though a container that runs has it mounted"),
        YES,
        operand("VOLUME", help="Its name; made if it is missing", complete="volume"),
        operand("FILE", help="The archive, compressed or not; - for standard input", complete="file"),
    ),
    description=(
        "The archive is unpacked beside the volume, checked to its end, and only then takes the place of all that the "
        "volume held: one that is cut off or damaged touches nothing. Whoever has it mounted goes on with the old data "
        "until it is started again, so that this wants --force."
    ),
    examples=(("bennu volume restore --yes data data.tar.zst", "without asking"),),
    reads_stdin="the archive, where FILE is -",
)


def run(args: Arguments, context: Context) -> int:
    """Ask where there is something to lose, then unpack and swap."""
    from bennu.errors import Usage
    from bennu.runtime.volume_archives import refuse_used, restore
    from bennu.wiring import Fleet

    started = time.monotonic()
    if args.file == "-" and context.stdin.isatty():
        raise Usage("standard input is a terminal, not an archive", "name a file, or redirect the input")
    with Fleet(context.settings) as fleet:
        containers = fleet.containers
        there = containers.volumes.get(args.volume)
        volume = there or containers.volumes.ensure(args.volume)
        users = running_users(containers, volume.name)
        if not args.force:
            refuse_used(volume, users)
        if there is not None and not volume.options and any(volume.path.iterdir()):
            context.confirm(f"Replace all that volume {volume.name} holds?", yes=args.yes or args.file == "-")
        snapshots = fleet.engine.data.snapshots
        if args.file == "-":
            count = restore(snapshots, volume, context.stdin.buffer, "the archive", users)
        else:
            with Path(args.file).open("rb") as stream:
                count = restore(snapshots, volume, stream, f"archive {args.file!r}", users)
    for name in users:
        context.say(f"{name} goes on with the old data until it is started again.")
    context.say(f"Volume {args.volume}: {count} entries restored ({clock(time.monotonic() - started)}).")
    return 0
