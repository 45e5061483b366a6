"""``bennu build``: an image from a Dockerfile. The work is ``bennu.build.builder``'s."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bennu.cli.build_flags import FLAGS
from bennu.cli.command import Arguments, Command
from bennu.cli.context import Context
from bennu.cli.human import clock, size

if TYPE_CHECKING:
    from bennu.build.request import Built

COMMAND = Command(
    "build",
    "Build an image from a Dockerfile",
    FLAGS,
    description=(
        "Runs each instruction in a container of its own and keeps what it leaves as a snapshot; a step that ran "
        "before with the same inputs is reused. SOURCE_DATE_EPOCH bounds every time in the image, so that the same "
        "input gives the same digest anywhere. docs/dockerfile.md says which instructions there are. The whole output "
        "of every step is kept under `builds` in the state directory."
    ),
    examples=(
        ("bennu build -t shop/web .", "build the Dockerfile here"),
        ("bennu build -f Dockerfile.test --target test --build-arg V=2 .", "one stage of another one"),
    ),
    reads_stdin="with `-f -`: the Dockerfile",
)


def run(args: Arguments, context: Context) -> int:
    """Build, name, tell."""
    from bennu.build.logs import BuildLogs
    from bennu.build.progress import together
    from bennu.cli.build_progress import renderer
    from bennu.cli.build_request import request
    from bennu.errors import Failed
    from bennu.wiring import Runtime

    started = time.monotonic()
    wanted = request(args, context)
    shown = renderer("quiet" if args.quiet else args.progress, context)
    with Runtime(context.settings) as runtime, BuildLogs(context.settings) as logs:
        try:
            built = runtime.builder.build(wanted, together(logs, shown))
        except Failed as error:
            if logs.broken is not None and logs.path(logs.broken).exists():
                error.hint = f"its whole output is in {logs.path(logs.broken)}"
            raise
        finally:
            shown.close()
    if args.iidfile:
        with open(args.iidfile, "w", encoding="utf-8") as file:
            file.write(built.image.id)
    if args.quiet:
        context.print(built.image.id)
    elif args.progress != "quiet":
        _summary(built, time.monotonic() - started, context)
    return 0


def _summary(built: Built, seconds: float, context: Context) -> None:
    for warning in built.warnings:
        context.say(f"{warning.span.file}:{warning.span.line}:{warning.span.column}: warning: {warning.message}")
    image = built.image
    layers = len(image.layers)
    name = f"{image.shown} {image.id[:19]}" if image.names else image.id[:19]
    reused = built.steps - built.ran
    context.say(
        f"{name}: {layers} {'layer' if layers == 1 else 'layers'}, {size(image.size_bytes)}; "
        f"{built.steps} {'step' if built.steps == 1 else 'steps'}, {reused} from the cache, in {clock(seconds)}"
    )
