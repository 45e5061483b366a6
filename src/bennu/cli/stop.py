"""``bennu stop``: the stop signal, then SIGKILL when its time is up."""

from __future__ import annotations

from bennu.cli.command import Arguments, Command, operand, option
from bennu.cli.container_flags import seconds
from bennu.cli.context import Context
from bennu.cli.several import each

COMMAND = Command(
    "stop",
    "Stop running containers",
    (
        option(
            "-t", "--timeout", "--time", metavar="SECONDS", dest="timeout", convert=seconds,
            help="Time before SIGKILL; -1 waits for ever",
        ),
        option("-s", "--signal", metavar="SIGNAL", help="Instead of the container's stop signal"),
        operand("CONTAINER", dest="containers", help="Names or IDs", repeatable=True, complete="container"),
    ),
)  # fmt: skip


def run(args: Arguments, context: Context) -> int:
    """Stop each, all at once, since each may take its whole time."""
    from concurrent.futures import ThreadPoolExecutor

    from bennu.wiring import Runtime

    with Runtime(context.settings) as runtime, ThreadPoolExecutor(max_workers=len(args.containers)) as pool:
        stops = {
            name: pool.submit(runtime.containers.stop, name, timeout_seconds=args.timeout, signal_name=args.signal)
            for name in dict.fromkeys(args.containers)
        }

        def stopped(name: str) -> None:
            stops[name].result()
            context.print(name)

        return each(stops, stopped, context)
