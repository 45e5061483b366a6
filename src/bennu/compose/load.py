"""The edge of this package: finds the fleet file, reads it and what it names, and gives it to ``reader``.

``sources`` finds and opens; who wants to know a project's name alone asks that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bennu.compose import reader
from bennu.compose.model import Project
from bennu.compose.sources import directory_of, opened, split
from bennu.errors import Invalid


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
        sketch = reader.draft(trees, variables, directory=directory, home=home, name=name, profiles=chosen)
        texts = {path: source.optional(path) for path in sketch.env_files()}
        return reader.finish(sketch, texts)
    except Invalid as error:
        source.quote(error)
        raise
