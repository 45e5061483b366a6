"""What a build came to, in words: its warnings, the image, its size and layers, what was reused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bennu.cli.human import clock, size

if TYPE_CHECKING:
    from bennu.build.request import Built
    from bennu.cli.context import Context


def summary(built: Built, seconds: float, context: Context, *, of: str = "") -> None:
    """Say it on standard error. ``of`` names the services that the image is for."""
    from bennu.cli.build_calls import short

    for line in short(built.warnings):
        context.say(line)
    image = built.image
    name = f"{image.shown} {image.id[:19]}" if image.names else image.id[:19]
    context.say(
        f"{f'{of}: ' if of else ''}{name}: {_counted(len(image.layers), 'layer')}, {size(image.size_bytes)}; "
        f"{_counted(built.steps, 'step')}, {built.steps - built.ran} from the cache, in {clock(seconds)}"
    )


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
