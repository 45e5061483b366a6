"""ONBUILD: what a base does to the stage that stands on it. Pure.

It happens at that stage's FROM, so that is where its errors are, as in BuildKit. An expression is only read here: one
that makes no sense stands in an image unharmed until somebody builds upon it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import msgspec

from bennu.dockerfile.instructions import Instruction, Onbuild
from bennu.dockerfile.parser import parse_trigger
from bennu.dockerfile.source import Span
from bennu.errors import Invalid


def triggers_of_image(expressions: Iterable[str], image: str, place: Span) -> list[Instruction]:
    """The triggers of an image's configuration, done at a FROM. ``Invalid`` there."""
    return [_read(text, image, place) for text in expressions]


def triggers_of_stage(below: Iterable[Instruction], place: Span) -> list[Instruction]:
    """Those of a stage of the same file."""
    return [
        _read(each.expression, f"{each.span.file}:{each.span.line}", place)
        if each.trigger is None
        else msgspec.structs.replace(each.trigger, span=place)
        for each in below
        if isinstance(each, Onbuild)
    ]


@contextmanager
def named(trigger: Instruction) -> Iterator[None]:
    """Errors say which trigger it is: their place is the FROM, where it does not stand."""
    try:
        yield
    except Invalid as error:
        error.message = f"ONBUILD {trigger.text}: {error.message}"
        raise


def _read(expression: str, image: str, place: Span) -> Instruction:
    try:
        return msgspec.structs.replace(parse_trigger(expression, image), span=place)
    except Invalid as error:
        raise place.invalid(f"ONBUILD {expression!r} of {image}: {error.message}", error.hint) from error
