"""``bennu inspect``: everything about containers, and images where no container has that name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bennu.cli.command import FORMAT, Arguments, Command, operand, option
from bennu.cli.context import Context
from bennu.cli.output import document
from bennu.cli.several import each

if TYPE_CHECKING:
    from bennu.wiring import Runtime

COMMAND = Command(
    "inspect",
    "Show everything about containers or images",
    (
        FORMAT._replace(flags=("-f", "--format")),
        option("--type", metavar="KIND", help="What to look for", choices=("container", "image")),
        operand("NAME", dest="names", help="Names or IDs", repeatable=True, complete="container"),
    ),
    examples=(("bennu inspect --format '{{.State.Pid}}' web", "one field"),),
)


def run(args: Arguments, context: Context) -> int:
    """One JSON list of all that were found; each that was not is an error of its own."""
    from bennu.wiring import Runtime

    found: list[dict[str, Any]] = []
    with Runtime(context.settings) as runtime:
        status = each(args.names, lambda name: found.append(_record(runtime, name, args.type)), context)
    context.stdout.write(document(found, args.format))
    return status


def _record(runtime: Runtime, name: str, kind: str | None) -> dict[str, Any]:
    from bennu.errors import NotFound

    if kind != "image":
        from bennu.cli.container_record import inspected

        try:
            return inspected(runtime.containers, runtime.containers.inspect(name))
        except NotFound:
            if kind == "container":
                raise
    from bennu.cli.image_inspect import record

    try:
        return record(runtime, name)
    except NotFound as error:
        if kind == "image":
            raise
        raise NotFound(
            f"neither a container nor an image is named {name!r}", "`bennu ps --all` and `bennu images` list them"
        ) from error
