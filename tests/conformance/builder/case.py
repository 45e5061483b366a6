"""What a case is: a Dockerfile, the files around it, and the options of the build.

A case says nothing about its result: that was recorded from Docker (``recording``), and whether Docker builds the file
or refuses it is the one thing that a case claims, so that a recording cannot go wrong unseen. The cases are in
``areas``, one module an area, each with an ``AREA`` that collects them.

In a Dockerfile ``@server@`` is the address of the HTTP server that holds the case's ``remote`` files.
"""

from __future__ import annotations

import hashlib
import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.conformance.builder import areas
from tests.conformance.builder.files import Content, Dir, File, Hard, Link, Node, Tar, as_node

__all__ = ["Area", "Case", "Dir", "File", "Hard", "Link", "Tar", "all_areas"]


@dataclass(frozen=True)
class Case:
    """One build.

    ``files`` are the build context and ``outside`` named directories beside it (``--build-context``), both by path.
    ``remote`` is what the HTTP server holds. ``is_refused``: Docker refuses the Dockerfile or the build fails.
    ``at`` False: the error has no place in the Dockerfile.
    """

    area: str
    name: str
    dockerfile: bytes
    files: Mapping[str, Node] = field(default_factory=dict)
    args: Mapping[str, str] = field(default_factory=dict)
    target: str | None = None
    file: str = "Dockerfile"
    outside: Mapping[str, Mapping[str, Node] | str] = field(default_factory=dict)
    remote: Mapping[str, bytes] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    is_refused: bool = False
    at: bool = True

    @property
    def digest(self) -> str:
        """Of all that the result depends on: a recording with another digest is of another case."""
        fields = {key: value for key, value in sorted(vars(self).items()) if key not in {"area", "name", "at"}}
        return hashlib.sha256(repr(fields).encode()).hexdigest()[:16]


@dataclass
class Area:
    """The cases of one area, by name."""

    name: str
    cases: dict[str, Case] = field(default_factory=dict)

    def builds(self, name: str, dockerfile: str | bytes, files: Mapping[str, Content] = {}, **options: object) -> None:
        """A file that Docker builds. A line break at the beginning of the text is not part of it."""
        if isinstance(dockerfile, str):
            dockerfile = dockerfile.removeprefix("\n").encode()
        if name in self.cases:
            raise ValueError(f"{self.name}/{name} is there twice")
        outside = {
            each: place if isinstance(place, str) else {path: as_node(text) for path, text in place.items()}
            for each, place in dict(options.pop("outside", {})).items()
        }
        nodes = {path: as_node(content) for path, content in files.items()}
        self.cases[name] = Case(self.name, name, dockerfile, nodes, outside=outside, **options)

    def refuses(self, name: str, dockerfile: str | bytes, files: Mapping[str, Content] = {}, **options: object) -> None:
        """A file that Docker refuses, or a build that fails."""
        self.builds(name, dockerfile, files, is_refused=True, **options)


def all_areas() -> list[Area]:
    """Every area, by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(areas.__path__))
    return [importlib.import_module(f"{areas.__name__}.{name}").AREA for name in names]
