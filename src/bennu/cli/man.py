"""``bennu man``: the manual page, or the same as Markdown, generated from the command table."""

from __future__ import annotations

from bennu.cli.command import Arguments, Command, option
from bennu.cli.context import Context

COMMAND = Command(
    "man",
    "Print the manual page",
    arguments=(
        option("--format", metavar="FORMAT", help="How it is written", choices=("roff", "markdown"), default="roff"),
    ),
    examples=(
        ("bennu man | man -l -", "Read it"),
        ("bennu man > /usr/local/share/man/man1/bennu.1", "Install it"),
    ),
)


def run(args: Arguments, context: Context) -> int:
    """Print the whole manual."""
    from bennu import __version__
    from bennu.cli import manual
    from bennu.cli.table import load, rows

    commands = [load(row)[0] for row in rows()]
    if args.format == "markdown":
        context.stdout.write(manual.markdown(commands))
    else:
        context.stdout.write(manual.roff(commands, __version__))
    return 0
