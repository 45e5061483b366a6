"""YAML text to nodes, by the events of libyaml's parser.

PyYAML's own constructors are YAML 1.1 and forget places, so only its event stream is used. Refused here: broken YAML,
a key that is there twice, keys that are not scalars, tags other than the core ones and Compose's ``!reset`` and
``!override``, a second document, an alias inside its own anchor, nesting and alias expansion beyond any real file's.
Merge keys (``<<``) are resolved here: what is spelled out wins over what is merged, earlier merges over later ones.
"""

from __future__ import annotations

from typing import Any, Final, cast

import yaml as pyyaml

from bennu.compose.model import Place
from bennu.compose.nodes import Entry, Kind, Mapping, Node, Scalar, Sequence, core_kind
from bennu.errors import Invalid, Unsupported

MAX_DEPTH: Final = 64
MAX_NODES: Final = 200_000
"""Nodes of a document with every alias written out; an alias bomb passes any bound, a real file stays far below."""
MAX_INT_DIGITS: Final = 40

_TAG_PREFIX: Final = "tag:yaml.org,2002:"
_SCALAR_TAGS: Final[dict[str, Kind]] = {
    f"{_TAG_PREFIX}{kind}": kind for kind in ("str", "int", "float", "bool", "null")
}
_OTHER_TAGS: Final = frozenset({f"{_TAG_PREFIX}map", f"{_TAG_PREFIX}seq", "!", None})
MERGE_TAGS: Final = frozenset({"!reset", "!override"})


def parse(text: str, file: str) -> Node:
    """The one document of ``text``. Raises ``Invalid`` with its place; an empty text is a null scalar."""
    try:
        events = list(pyyaml.parse(text, Loader=pyyaml.CSafeLoader))
    except UnicodeEncodeError as error:
        raise Invalid("not valid YAML: it holds half a surrogate pair", file=file, line=1, column=1) from error
    except pyyaml.MarkedYAMLError as error:
        raise _broken(error, text, file) from error
    except pyyaml.YAMLError as error:
        raise _unreadable(error, text, file) from error
    return _Builder(events, text, file).document()


def _broken(error: pyyaml.MarkedYAMLError, text: str, file: str) -> Invalid:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    context = f" ({error.context})" if error.context else ""
    lines = text.splitlines()
    excerpt = lines[line - 1] if line <= len(lines) else None
    hint = None
    if excerpt is not None and "\t" in excerpt[: len(excerpt) - len(excerpt.lstrip())]:
        hint = "indent with spaces; YAML allows no tabs there"
    message = f"not valid YAML: {error.problem}{context}"
    return Invalid(message, hint, file=file, line=line, column=column, excerpt=excerpt)


def _unreadable(error: pyyaml.YAMLError, text: str, file: str) -> Invalid:
    """A reader error of libyaml carries an offset into the text and no mark."""
    position = getattr(error, "position", None)
    before = text[: position if isinstance(position, int) else 0]
    line = before.count("\n") + 1
    column = len(before) - (before.rfind("\n") + 1) + 1
    reason = str(getattr(error, "reason", error)).partition("\n")[0]
    return Invalid(f"not valid YAML: {reason}", file=file, line=line, column=column)


class _Builder:
    """One walk over the events of a document."""

    def __init__(self, events: list[Any], text: str, file: str) -> None:
        self._events = iter(events)
        self._lines = text.split("\n")
        self._file = file
        self._anchors: dict[str, tuple[Node, int, int]] = {}
        self._open: set[str] = set()
        self._count = 0
        self._deepest = 0

    def document(self) -> Node:
        event = self._next()
        while not isinstance(event, pyyaml.DocumentStartEvent):
            if isinstance(event, pyyaml.StreamEndEvent):
                start = Place(file=self._file, line=1, column=1)
                return Scalar("", "null", start, start)
            event = self._next()
        root = self._node(self._next(), 0)
        self._next()
        after = self._next()
        if isinstance(after, pyyaml.DocumentStartEvent):
            where = self._place(after)
            raise self._error("a second document in one file", where, "give each document a file of its own, with -f")
        return root

    def _next(self) -> Any:
        return next(self._events)

    def _place(self, event: Any) -> Place:
        return Place(file=self._file, line=event.start_mark.line + 1, column=event.start_mark.column + 1)

    def _error(self, message: str, place: Place, hint: str | None = None, kind: type[Invalid] = Invalid) -> Invalid:
        excerpt = self._lines[place.line - 1] if place.line <= len(self._lines) else None
        return kind(message, hint, file=self._file, line=place.line, column=place.column, excerpt=excerpt)

    def _grow(self, by: int, place: Place) -> None:
        self._count += by
        if self._count > MAX_NODES:
            raise self._error(f"more than {MAX_NODES} values, aliases written out", place)

    def _node(self, event: Any, depth: int) -> Node:
        place = self._place(event)
        if isinstance(event, pyyaml.AliasEvent):
            return self._alias(str(event.anchor), place, depth)
        self._descend(depth, place)
        anchor = event.anchor
        before = self._count
        deepest, self._deepest = self._deepest, depth
        self._grow(1, place)
        if anchor:
            self._open.add(anchor)
        node: Node
        if isinstance(event, pyyaml.ScalarEvent):
            node = self._scalar(event, place)
        elif isinstance(event, pyyaml.SequenceStartEvent):
            node = self._sequence(event, place, depth)
        else:
            node = self._mapping(event, place, depth)
        if anchor:
            self._open.discard(anchor)
            self._anchors[anchor] = (node, self._count - before, self._deepest - depth)
        self._deepest = max(deepest, self._deepest)
        return node

    def _descend(self, depth: int, place: Place) -> None:
        if depth > MAX_DEPTH:
            raise self._error(f"nested deeper than {MAX_DEPTH} levels", place)
        self._deepest = max(self._deepest, depth)

    def _alias(self, anchor: str, place: Place, depth: int) -> Node:
        if anchor in self._open:
            raise self._error(f"alias '*{anchor}' stands inside its own anchor", place)
        if anchor not in self._anchors:
            raise self._error(f"alias '*{anchor}' has no anchor '&{anchor}' before it", place)
        node, size, height = self._anchors[anchor]
        self._grow(size, place)
        self._descend(depth + height, place)
        return node

    def _scalar(self, event: Any, place: Place) -> Scalar:
        text, tag = cast("str", event.value), event.tag
        if tag in MERGE_TAGS:
            kind: Kind = core_kind(text) if event.implicit[0] else "str"
        elif tag in _SCALAR_TAGS:
            kind, tag = _SCALAR_TAGS[tag], None
            if kind not in ("str", core_kind(text)) and not (kind == "float" and core_kind(text) == "int"):
                raise self._error(f"{text!r} is not of the type that its tag !!{kind} says", place)
        elif tag in _OTHER_TAGS:
            plain = event.implicit[0] and tag is None
            kind, tag = (core_kind(text) if plain else "str"), None
        else:
            raise self._error(f"tag {tag!r} is not known", place, kind=Unsupported)
        if kind == "int" and len(text) > MAX_INT_DIGITS:
            kind = "str"
        return Scalar(text, kind, place, self._content(event, place), tag)

    def _content(self, event: Any, place: Place) -> Place:
        """Where the text of a scalar begins, so that an error inside it can say its column."""
        if event.style in ("'", '"'):
            return Place(file=self._file, line=place.line, column=place.column + 1)
        if event.style in ("|", ">"):
            for number in range(place.line, min(event.end_mark.line + 1, len(self._lines))):
                line = self._lines[number]
                if line.strip():
                    return Place(file=self._file, line=number + 1, column=len(line) - len(line.lstrip()) + 1)
        return place

    def _collection_tag(self, event: Any, place: Place) -> str | None:
        if event.tag in MERGE_TAGS:
            return cast("str", event.tag)
        if event.tag not in _OTHER_TAGS:
            raise self._error(f"tag {event.tag!r} is not known", place, kind=Unsupported)
        return None

    def _sequence(self, start: Any, place: Place, depth: int) -> Sequence:
        tag = self._collection_tag(start, place)
        items: list[Node] = []
        while not isinstance(event := self._next(), pyyaml.SequenceEndEvent):
            items.append(self._node(event, depth + 1))
        return Sequence(tuple(items), place, tag)

    def _mapping(self, start: Any, place: Place, depth: int) -> Mapping:
        tag = self._collection_tag(start, place)
        own: dict[str, Entry] = {}
        merged: Node | None = None
        while not isinstance(event := self._next(), pyyaml.MappingEndEvent):
            where = self._place(event)
            key = self._node(event, depth + 1)
            if not isinstance(key, Scalar):
                raise self._error("a key must be a single value", where)
            value = self._node(self._next(), depth + 1)
            if key.text == "<<" and isinstance(event, pyyaml.ScalarEvent) and event.implicit[0]:
                if merged is not None:
                    raise self._error("key '<<' is there twice", where, "merge several with <<: [*a, *b]")
                merged = value
            elif key.text in own:
                raise self._error(f"key {key.text!r} is there twice, first on line {own[key.text].place.line}", where)
            else:
                own[key.text] = Entry(key.text, value, where)
        entries = own if merged is None else {**self._merged(merged), **own}
        return Mapping(tuple(entries.values()), place, tag)

    def _merged(self, node: Node) -> dict[str, Entry]:
        sources = node.items if isinstance(node, Sequence) else (node,)
        entries: dict[str, Entry] = {}
        for source in sources:
            if not isinstance(source, Mapping):
                raise self._error("a merge key takes a mapping or a list of mappings", source.place)
            entries = {**source.index, **entries}
        self._grow(len(entries), node.place)
        return entries
