"""What only the end of a build knows of its image's configuration: times, layers nobody accounts for. Pure.

A layer that no entry of the history made (files of a named context that a stage begins with, an image whose history
somebody left out) gets an entry at the end, as BuildKit gives it. An image is as old as its newest layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from bennu.build.history import COMMENT
from bennu.oci.image_config import History, ImageConfig, rfc3339

EXPORTED: Final = "buildkit.exporter.image.v0"
"""The comment of an entry for a layer that no instruction accounts for."""


def finished(config: ImageConfig, layers: Sequence[str], made: float | None) -> ImageConfig:
    """The configuration with an entry for each of ``layers`` (labels of the steps that made them, the lowest first,
    empty for a base image's) and with the times of what is new: ``made`` (Unix seconds), None leaves them.
    """
    filled = sum(not entry.empty_layer for entry in config.history)
    added = tuple(History(created_by=label, comment=EXPORTED) for label in layers[filled:])
    moment = "" if made is None else rfc3339(int(made))
    history = tuple(
        msgspec.structs.replace(entry, created=moment)
        if entry.comment in {COMMENT, EXPORTED} and not entry.created
        else entry
        for entry in (*config.history, *added)
    )
    return msgspec.structs.replace(config, created=moment or config.created, history=history)
