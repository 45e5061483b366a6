"""``bennu rm``: containers with all that is their own."""

from __future__ import annotations

from bennu.cli.command import Arguments, Command, operand, switch
from bennu.cli.context import Context
from bennu.cli.several import each

COMMAND = Command(
    "rm",
    "Remove containers",
    (
        switch("-f", "--force", help="Those that run too, and no error for one that is not there"),
        switch("-v", "--volumes", help="Their anonymous volumes too"),
        switch("--after-exit", help="Wait for their end first", hidden=True),
        operand("CONTAINER", dest="containers", help="Names or IDs", repeatable=True, complete="container"),
    ),
)


def run(args: Arguments, context: Context) -> int:
    """Remove each."""
    from bennu.errors import NotFound
    from bennu.wiring import Runtime

    with Runtime(context.settings) as runtime:
        containers = runtime.containers

        def remove(name: str) -> None:
            try:
                if args.after_exit:
                    containers.wait(name)
                containers.remove(name, force=args.force, volumes=args.volumes)
            except NotFound:
                if not args.force:
                    raise
                return
            context.print(name)

        return each(args.containers, remove, context)
