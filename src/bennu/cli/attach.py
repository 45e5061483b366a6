"""``bennu attach``: this terminal becomes a running container's."""

from __future__ import annotations

from bennu.cli.command import Arguments, Command, operand, switch
from bennu.cli.context import Context
from bennu.cli.stdio import DETACH_KEYS, SIG_PROXY, stdio_of

COMMAND = Command(
    "attach",
    "Attach to a running container",
    (
        switch("--no-stdin", help="Pass no standard input on"),
        DETACH_KEYS,
        SIG_PROXY,
        operand("CONTAINER", help="Name or ID", complete="container"),
    ),
)


def run(args: Arguments, context: Context) -> int:
    """Stay until it ends, with its exit status, or until the detach keys, with 0."""
    from bennu.runtime.foreground import attach_to
    from bennu.wiring import Runtime

    with Runtime(context.settings) as runtime:
        record = runtime.containers.resolve(args.container)
        stdin = record.options.interactive and not args.no_stdin
        stdio = stdio_of(
            context,
            keys=args.detach_keys,
            stdin=stdin,
            terminal=record.options.terminal,
            pass_signals=args.sig_proxy,
        )
        return attach_to(runtime.containers, record, stdio) or 0
