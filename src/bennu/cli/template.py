r"""The part of Go's template language that people use with ``--format``. Pure.

``{{.ID}}\t{{.Names}}``, ``{{json .}}``, ``{{.State.Health.Status}}``, ``{{index .Config.Env 0}}``,
``{{len .Mounts}}``, ``{{join .Cmd " "}}``, ``{{upper .Name}}``, ``{{range .Mounts}}{{.Source}} {{end}}``, and the
trimming dashes. A field that a record does not have is an error, as it is in Docker, and so is anything else of the
language: both name what they met. Source of the meanings: Docker's "Format command and log output" and Go's
text/template.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bennu.errors import Invalid, Unsupported

_ACTION: Final = re.compile(r"(?:\s+(?=\{\{- ))?\{\{(?:- )?(.*?)(?: -\}\}\s*|\}\})", re.DOTALL)
_TOKEN: Final = re.compile(r'\s*("(?:[^"\\]|\\.)*"|`[^`]*`|[^\s"`]+)')
_ESCAPES: Final = {r"\t": "\t", r"\n": "\n", r"\\": "\\"}


@dataclass(frozen=True, slots=True)
class _Text:
    text: str


@dataclass(frozen=True, slots=True)
class _Value:
    tokens: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Range:
    tokens: tuple[str, ...]
    body: tuple[_Node, ...]


_Node = _Text | _Value | _Range


class Template:
    """A parsed template; ``render`` fills it with one record (mappings, sequences and scalars)."""

    def __init__(self, source: str) -> None:
        self.source = source
        self._nodes = _parse(source)

    def render(self, record: object) -> str:
        """The text for one record; ``Invalid`` for a field that it does not have."""
        return _render(self._nodes, record)

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that stand alone in an action (``{{.Name}}``), in their order: the columns of a table."""
        values = [node.tokens for node in self._nodes if isinstance(node, _Value)]
        return tuple(tokens[-1].lstrip(".") for tokens in values if tokens[-1].startswith("."))


def _parse(source: str) -> tuple[_Node, ...]:
    stack: list[tuple[tuple[str, ...], list[_Node]]] = [((), [])]
    end = 0
    for match in _ACTION.finditer(source):
        if text := source[end : match.start()]:
            stack[-1][1].append(_Text(re.sub(r"\\[tn\\]", lambda found: _ESCAPES[found[0]], text)))
        end = match.end()
        tokens = tuple(_TOKEN.findall(match[1]))
        if not tokens:
            raise Invalid(f"template {source!r} has an empty action")
        if tokens[0] == "range":
            stack.append((tokens[1:], []))
        elif tokens == ("end",):
            if len(stack) == 1:
                raise Invalid(f"template {source!r} has an end without a range")
            over, body = stack.pop()
            stack[-1][1].append(_Range(over, tuple(body)))
        else:
            _check(tokens, source)
            stack[-1][1].append(_Value(tokens))
    rest = source[end:]
    if "{{" in rest:
        raise Invalid(f"template {source!r} has an action that is not closed")
    if len(stack) > 1:
        raise Invalid(f"template {source!r} has a range without an end")
    if rest:
        stack[0][1].append(_Text(re.sub(r"\\[tn\\]", lambda found: _ESCAPES[found[0]], rest)))
    return tuple(stack[0][1])


def _check(tokens: tuple[str, ...], source: str) -> None:
    head = tokens[0]
    if not head.startswith((".", '"', "`")) and head not in _FUNCTIONS:
        raise Unsupported(
            f"template {source!r} uses {head!r}, which is not supported",
            f"fields ({{{{.Name}}}}), range and {', '.join(sorted(_FUNCTIONS))} are",
        )


def _render(nodes: tuple[_Node, ...], record: object) -> str:
    parts: list[str] = []
    for node in nodes:
        if isinstance(node, _Text):
            parts.append(node.text)
        elif isinstance(node, _Value):
            parts.append(_shown(_evaluate(node.tokens, record)))
        else:
            over = _evaluate(node.tokens, record)
            members = over.values() if isinstance(over, Mapping) else over
            if isinstance(members, str) or not isinstance(members, Iterable | None):
                raise Invalid(f"template: {' '.join(node.tokens)!r} is {over!r}, which has no members to range over")
            parts += [_render(node.body, member) for member in members or ()]
    return "".join(parts)


def _evaluate(tokens: tuple[str, ...], record: object) -> object:
    if tokens[0] in _FUNCTIONS:
        least, function = _FUNCTIONS[tokens[0]]
        values = [_operand(token, record) for token in tokens[1:]]
        if len(values) < least:
            raise Invalid(f"template: {tokens[0]} needs {least} values and has {len(values)}")
        return function(*values)
    if len(tokens) > 1:
        raise Unsupported(f"template: {' '.join(tokens)!r} is not supported")
    return _operand(tokens[0], record)


def _operand(token: str, record: object) -> object:
    if token.startswith('"'):
        return json.loads(token)
    if token.startswith("`"):
        return token[1:-1]
    if re.fullmatch(r"-?\d+", token):
        return int(token)
    if not token.startswith("."):
        raise Unsupported(f"template: {token!r} is not supported")
    value = record
    for name in filter(None, token.split(".")):
        if not isinstance(value, Mapping) or name not in value:
            known = ", ".join(str(key) for key in value) if isinstance(value, Mapping) else ""
            raise Invalid(f"template: there is no field {token!r}", f"fields: {known}" if known else None)
        value = value[name]
    return value


def _shown(value: object) -> str:
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "map[" + " ".join(f"{key}:{_shown(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + " ".join(_shown(member) for member in value) + "]"
    return str(value)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _index(value: object, *keys: object) -> object:
    for key in keys:
        if isinstance(value, Mapping):
            value = value.get(key, "")
        elif isinstance(value, Sequence) and isinstance(key, int) and 0 <= key < len(value):
            value = value[key]
        else:
            raise Invalid(f"template: {_shown(value)!r} has no index {key!r}")
    return value


def _join(value: object, separator: object) -> str:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise Invalid(f"template: {_shown(value)!r} is not a list to join")
    return str(separator).join(_shown(member) for member in value)


def _length(value: object) -> int:
    if not isinstance(value, (str, Mapping, Sequence)):
        raise Invalid(f"template: {_shown(value)!r} has no length")
    return len(value)


_FUNCTIONS: Final[dict[str, tuple[int, Callable[..., object]]]] = {
    "json": (1, _json),
    "index": (2, _index),
    "join": (2, _join),
    "len": (1, _length),
    "lower": (1, lambda value: _shown(value).lower()),
    "upper": (1, lambda value: _shown(value).upper()),
    "println": (1, lambda *values: " ".join(_shown(value) for value in values) + "\n"),
}
