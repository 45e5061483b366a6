"""YAML as nodes that know where they stand: the tree that a fleet file is before it means anything.

A scalar keeps its text and what YAML's core schema says of it; nothing is turned into a number here, so that ``0755``,
``1.10`` and ``yes`` reach whoever reads them as they were written. Nodes are immutable and shared where the file uses
an alias. ``yaml`` makes them from text, ``interpolation`` and ``merging`` make new ones, ``fields`` reads them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from bennu.compose.model import Place

Kind = Literal["str", "int", "float", "bool", "null"]

_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLS: Final = frozenset({"true", "True", "TRUE", "false", "False", "FALSE"})
_INT: Final = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)


@dataclass(frozen=True, slots=True)
class Scalar:
    """A single value. ``text`` is its content without quotes; ``kind`` is what the core schema makes of it.

    ``content`` is where the text itself begins: after an opening quote, or below the header of a block scalar.
    """

    text: str
    kind: Kind
    place: Place
    content: Place
    tag: str | None = None

    @property
    def is_null(self) -> bool:
        """There is no value here."""
        return self.kind == "null"


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    items: tuple[Node, ...]
    place: Place
    tag: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A key with its value; ``place`` is the key's."""

    key: str
    value: Node
    place: Place


@dataclass(frozen=True, slots=True)
class Mapping:
    """Keys and values in the file's order. Keys are texts and unique."""

    entries: tuple[Entry, ...]
    place: Place
    tag: str | None = None
    index: dict[str, Entry] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "index", {entry.key: entry for entry in self.entries})

    def get(self, key: str) -> Node | None:
        """The value of a key, None if the key is not there."""
        entry = self.index.get(key)
        return entry.value if entry else None

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def with_value(self, entry: Entry, value: Node) -> Mapping:
        """The same mapping with ``value`` under the key of ``entry``, in its old position or at the end."""
        new = replace(entry, value=value)
        if entry.key not in self.index:
            return replace(self, entries=(*self.entries, new))
        return replace(self, entries=tuple(new if old.key == entry.key else old for old in self.entries))


Node = Scalar | Sequence | Mapping


def core_kind(text: str) -> Kind:
    """What a plain scalar is by YAML 1.2's core schema (YAML 1.2.2, section 10.3.2): ``yes`` and ``on`` are strings."""
    if text in _NULLS:
        return "null"
    if text in _BOOLS:
        return "bool"
    if _INT.fullmatch(text):
        return "int"
    return "float" if _FLOAT.fullmatch(text) else "str"


def core_int(text: str) -> int:
    """The integer that a core-schema ``int`` spells; ``ValueError`` for other text."""
    if not _INT.fullmatch(text):
        raise ValueError(text)
    return int(text, 0) if text[:2] in ("0o", "0x") else int(text)


def null(place: Place) -> Scalar:
    """An absent value that is said to stand at ``place``."""
    return Scalar("", "null", place, place)


def string(text: str, place: Place) -> Scalar:
    """A string that is said to stand at ``place``."""
    return Scalar(text, "str", place, place)


def type_name(node: Node) -> str:
    """What a node is, for messages."""
    match node:
        case Mapping():
            return "a mapping"
        case Sequence():
            return "a list"
        case Scalar(kind="null"):
            return "empty"
        case Scalar(kind="str"):
            return "a string"
        case _:
            return {"int": "a number", "float": "a number", "bool": "a boolean"}[node.kind]


def plain(node: Node) -> object:
    """The node as dictionaries, lists, strings, numbers, booleans and None, as JSON would have it."""
    if isinstance(node, Mapping):
        return {entry.key: plain(entry.value) for entry in node}
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    return _plain_scalar(node)


def _plain_scalar(node: Scalar) -> object:
    match node.kind:
        case "int":
            return core_int(node.text)
        case "float":
            number = float(node.text.lower().replace(".inf", "inf").replace(".nan", "nan"))
            return number if math.isfinite(number) else node.text
        case "bool":
            return node.text.lower() == "true"
        case "null":
            return None
        case _:
            return node.text
