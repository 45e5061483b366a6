"""A node seen from where it is used: with its path for messages, and with typed reads that report what is wrong.

A read that fails adds a problem and returns None (or leaves the item out), so that a reader goes on and all errors of a
file come at once. An empty value counts as a key that is not there, as in Compose.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from bennu.compose import values
from bennu.compose.model import Place
from bennu.compose.nodes import Mapping, Node, Scalar, Sequence, type_name
from bennu.compose.problems import Problems, did_you_mean

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Field:
    """A node and its path, such as ``services.web.ports[0]``. ``key_place`` is its key's place, where it has one."""

    node: Node
    path: str
    problems: Problems
    key_place: Place

    @property
    def place(self) -> Place:
        """Where the value stands; where its key stands if the value is empty or a block below it."""
        if isinstance(self.node, Scalar) and not self.node.is_null:
            return self.node.place
        return self.key_place

    def fail(self, message: str, hint: str | None = None) -> None:
        """Report that this value is wrong."""
        self.problems.add(f"{self.path}: {message}", self.place, hint)

    def refuse(self, message: str, hint: str | None = None) -> None:
        """Report that this value asks for something that bennu does not do."""
        self.problems.unsupported(f"{self.path}: {message}", self.place, hint)

    def notice(self, message: str) -> None:
        """Report something that the user should know."""
        self.problems.notice(f"{self.path}: {message}", self.place)

    def get(self, key: str) -> Field | None:
        """The value of a key of this mapping; None where the key is not there or has no value."""
        found = self.raw(key)
        return None if found is None or found.is_null else found

    def raw(self, key: str) -> Field | None:
        """The value of a key of this mapping, empty or not."""
        entry = self.node.index.get(key) if isinstance(self.node, Mapping) else None
        if entry is None:
            return None
        return Field(entry.value, f"{self.path}.{key}" if self.path else key, self.problems, entry.place)

    def filled_at(self, key: str) -> str | None:
        """The value of a key of this mapping, a text that is not empty."""
        found = self.get(key)
        return found.filled() if found else None

    def boolean_at(self, key: str) -> bool | None:
        """The value of a key of this mapping, true or false."""
        found = self.get(key)
        return found.boolean() if found else None

    def texts_at(self, key: str) -> dict[str, str]:
        """The texts by name under a key, of a mapping or of ``NAME=value``; the empty text for a bare name."""
        found = self.get(key)
        return {name: value or "" for name, value, _ in found.pairs()} if found else {}

    @property
    def is_null(self) -> bool:
        """There is no value."""
        return isinstance(self.node, Scalar) and self.node.is_null

    @property
    def is_mapping(self) -> bool:
        """There are keys."""
        return isinstance(self.node, Mapping)

    @property
    def is_list(self) -> bool:
        """There are items."""
        return isinstance(self.node, Sequence)

    def expect_mapping(self) -> bool:
        """Report and return False where this is no mapping."""
        if not self.is_mapping:
            self.fail(f"is {type_name(self.node)}, should be a mapping")
        return self.is_mapping

    def entries(self) -> Iterator[tuple[str, Field]]:
        """Keys and values, empty ones too, in the file's order."""
        if isinstance(self.node, Mapping):
            for entry in self.node:
                path = f"{self.path}.{entry.key}" if self.path else entry.key
                yield entry.key, Field(entry.value, path, self.problems, entry.place)

    def items(self) -> Iterator[Field]:
        """The items of a list; a report and nothing where this is no list."""
        if not isinstance(self.node, Sequence):
            self.fail(f"is {type_name(self.node)}, should be a list")
            return
        for number, item in enumerate(self.node.items):
            yield Field(item, f"{self.path}[{number}]", self.problems, item.place)

    def items_or_one(self) -> Iterator[Field]:
        """The items of a list, or this itself where it is a single value."""
        if isinstance(self.node, Scalar):
            yield self
        else:
            yield from self.items()

    def text(self) -> str | None:
        """A single value as it was written, numbers and booleans too."""
        if not isinstance(self.node, Scalar):
            self.fail(f"is {type_name(self.node)}, should be a single value")
            return None
        return self.node.text

    def filled(self) -> str | None:
        """A single value that is not the empty string."""
        text = self.text()
        if text is not None and not text.strip():
            self.fail("is empty")
            return None
        return text

    def read(self, parse: Callable[[str], T]) -> T | None:
        """A single value through one of the functions of ``values``."""
        text = self.text()
        if text is None:
            return None
        try:
            return parse(text)
        except ValueError as error:
            self.fail(str(error))
            return None

    def integer(self, least: int | None = None) -> int | None:
        """A whole number, not below ``least``."""
        value = self.read(values.integer)
        if value is not None and least is not None and value < least:
            self.fail(f"{value} is less than {least}")
            return None
        return value

    def boolean(self) -> bool | None:
        """True or false."""
        return self.read(values.boolean)

    def choice(self, choices: Iterable[str], what: str) -> str | None:
        """One of a few words; ``what`` names their kind."""
        text, known = self.text(), tuple(choices)
        if text is None or text in known:
            return text
        hint = did_you_mean(text, known) or f"one of {', '.join(known)}"
        self.fail(f"{text!r} is no {what}", hint)
        return None

    def strings(self) -> tuple[str, ...]:
        """A list of single values as texts."""
        texts = (item.text() for item in self.items())
        return tuple(text for text in texts if text is not None)

    def pairs(self) -> Iterator[tuple[str, str | None, Field]]:
        """Name and value, of a mapping or of a list of ``NAME=value``; None where there is only a name."""
        if self.is_mapping:
            for key, value in self.entries():
                text = None if value.is_null else value.text()
                if value.is_null or text is not None:
                    yield key, text, value
            return
        for item in self.items():
            text = item.text()
            if text is not None:
                name, equals, rest = text.partition("=")
                yield name, rest if equals else None, item
