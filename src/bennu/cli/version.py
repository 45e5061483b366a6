"""``bennu version``: the version of this program."""

from __future__ import annotations

from bennu import __version__
from bennu.cli.command import Arguments, Command
from bennu.cli.context import Context

COMMAND = Command("version", "Show the version")


def run(_args: Arguments, context: Context) -> int:
    """Print the version alone, so that scripts can compare it."""
    context.print(__version__)
    return 0
