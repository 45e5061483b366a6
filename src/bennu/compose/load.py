"""The edge of this package: finds the fleet file, reads it and what it names, and gives it to ``reader``.

Which files: ``-f``, else ``COMPOSE_FILE``, else the first of ``NAMES`` in the working directory or above, with the
override file beside it. Variables: the process's, then those of ``.env`` in the project's directory. The project's
directory is that of the first file. This is the only module here that opens files; it writes none.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from bennu.compose import dotenv, reader, yaml
from bennu.compose.model import Project
from bennu.compose.nodes import Node
from bennu.errors import Invalid, InvalidMany, NotFound, Unavailable

NAMES: Final = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
OVERRIDES: Final = {
    "compose.yaml": ("compose.override.yaml", "compose.override.yml"),
    "compose.yml": ("compose.override.yml", "compose.override.yaml"),
    "docker-compose.yml": ("docker-compose.override.yml", "docker-compose.override.yaml"),
    "docker-compose.yaml": ("docker-compose.override.yaml", "docker-compose.override.yml"),
}
MAX_FILE_BYTES: Final = 4 << 20
STDIN: Final = "-"


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
    here = os.path.abspath(working_directory or os.getcwd())
    source = _Source(here)
    variables = {**source.variables(_directory(files, here), environ), **environ}
    paths = _listed(files, variables) or _found(here)
    directory = _directory(paths, here)
    variables = {**source.variables(directory, environ), **environ}
    chosen = profiles or _split(variables.get("COMPOSE_PROFILES", ""), ",")
    try:
        trees = source.trees(paths)
        home = variables.get("HOME") or "/"
        sketch = reader.draft(trees, variables, directory=directory, home=home, name=name, profiles=chosen)
        texts = {path: source.optional(path) for path in sketch.env_files()}
        return reader.finish(sketch, texts)
    except Invalid as error:
        source.quote(error)
        raise


def _split(text: str, separator: str) -> list[str]:
    return [part.strip() for part in text.split(separator) if part.strip()]


def _listed(files: Sequence[str], variables: Mapping[str, str]) -> list[str]:
    separator = variables.get("COMPOSE_PATH_SEPARATOR") or os.pathsep
    return list(files) or _split(variables.get("COMPOSE_FILE", ""), separator)


def _directory(files: Sequence[str], here: str) -> str:
    """The project's directory: that of the first file that is one, else the working directory."""
    first = next((file for file in files if file != STDIN), None)
    return here if first is None else os.path.dirname(os.path.normpath(os.path.join(here, first)))


def _found(here: str) -> list[str]:
    directory = here
    while True:
        for name in NAMES:
            path = os.path.join(directory, name)
            if os.path.isfile(path):
                beside = (os.path.join(directory, other) for other in OVERRIDES[name])
                override = next((other for other in beside if os.path.isfile(other)), None)
                return [path, override] if override else [path]
        above = os.path.dirname(directory)
        if above == directory:
            raise NotFound(f"no {NAMES[0]} in {here!r} or above it", "name the file with -f FILE")
        directory = above


class _Source:
    """The files that were read, by the name that messages give them, so that errors can show their line."""

    def __init__(self, here: str) -> None:
        self._here = here
        self._texts: dict[str, str] = {}

    def shown(self, path: str) -> str:
        """A path as messages say it: relative where it is in the working directory or below."""
        relative = os.path.relpath(path, self._here)
        return path if relative.startswith("..") else relative

    def trees(self, paths: Iterable[str]) -> list[Node]:
        """Every file parsed; broken files are reported together."""
        trees: list[Node] = []
        errors: list[Invalid] = []
        for path in paths:
            try:
                name, text = self._compose_file(path)
                trees.append(yaml.parse(text, name))
            except Invalid as error:
                errors.append(error)
        if len(errors) > 1:
            raise InvalidMany(tuple(errors))
        if errors:
            raise errors[0]
        return trees

    def _compose_file(self, path: str) -> tuple[str, str]:
        if path == STDIN:
            self._texts["<stdin>"] = sys.stdin.read(MAX_FILE_BYTES)
            return "<stdin>", self._texts["<stdin>"]
        absolute = os.path.normpath(os.path.join(self._here, path))
        text = self.optional(absolute)
        if text is None:
            raise NotFound(f"file {path!r} does not exist")
        return self.shown(absolute), text

    def variables(self, directory: str, environ: Mapping[str, str]) -> dict[str, str]:
        """What ``.env`` in that directory sets; nothing where there is none."""
        path = os.path.join(directory, ".env")
        text = self.optional(path)
        return {} if text is None else dotenv.parse(text, self.shown(path), environ)

    def optional(self, path: str) -> str | None:
        """The text of a file, None where it does not exist."""
        shown = self.shown(path)
        try:
            with open(path, "rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise Unavailable(f"file {shown!r} cannot be read: {error.strerror}") from error
        if len(data) > MAX_FILE_BYTES:
            raise Invalid(f"file is larger than {MAX_FILE_BYTES} bytes", file=shown)
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            column = error.start - data.rfind(b"\n", 0, error.start)
            raise Invalid("text is not UTF-8", file=shown, line=line, column=column) from error
        self._texts[shown] = text
        return text

    def quote(self, error: Invalid) -> None:
        """Give errors that have none the line that they are about."""
        for each in error.errors if isinstance(error, InvalidMany) else (error,):
            text = self._texts.get(each.file or "")
            if each.excerpt is None and each.line is not None and text is not None:
                lines = text.splitlines()
                each.excerpt = lines[each.line - 1] if each.line <= len(lines) else None
