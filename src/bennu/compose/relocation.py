"""Nodes of a file that stands elsewhere: their relative paths made absolute, so that they mean what they meant there.

Pure. For what ``extends`` and ``include`` bring in; the same keys as ``Base.path`` is asked for later on. A path that
is absolute, begins with ``~`` or is an address stays. Source: the Compose Specification, 05-services.md ("Relative
paths") and 14-include.md.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from bennu.compose.nodes import Mapping, Node, Scalar, Sequence

Path = tuple[str, ...]
_ADDRESS: Final = re.compile(r"[a-z+-]+://|git@|github\.com/|service:")
_ANY: Final = "*"


def relocated(node: Node, directory: str) -> Node:
    """A whole file whose relative paths start in ``directory`` (absolute)."""
    return _walk(node, (), directory)


def relocated_service(node: Node, directory: str) -> Node:
    """One service of such a file."""
    return _walk(node, ("services", _ANY), directory)


def _walk(node: Node, path: Path, directory: str) -> Node:
    change = _CHANGES.get(path)
    if change is not None:
        node = change(node, directory)
    if isinstance(node, Mapping):
        inner = _INNER.get(path)
        if inner is None:
            return node
        entries = tuple(
            replace(entry, value=_walk(entry.value, (*path, entry.key if entry.key in inner else _ANY), directory))
            if entry.key in inner or _ANY in inner
            else entry
            for entry in node
        )
        return replace(node, entries=entries)
    return node


def _absolute(text: str, directory: str) -> str:
    if not text or text.startswith(("/", "~")) or _ADDRESS.match(text):
        return text
    return posixpath.normpath(posixpath.join(directory, text))


def _text(node: Node, directory: str) -> Node:
    return replace(node, text=_absolute(node.text, directory)) if _is_text(node) and isinstance(node, Scalar) else node


def _texts(node: Node, directory: str) -> Node:
    if isinstance(node, Sequence):
        return replace(node, items=tuple(_text(item, directory) for item in node.items))
    return _text(node, directory)


def _paths(node: Node, directory: str) -> Node:
    """Texts, or mappings with a ``path``: env files."""
    if isinstance(node, Sequence):
        return replace(node, items=tuple(_paths(item, directory) for item in node.items))
    return _inside(node, "path", directory) if isinstance(node, Mapping) else _text(node, directory)


def _values(node: Node, directory: str) -> Node:
    """Values of a mapping or of NAME=VALUE: additional contexts."""
    if isinstance(node, Mapping):
        return replace(node, entries=tuple(replace(each, value=_text(each.value, directory)) for each in node))
    if isinstance(node, Sequence):
        return replace(node, items=tuple(_pair(item, directory) for item in node.items))
    return node


def _pair(item: Node, directory: str) -> Node:
    if not isinstance(item, Scalar):
        return item
    name, equals, value = item.text.partition("=")
    return replace(item, text=f"{name}={_absolute(value, directory)}") if equals else item


def _build(node: Node, directory: str) -> Node:
    if isinstance(node, Mapping):
        if node.get("context") is not None or node.get("dockerfile_inline") is not None or not node.entries:
            return node
        return _with_context(node, directory)
    return _text(node, directory)


def _with_context(node: Mapping, directory: str) -> Mapping:
    """A build without a context has the file's directory as its context."""
    first = node.entries[0]
    entry = replace(first, key="context", value=Scalar(directory, "str", first.place, first.place))
    return replace(node, entries=(entry, *node.entries))


def _mounts(node: Node, directory: str) -> Node:
    if isinstance(node, Sequence):
        return replace(node, items=tuple(_mount(item, directory) for item in node.items))
    return node


def _mount(item: Node, directory: str) -> Node:
    if isinstance(item, Mapping):
        kind = item.get("type")
        is_bind = isinstance(kind, Scalar) and kind.text == "bind"
        return _inside(item, "source", directory) if is_bind else item
    if isinstance(item, Scalar) and item.text.startswith("."):
        source, colon, rest = item.text.partition(":")
        return replace(item, text=_absolute(source, directory) + colon + rest) if colon else item
    return item


def _extends(node: Node, directory: str) -> Node:
    return _inside(node, "file", directory) if isinstance(node, Mapping) else node


def _inside(node: Mapping, key: str, directory: str) -> Mapping:
    entry = node.index.get(key)
    return node if entry is None else node.with_value(entry, _text(entry.value, directory))


def _is_text(node: Node) -> bool:
    return isinstance(node, Scalar) and not node.is_null


_SERVICE: Final[Path] = ("services", _ANY)
_CHANGES: Final[dict[Path, Callable[[Node, str], Node]]] = {
    (*_SERVICE, "build"): _build,
    (*_SERVICE, "build", "context"): _text,
    (*_SERVICE, "build", "additional_contexts"): _values,
    (*_SERVICE, "env_file"): _paths,
    (*_SERVICE, "label_file"): _texts,
    (*_SERVICE, "extends"): _extends,
    (*_SERVICE, "volumes"): _mounts,
    ("configs", _ANY, "file"): _text,
    ("secrets", _ANY, "file"): _text,
}


def _inner() -> dict[Path, set[str]]:
    """By path, the keys below which something changes."""
    found: dict[Path, set[str]] = {}
    for path in _CHANGES:
        for length in range(len(path)):
            found.setdefault(path[:length], set()).add(path[length])
    return found


_INNER: Final = _inner()
