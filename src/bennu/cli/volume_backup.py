"""``bennu volume backup``: all that a volume holds, as one compressed archive."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from bennu.cli.command import Arguments, Command, operand, option
from bennu.cli.context import Context
from bennu.cli.human import clock, size
from bennu.cli.volume_record import found, running_users

if TYPE_CHECKING:
    from bennu.runtime.volume_archives import BackedUp

COMMAND = Command(
    "volume backup",
    "Write what a volume holds to a file",
    (
        option("--snapshot", metavar="ID", help="What this snapshot of it holds, instead of what it holds now"),
        operand("VOLUME", help="Its name", complete="volume"),
        operand("FILE", help="The file, a .tar.zst; - for standard output", complete="file"),
    ),
    description=(
        "Streams a tar that is compressed by zstd and has a checksum. Owners, modes, times, attributes, ACLs, hard "
        "links, devices and holes are kept; GNU tar reads it. A file appears under its name only when it is whole. "
        "What is written meanwhile may be in it or not: stop the writer, or back up a snapshot."
    ),
    examples=(
        ("bennu volume backup data data.tar.zst", "write a file"),
        ("bennu volume backup data - | ssh host bennu volume restore data -", "send it to another host"),
        ("bennu volume backup --snapshot 1c6f0b2a9e77 data old.tar.zst", "as it was at a switch"),
    ),
)


def run(args: Arguments, context: Context) -> int:
    """Write, and say how much it was."""
    from bennu.errors import NotFound, Usage
    from bennu.host import files
    from bennu.runtime.volume_archives import back_up
    from bennu.wiring import Fleet

    started = time.monotonic()
    if args.file == "-" and context.stdout.isatty():
        raise Usage("an archive is nothing for a terminal", "name a file, or redirect the output")
    with Fleet(context.settings) as fleet:
        volume = found(fleet.containers, args.volume)
        opened = fleet.containers.volumes.opened(volume)
        if args.snapshot is not None:
            snapshot = fleet.engine.data.snapshots.get(args.snapshot)
            if snapshot.volume != volume.name:
                raise NotFound(f"snapshot {args.snapshot!r} is of volume {snapshot.volume!r}, not of {volume.name!r}")
            opened = files.as_it_is(fleet.engine.data.snapshots.path(snapshot))
        elif users := running_users(fleet.containers, volume.name):
            context.say(f"warning: {', '.join(users)} may write meanwhile: files may be of different moments")
        with opened as source:
            if args.file == "-":
                context.stdout.flush()
                done = back_up(source, context.stdout.buffer)
                context.stdout.buffer.flush()
            else:
                with files.replacing(Path(args.file)) as sink:
                    done = back_up(source, sink)
                    sink.flush()
    _say(done, args.volume, context, time.monotonic() - started)
    return 0


def _say(done: BackedUp, volume: str, context: Context, seconds: float) -> None:
    for name in done.changed:
        context.say(f"warning: {name!r} became shorter while it was read")
    context.say(f"Volume {volume}: {done.entries} entries, {size(done.size_bytes)} ({clock(seconds)}).")
