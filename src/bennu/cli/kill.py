"""``bennu kill``: a signal to the first process of containers."""

from __future__ import annotations

from bennu.cli.command import Arguments, Command, operand, option
from bennu.cli.context import Context
from bennu.cli.several import each

COMMAND = Command(
    "kill",
    "Send a signal to running containers",
    (
        option("-s", "--signal", metavar="SIGNAL", help="Which one", default="KILL"),
        operand("CONTAINER", dest="containers", help="Names or IDs", repeatable=True, complete="container"),
    ),
)


def run(args: Arguments, context: Context) -> int:
    """Send it to each."""
    from bennu.wiring import Runtime

    with Runtime(context.settings) as runtime:

        def kill(name: str) -> None:
            runtime.containers.kill(name, args.signal)
            context.print(name)

        return each(args.containers, kill, context)
