"""What a build came to, in words: its warnings, the image, its size and layers, what was reused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from bennu.cli.human import clock, size
from bennu.cli.output import printable
from bennu.oci.reference import parse_reference

if TYPE_CHECKING:
    from bennu.build.request import Built
    from bennu.cli.context import Context
    from bennu.dockerfile.warning import Warning  # noqa: A004 - the word of the Dockerfile reference


def summary(built: Built, seconds: float, context: Context, *, of: str = "") -> None:
    """Say it on standard error. ``of`` names the services that the image is for."""
    for line in _in_short(built.warnings):
        context.say(line)
    context.say(
        f"{f'{of}: ' if of else ''}{_became(built)}"
        f"{counted(built.steps, 'step')}, {built.steps - built.ran} from the cache, in {clock(seconds)}"
    )


def _became(built: Built) -> str:
    """The image, or the images of an index; nothing for outputs that are none."""
    exported = built.exported
    if exported.id is None:
        return ""
    image = exported.images[0]
    shown = f"{parse_reference(exported.names[0]).familiar} " if exported.names else ""
    if exported.id != image.id:
        platforms = ", ".join(str(each.config.platform.normalised()) for each in exported.images)
        return f"{shown}{exported.id[:19]}: an image for each of {platforms}; "
    return f"{shown}{exported.id[:19]}: {counted(len(image.layers), 'layer')}, {size(image.size_bytes)}; "


def _in_short(warnings: Sequence[Warning]) -> Iterator[str]:
    """A line each, under one that says how to see the checks' in full."""
    if any(warning.rule for warning in warnings):
        yield f"{counted(len(warnings), 'warning')}, `bennu build --check` shows what is meant:"
    for warning in warnings:
        span = warning.span
        rule = f"{warning.rule}: " if warning.rule else ""
        yield f"{span.file}:{span.line}:{span.column}: warning: {rule}{printable(warning.message)}"


def counted(count: int, noun: str) -> str:
    """``1 layer``, ``2 layers``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
