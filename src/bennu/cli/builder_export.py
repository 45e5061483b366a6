"""``bennu builder export``: the content of a cache mount as a tar archive."""

from __future__ import annotations

from pathlib import Path

from bennu.cli.command import Arguments, Command, operand, option
from bennu.cli.context import Context

COMMAND = Command(
    "builder export",
    "Write the content of a cache mount to a file",
    (
        operand("ID", help="The cache mount, as `bennu builder du` calls it"),
        option("-o", "--output", metavar="FILE", help="The file; standard output unless given", complete="file"),
    ),
    description=(
        "A cache mount is what RUN --mount=type=cache has between builds: what package managers and compilers keep. "
        "The archive has it as it is now, with owners, modes and times."
    ),
    examples=(("bennu builder export ID | ssh host tar -x -C /srv/cache", "take a cache somewhere else"),),
)


def run(args: Arguments, context: Context) -> int:
    """Write; a file appears under its name only when it is whole."""
    from bennu.build.cache_mounts import CacheMounts
    from bennu.errors import Usage
    from bennu.host import files

    if args.output is None and context.stdout.isatty():
        raise Usage("an archive is nothing for a terminal", "give a file with -o, or redirect the output")
    mounts = CacheMounts(context.settings)
    if args.output is None:
        context.stdout.flush()
        mounts.export(args.id, context.stdout.buffer)
        context.stdout.buffer.flush()
        return 0
    with files.replacing(Path(args.output)) as sink:
        mounts.export(args.id, sink)
    return 0
