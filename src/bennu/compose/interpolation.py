"""Variables in the values of a fleet file: ``$NAME``, ``${NAME}`` and the forms with an operator.

Source: the Compose Specification, 12-interpolation.md. ``:-`` and ``-`` give a default, ``:?`` and ``?`` demand a
value, ``:+`` and ``+`` replace one; with the colon an empty value counts as none. What follows the operator may hold
variables and pairs of braces itself. ``$$`` is a dollar sign, and so is a dollar sign that begins nothing. Keys are
never interpolated.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from bennu.compose import nodes
from bennu.compose.model import Place
from bennu.compose.problems import Problems

MAX_DEPTH: Final = 32
MAX_LENGTH: Final = 1 << 20

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATOR: Final = re.compile(r":?[-?+]")


class InterpolationError(Exception):
    """``message`` about the character at ``offset`` (from 0) of the text."""

    def __init__(self, message: str, offset: int, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Expanded:
    """The text with its variables replaced, and those that had neither a value nor a default."""

    text: str
    unset: tuple[str, ...]


def expand(text: str, environ: Mapping[str, str]) -> Expanded:
    """Replace the variables of ``text``. Raises ``InterpolationError``."""
    expansion = _Expansion(text, environ)
    result, _ = expansion.run(0, nested=False, depth=0, live=True)
    return Expanded(result, tuple(dict.fromkeys(expansion.unset)))


class _Expansion:
    def __init__(self, text: str, environ: Mapping[str, str]) -> None:
        self._text = text
        self._environ = environ
        self.unset: list[str] = []

    def run(self, position: int, *, nested: bool, depth: int, live: bool) -> tuple[str, int]:
        """Expand from ``position`` to the end, or to the brace that closes a nested text; that brace's position too.

        ``live`` is False in a branch that will not be used: it is read for its braces, and its variables don't count.
        """
        text, length, braces = self._text, 0, 0
        out: list[str] = []
        if depth > MAX_DEPTH:
            raise InterpolationError(f"variables nested deeper than {MAX_DEPTH}", position)
        while position < len(text):
            char = text[position]
            if char == "}" and nested and not braces:
                return "".join(out), position
            braces += (char == "{") - (char == "}")
            piece, position = self._dollar(position, depth, live) if char == "$" else (char, position + 1)
            length += len(piece)
            if length > MAX_LENGTH:
                raise InterpolationError(f"longer than {MAX_LENGTH} characters when its variables are replaced", 0)
            out.append(piece)
        return "".join(out), position

    def _dollar(self, start: int, depth: int, live: bool) -> tuple[str, int]:
        text = self._text
        if text.startswith("$$", start):
            return "$", start + 2
        if text.startswith("${", start):
            return self._braced(start, depth, live)
        name = _NAME.match(text, start + 1)
        if name is None:
            return "$", start + 1
        return self._value(name[0], live), name.end()

    def _braced(self, start: int, depth: int, live: bool) -> tuple[str, int]:
        text = self._text
        hint = "write $$ for a dollar sign that begins no variable"
        name = _NAME.match(text, start + 2)
        if name is None:
            raise InterpolationError("'${' is not followed by the name of a variable", start, hint)
        if text.startswith("}", name.end()):
            return self._value(name[0], live), name.end() + 1
        operator = _OPERATOR.match(text, name.end())
        if operator is None and name.end() < len(text):
            message = f"after '${{{name[0]}' comes {text[name.end()]!r}, which is no operator"
            raise InterpolationError(message, start, "the operators are :- - :? ? :+ +")
        if operator is None:
            raise InterpolationError(f"'${{{name[0]}' is not closed with '}}'", start, hint)
        value = self._environ.get(name[0])
        filled = bool(value) if operator[0].startswith(":") else value is not None
        kind = operator[0][-1]
        used = live and (filled if kind == "+" else not filled)
        word, end = self.run(operator.end(), nested=True, depth=depth + 1, live=used)
        if end >= len(text):
            raise InterpolationError(f"'${{{name[0]}{operator[0]}' is not closed with '}}'", start, hint)
        if kind == "?" and used:
            reason = f": {word}" if word else ""
            raise InterpolationError(f"variable {name[0]!r} must have a value{reason}", start)
        if kind == "+":
            return (word if used else ""), end + 1
        return (value or "") if filled or not used else word, end + 1

    def _value(self, name: str, live: bool) -> str:
        value = self._environ.get(name)
        if value is None and live:
            self.unset.append(name)
        return value or ""


def interpolate(node: nodes.Node, environ: Mapping[str, str], problems: Problems) -> nodes.Node:
    """The node with the variables of all its values replaced. A value that had one is a string from then on."""
    return _rewrite(node, lambda scalar: _scalar(scalar, environ, problems), {})


Rewrite = Callable[[nodes.Scalar], nodes.Node]


def _rewrite(node: nodes.Node, change: Rewrite, done: dict[int, nodes.Node]) -> nodes.Node:
    """Aliases share nodes: ``done`` keeps them shared, and a chain of aliases cheap."""
    known = done.get(id(node))
    if known is not None:
        return known
    new: nodes.Node
    if isinstance(node, nodes.Scalar):
        new = change(node)
    elif isinstance(node, nodes.Sequence):
        new = replace(node, items=tuple(_rewrite(item, change, done) for item in node.items))
    else:
        entries = tuple(replace(entry, value=_rewrite(entry.value, change, done)) for entry in node)
        new = replace(node, entries=entries)
    done[id(node)] = new
    return new


def _scalar(scalar: nodes.Scalar, environ: Mapping[str, str], problems: Problems) -> nodes.Scalar:
    if "$" not in scalar.text:
        return scalar
    try:
        expanded = expand(scalar.text, environ)
    except InterpolationError as error:
        problems.add(error.message, place_in(scalar, error.offset), error.hint)
        return scalar
    for name in expanded.unset:
        problems.notice(f"variable {name!r} is not set; an empty string is used", scalar.place)
    return replace(scalar, text=expanded.text, kind="str")


def place_in(scalar: nodes.Scalar, offset: int) -> Place:
    """Where the character at ``offset`` of a scalar's text stands; exact but for folded lines and escapes before it."""
    before = scalar.text[:offset]
    breaks = before.count("\n")
    if not breaks:
        return replace_column(scalar.content, scalar.content.column + offset)
    place = scalar.content
    column = place.column + len(before) - before.rfind("\n") - 1
    return Place(file=place.file, line=place.line + breaks, column=column)


def replace_column(place: Place, column: int) -> Place:
    """The same line, another column."""
    return Place(file=place.file, line=place.line, column=column)
