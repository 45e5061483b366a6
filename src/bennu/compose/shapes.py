"""What values may look like, for keys that are read as they stand: a few words for a shape, and a check. Pure.

A shape is ``text``, ``number``, ``whole``, ``flag``, ``list`` (of texts), ``texts`` (a text or a list of them),
``pairs`` (a mapping or a list of NAME=VALUE), ``mapping``, ``mappings`` (a list of them), or several of these with
``|`` between them. Source: the JSON schema of the Compose Specification.
"""

from __future__ import annotations

from collections.abc import Callable

from bennu.compose import values
from bennu.compose.fields import Field
from bennu.compose.nodes import Mapping, Scalar, Sequence, type_name

_NAMES = {
    "text": "a string",
    "number": "a number",
    "whole": "a whole number",
    "flag": "true or false",
    "list": "a list of strings",
    "texts": "a string or a list of strings",
    "pairs": "a mapping or a list of NAME=VALUE",
    "mapping": "a mapping",
    "mappings": "a list of mappings",
}


def check(field: Field, shape: str) -> bool:
    """Report a value that has none of the forms of a shape; an empty one has every form."""
    kinds = shape.split("|")
    if field.is_null or any(_fits(field, kind) for kind in kinds):
        return True
    found = repr(field.node.text) if isinstance(field.node, Scalar) else type_name(field.node)
    field.fail(f"is {found}, should be {' or '.join(_NAMES[kind] for kind in kinds)}")
    return False


def _fits(field: Field, kind: str) -> bool:
    node = field.node
    if kind in _PARSERS:
        return isinstance(node, Scalar) and _reads(node, _PARSERS[kind])
    if kind == "mapping":
        return isinstance(node, Mapping)
    if kind == "mappings":
        return isinstance(node, Sequence) and all(isinstance(item, Mapping) for item in node.items)
    is_list = isinstance(node, Sequence) and all(isinstance(item, Scalar) for item in node.items)
    if kind == "pairs":
        return is_list or (isinstance(node, Mapping) and all(isinstance(entry.value, Scalar) for entry in node))
    return is_list or (kind == "texts" and isinstance(node, Scalar))


_PARSERS: dict[str, Callable[[str], object]] = {
    "text": str,
    "number": values.number,
    "whole": values.integer,
    "flag": values.boolean,
}


def _reads(node: Scalar, parse: Callable[[str], object]) -> bool:
    try:
        parse(node.text)
    except ValueError:
        return False
    return True
