"""The name of a project: given, from the environment, from the file, or that of its directory. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from bennu.compose.interpolation import InterpolationError, expand
from bennu.compose.model import Place
from bennu.compose.nodes import Mapping as MappingNode
from bennu.compose.nodes import Scalar
from bennu.errors import Invalid

PROJECT_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]*")


def project_name(
    trees: Sequence[MappingNode], environ: Mapping[str, str], *, directory: str, name: str | None = None
) -> str:
    """The project's name: given, from the environment, from the last file that has one, or the directory's.

    Source: the Compose Specification, 04-version-and-name.md. Only the directory's name is bent to the allowed form.
    """
    given = name or environ.get("COMPOSE_PROJECT_NAME")
    if given:
        return _allowed(given, None)
    for tree in reversed(trees):
        node = tree.get("name")
        if isinstance(node, Scalar) and not node.is_null:
            try:
                return _allowed(expand(node.text, environ).text, node.place)
            except InterpolationError as error:
                raise _at(f"name: {error.message}", node.place, error.hint) from error
    bent = re.sub(r"[^a-z0-9_-]", "", directory.rstrip("/").rpartition("/")[2].lower()).lstrip("_-")
    if not bent:
        raise Invalid(f"directory {directory!r} gives the project no name", "give it one with -p NAME")
    return bent


def _allowed(name: str, place: Place | None) -> str:
    if PROJECT_NAME.fullmatch(name):
        return name
    bent = re.sub(r"[^a-z0-9_-]", "", name.lower()).lstrip("_-")
    hint = "lower-case letters, digits, - and _, a letter or digit first" + (f": {bent}" if bent else "")
    raise _at(f"project name {name!r} is not allowed", place, hint)


def _at(message: str, place: Place | None, hint: str | None) -> Invalid:
    if place is None:
        return Invalid(message, hint)
    return Invalid(message, hint, file=place.file, line=place.line, column=place.column)
