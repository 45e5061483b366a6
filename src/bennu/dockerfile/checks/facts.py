"""What checks know besides the file: values given from outside, the images that are there, what the context leaves out.

``needed`` says which stages a target stands on, for a file whose FROMs are read with the values at hand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from bennu.dockerfile.ignore import Rules
from bennu.dockerfile.instructions import Copy, Dockerfile, From, Run
from bennu.oci.image_config import ImageConfig
from bennu.oci.platform import Platform


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """``predefined`` are BUILD* and TARGET*; ``platform`` is the one that is built for.

    ``image`` gives the configuration of an image, None where it is not at hand. ``rules`` are those of
    ``.dockerignore``. ``target`` is a stage's name or number, None for all stages.
    """

    predefined: Mapping[str, str]
    build_args: Mapping[str, str]
    platform: Platform
    image: Callable[[str, Platform], ImageConfig | None]
    rules: Rules | None = None
    target: str | None = None


def needed(dockerfile: Dockerfile, origins: Sequence[From], target: str | None) -> list[int]:
    """The stages to look into, in the file's order. ``origins`` are the FROMs with their variables put in."""
    every = range(len(dockerfile.stages))
    wanted = None if target is None else dockerfile.named(target) or dockerfile.stage(target)
    if wanted is None:
        return list(every)  # a target that is not there is for the build to refuse
    found: set[int] = set()
    todo = [wanted.index]
    while todo:
        index = todo.pop()
        if index not in found:
            found.add(index)
            todo += edges(dockerfile, origins[index], index)
    return sorted(found)


def edges(dockerfile: Dockerfile, origin: From, index: int) -> list[int]:
    """The stages that a stage names in FROM, ``COPY --from`` and ``RUN --mount=from=``."""
    stages = [dockerfile.base(origin.image, before=index)]
    for each in dockerfile.stages[index].instructions:
        if isinstance(each, Copy) and each.from_ is not None:
            stages.append(dockerfile.stage(each.from_))
        elif isinstance(each, Run):
            fields = [field for flag in each.mounts for field in flag.text.split(",")]
            stages += [dockerfile.named(field[5:]) for field in fields if field.lower().startswith("from=")]
    return [stage.index for stage in stages if stage is not None]
