"""``bennu start``: containers that exist and do not run."""

from __future__ import annotations

from bennu.cli.command import Arguments, Command, operand, switch
from bennu.cli.context import Context
from bennu.cli.several import each
from bennu.cli.stdio import DETACH_KEYS, stdio_of

COMMAND = Command(
    "start",
    "Start containers that do not run",
    (
        switch("-a", "--attach", help="Stay with it: its output here, signals passed on"),
        switch("-i", "--interactive", help="Pass standard input on"),
        DETACH_KEYS,
        operand("CONTAINER", dest="containers", help="Names or IDs", repeatable=True, complete="container"),
    ),
)


def run(args: Arguments, context: Context) -> int:
    """Start each; with ``--attach`` the exit status is the container's."""
    from bennu.wiring import Runtime

    with Runtime(context.settings) as runtime:
        containers = runtime.containers
        if not (args.attach or args.interactive):

            def start(name: str) -> None:
                containers.start(name)
                context.print(name)

            return each(args.containers, start, context)
        from bennu.errors import Failed, Usage
        from bennu.runtime.foreground import start_attached

        if len(args.containers) > 1:
            raise Usage("start --attach takes one container")
        record = containers.resolve(args.containers[0])
        stdin = args.interactive and record.options.interactive
        stdio = stdio_of(context, keys=args.detach_keys, stdin=stdin, terminal=record.options.terminal)
        try:
            return start_attached(containers, record, stdio) or 0
        except Failed as error:
            from bennu.cli.run import told

            return told(error, context)
