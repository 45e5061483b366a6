"""The edge of this package: finds the fleet file, reads it and what it names, and gives it to ``reader``.

``sources`` finds and opens; who wants to know a project's name alone asks that.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from bennu.compose import dotenv, reader, yaml
from bennu.compose.model import Project
from bennu.compose.nodes import Node
from bennu.compose.sources import Source, directory_of, opened, split
from bennu.errors import Invalid, NotFound


def load(
    files: Sequence[str] = (),
    *,
    environ: Mapping[str, str],
    name: str | None = None,
    profiles: Sequence[str] = (),
    working_directory: str | None = None,
) -> Project:
    """The project that ``files`` (or the files found) describe. Services of no chosen profile are left in ``inactive``.

    ``environ`` is the process's; ``name`` is ``-p``; ``profiles`` are ``--profile``, ``COMPOSE_PROFILES`` without any.
    Raises ``NotFound`` where there is no file, ``Invalid``/``InvalidMany`` for what is wrong in one.
    """
    source, paths, variables = opened(files, environ, working_directory)
    directory = directory_of(paths, source.here)
    chosen = profiles or split(variables.get("COMPOSE_PROFILES", ""), ",")
    try:
        trees = source.trees(paths)
        home = variables.get("HOME") or "/"
        sketch = reader.draft(
            trees, variables, directory=directory, home=home, name=name, profiles=chosen, files=_Named(source)
        )
        texts = {path: source.optional(path) for path in sketch.env_files()}
        return reader.finish(sketch, texts)
    except Invalid as error:
        source.quote(error)
        raise


class _Named:
    """The files that a fleet file includes or extends: ``assembly.Files`` over the files of this command."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def compose(self, path: str) -> Node:
        text = self._source.optional(path)
        if text is None:
            raise NotFound(f"file {self._source.shown(path)!r} does not exist")
        return yaml.parse(text, self._source.shown(path))

    def variables(self, path: str, environ: Mapping[str, str]) -> dict[str, str] | None:
        text = self._source.optional(path)
        return None if text is None else dotenv.parse(text, self._source.shown(path), environ)

    def resolve(self, path: str, directory: str) -> str:
        return os.path.normpath(os.path.join(directory, os.path.expanduser(path)))

    def parent(self, path: str) -> str:
        return os.path.dirname(path)
