"""Which files a fleet file is, and what is in them. The only module of this package that opens files; it writes none.

``-f``, else ``COMPOSE_FILE``, else the first of ``NAMES`` in the working directory or above, with the override file
beside it. Variables: the process's, then those of ``.env`` in the project's directory, which is that of the first file.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from bennu.compose import dotenv, yaml
from bennu.compose.naming import project_name
from bennu.compose.nodes import Mapping as MappingNode
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


def name_of_project(
    files: Sequence[str] = (),
    *,
    environ: Mapping[str, str],
    name: str | None = None,
    working_directory: str | None = None,
) -> str:
    """The name of the project that these files (or the files found) describe, whatever else is wrong in them.

    Arguments and errors are those of ``load.load``.
    """
    source, paths, variables = opened(files, environ, working_directory)
    try:
        trees = source.trees(paths)
        mappings = [tree for tree in trees if isinstance(tree, MappingNode)]
        return project_name(mappings, variables, directory=directory_of(paths, source.here), name=name)
    except Invalid as error:
        source.quote(error)
        raise


def opened(
    files: Sequence[str], environ: Mapping[str, str], working_directory: str | None
) -> tuple[Source, list[str], dict[str, str]]:
    """The files' source, their paths, and the variables that are set for them."""
    here = os.path.abspath(working_directory or os.getcwd())
    source = Source(here)
    variables = {**source.variables(directory_of(files, here), environ), **environ}
    paths = _listed(files, variables) or _found(here)
    return source, paths, {**source.variables(directory_of(paths, here), environ), **environ}


def split(text: str, separator: str) -> list[str]:
    """The parts that are not empty."""
    return [part.strip() for part in text.split(separator) if part.strip()]


def _listed(files: Sequence[str], variables: Mapping[str, str]) -> list[str]:
    separator = variables.get("COMPOSE_PATH_SEPARATOR") or os.pathsep
    return list(files) or split(variables.get("COMPOSE_FILE", ""), separator)


def directory_of(files: Sequence[str], here: str) -> str:
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


class Source:
    """The files that were read, by the name that messages give them, so that errors can show their line."""

    def __init__(self, here: str) -> None:
        self.here = here
        self._texts: dict[str, str] = {}

    def shown(self, path: str) -> str:
        """A path as messages say it: relative where it is in the working directory or below."""
        relative = os.path.relpath(path, self.here)
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
        absolute = os.path.normpath(os.path.join(self.here, path))
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
