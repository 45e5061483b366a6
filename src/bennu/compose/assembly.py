"""One file with all that it brings in: what it includes under it, and each service with what it extends.

Source: the Compose Specification, 14-include.md and 05-services.md ("extends"). Other files are asked for through
``Files``, so that nothing here reads one. What is brought in has its variables replaced and its paths made absolute
where it stands, and what the file itself says of the same thing is laid over it. Cycles are refused with their way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol

from bennu.compose import schema
from bennu.compose.fields import Field
from bennu.compose.interpolation import interpolate
from bennu.compose.merging import merge
from bennu.compose.nodes import Entry, Node, null
from bennu.compose.nodes import Mapping as MappingNode
from bennu.compose.problems import Problems, did_you_mean
from bennu.compose.relocation import relocated, relocated_service
from bennu.errors import BennuError, Invalid

SECTIONS: Final = ("services", "volumes", "networks", "secrets", "configs", "models")
MAX_DEPTH: Final = 32


class Files(Protocol):
    """Files that a file names, by absolute path."""

    def compose(self, path: str) -> Node:
        """A fleet file parsed. ``NotFound``, ``Invalid``."""
        ...

    def variables(self, path: str, environ: Mapping[str, str]) -> dict[str, str] | None:
        """What a file of variables sets; None where it does not exist."""
        ...

    def resolve(self, path: str, directory: str) -> str:
        """An absolute path of one that is written in a file whose paths start in ``directory``."""
        ...

    def parent(self, path: str) -> str:
        """The directory of an absolute path."""
        ...


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a file stands: its path, where its relative paths start, its variables, and how it was come by."""

    path: str
    directory: str
    environ: Mapping[str, str]
    trail: tuple[str, ...] = ()


class Assembly:
    """Puts files together; what is wrong goes to ``problems``."""

    def __init__(self, files: Files, problems: Problems) -> None:
        self._files = files
        self._problems = problems

    def whole(self, tree: MappingNode, standing: Standing) -> MappingNode:
        """A file with its variables replaced, its includes under it, its services extended."""
        node = interpolate(tree, standing.environ, self._problems)
        assert isinstance(node, MappingNode)
        node = self._include(node, standing)
        return self._extend(node, standing)

    # include

    def _include(self, node: MappingNode, standing: Standing) -> MappingNode:
        entry = node.index.get("include")
        if entry is None:
            return node
        below: Node = null(entry.place)
        field = Field(entry.value, "include", self._problems, entry.place)
        for item in field.items() if not field.is_null else ():
            found = self._included(item, standing)
            if found is not None:
                below = merge(below, found, self._problems)
        node = replace(node, entries=tuple(each for each in node if each.key != "include"))
        if not isinstance(below, MappingNode):
            return node
        over = merge(below, node, self._problems)
        assert isinstance(over, MappingNode)
        return over

    def _included(self, item: Field, standing: Standing) -> Node | None:
        """The resources of one include, ready to lie under the including file."""
        paths = self._include_paths(item)
        if not paths:
            return None
        first = self._files.resolve(paths[0][0], standing.directory)
        directory = self._files.parent(first)
        own = item.get("project_directory") if item.is_mapping else None
        if own is not None and (text := own.filled()):
            directory = self._files.resolve(text, standing.directory)
        environ = self._variables(item, standing, directory)
        merged: Node = null(item.place)
        for text, place in paths:
            path = self._files.resolve(text, standing.directory)
            if path in (standing.path, *standing.trail) or len(standing.trail) > MAX_DEPTH:
                way = " -> ".join((*standing.trail, standing.path, path))
                place.fail(f"files include each other: {way}")
                return None
            tree = self._parsed(path, place)
            if tree is not None:
                there = Standing(path, directory, environ, (*standing.trail, standing.path))
                merged = merge(merged, self.whole(tree, there), self._problems)
        if not isinstance(merged, MappingNode):
            return None
        kept = replace(merged, entries=tuple(entry for entry in merged if entry.key in SECTIONS))
        return relocated(kept, directory)

    def _include_paths(self, item: Field) -> list[tuple[str, Field]]:
        if not item.is_mapping:
            text = item.filled()
            return [] if text is None else [(text, item)]
        if not schema.check(item, schema.INCLUDE, "an include"):
            return []
        path = item.get("path")
        if path is None:
            item.fail("has no 'path'")
            return []
        return [(text, each) for each in path.items_or_one() if (text := each.filled()) is not None]

    def _variables(self, item: Field, standing: Standing, directory: str) -> dict[str, str]:
        """The variables of an include: its env files' lie under those of the including file."""
        given = item.get("env_file") if item.is_mapping else None
        found: dict[str, str] = {}
        if given is None:
            found = self._files.variables(self._files.resolve(".env", directory), standing.environ) or {}
        for each in given.items_or_one() if given else ():
            text = each.filled()
            if text is None or text == "/dev/null":
                continue
            more = self._files.variables(self._files.resolve(text, standing.directory), standing.environ)
            if more is None:
                each.fail(f"file {text!r} does not exist")
            else:
                found |= more
        return {**found, **standing.environ}

    def _parsed(self, path: str, place: Field) -> MappingNode | None:
        try:
            tree = self._files.compose(path)
        except Invalid as error:
            self._problems.take(error)
            return None
        except BennuError as error:
            place.fail(error.message, error.hint)
            return None
        if not isinstance(tree, MappingNode):
            place.fail(f"file {path!r} is no mapping")
            return None
        return tree

    # extends

    def _extend(self, node: MappingNode, standing: Standing) -> MappingNode:
        entry = node.index.get("services")
        if entry is None or not isinstance(entry.value, MappingNode):
            return node
        services = entry.value
        for each in services:
            if isinstance(each.value, MappingNode) and "extends" in each.value.index:
                services = services.with_value(each, self._extended(each, services, standing, ()))
        return node.with_value(entry, services)

    def _extended(
        self, entry: Entry, services: MappingNode, standing: Standing, trail: tuple[tuple[str, str], ...]
    ) -> Node:
        """A service with what it extends under it; as it is where that is not to be had, which is reported."""
        service = entry.value
        if not isinstance(service, MappingNode) or "extends" not in service.index:
            return service
        extends = service.index["extends"]
        field = Field(extends.value, f"services.{entry.key}.extends", self._problems, extends.place)
        bare = replace(service, entries=tuple(each for each in service if each.key != "extends"))
        here = (standing.path, entry.key)
        if here in trail:
            way = " -> ".join(name for _, name in (*trail[trail.index(here) :], here))
            field.fail(f"services extend each other: {way}")
            return service
        target = self._target(field)
        base = None if target is None else self._base(target, services, standing, (*trail, here))
        return service if base is None else merge(base, bare, self._problems, inside=("services", entry.key))

    def _target(self, field: Field) -> tuple[str, Field, Field | None] | None:
        """Which service, where it says so, and in which file."""
        if not field.is_mapping:
            text = field.filled()
            return None if text is None else (text, field, None)
        if not schema.check(field, schema.EXTENDS, "'extends'"):
            return None
        service = field.get("service")
        if service is None:
            field.fail("has no 'service'")
            return None
        text = service.filled()
        return None if text is None else (text, service, field.get("file"))

    def _base(
        self,
        target: tuple[str, Field, Field | None],
        services: MappingNode,
        standing: Standing,
        trail: tuple[tuple[str, str], ...],
    ) -> Node | None:
        name, place, file = target
        there = standing
        if file is not None:
            path = self._files.resolve(file.filled() or "", standing.directory)
            tree = self._parsed(path, file)
            if tree is None:
                return None
            there = Standing(path, self._files.parent(path), standing.environ)
            found = interpolate(tree, there.environ, self._problems)
            entry = found.index.get("services") if isinstance(found, MappingNode) else None
            if entry is None or not isinstance(entry.value, MappingNode):
                file.fail(f"file {path!r} has no services")
                return None
            services = entry.value
        base = services.index.get(name)
        if base is None:
            where = f" in {there.path!r}" if file is not None else ""
            place.fail(f"service {name!r} is not known{where}", did_you_mean(name, services.index))
            return None
        whole = self._extended(base, services, there, trail)
        return relocated_service(whole, there.directory) if file is not None else whole
