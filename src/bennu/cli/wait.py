"""``bennu wait``: until containers have ended."""

from __future__ import annotations

from bennu.cli.command import Arguments, Command, operand
from bennu.cli.context import Context
from bennu.cli.several import each

COMMAND = Command(
    "wait",
    "Wait until containers have ended, and print their exit statuses",
    (operand("CONTAINER", dest="containers", help="Names or IDs", repeatable=True, complete="container"),),
)


def run(args: Arguments, context: Context) -> int:
    """One exit status a line, in the order of the names."""
    from bennu.wiring import Runtime

    with Runtime(context.settings) as runtime:
        return each(args.containers, lambda name: context.print(str(runtime.containers.wait(name))), context)
