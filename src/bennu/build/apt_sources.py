"""Where packages come from: the host's own apt sources, read so that an image can use the same mirrors.

Both forms are read, one-line and deb822 (sources.list(5)). Of a host's entries only those of the distribution itself
count: the suites of its release with the component ``main``, from an archive named after the distribution. Texts
in, lines out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

_OPTIONS: Final = re.compile(r"^\[[^\]]*\]\s*")
_ARCHIVES: Final = ("", "-updates", "-security")


class Source(msgspec.Struct, frozen=True):
    """One archive and suite: ``deb URI SUITE COMPONENT...``."""

    uri: str
    suite: str
    components: tuple[str, ...]

    @property
    def line(self) -> str:
        """The entry in the one-line form."""
        return f"deb {self.uri} {self.suite} {' '.join(self.components)}"


def parse_os_release(text: str) -> Mapping[str, str]:
    """The variables of os-release(5), unquoted."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {name.strip(): value.strip().strip("\"'") for name, _, value in pairs}


def parse_sources(texts: Iterable[str]) -> Iterator[Source]:
    """The binary sources of files of either form; what is commented out or disabled is left out."""
    for text in texts:
        is_deb822 = re.search(r"^Types:", text, re.MULTILINE | re.IGNORECASE)
        yield from _stanzas(text) if is_deb822 else _lines(text)


def mirrors(sources: Iterable[Source], distribution: str, codename: str, suite: str) -> list[Source]:
    """The sources of ``suite`` on the mirrors that a host of the release ``codename`` uses; empty if it has none."""
    found: list[Source] = []
    for source in sources:
        ending = source.suite.removeprefix(codename) if source.suite.startswith(codename) else None
        archive = source.uri.rstrip("/").rpartition("/")[2]
        if ending not in _ARCHIVES or "main" not in source.components or not archive.startswith(distribution):
            continue
        found.append(Source(source.uri, suite + ending, source.components))
    is_complete = any(source.suite == suite for source in found)
    return list(dict.fromkeys(found)) if is_complete else []


def _lines(text: str) -> Iterator[Source]:
    for line in text.splitlines():
        kind, _, rest = line.partition("#")[0].strip().partition(" ")
        words = _OPTIONS.sub("", rest.strip()).split()
        if kind == "deb" and len(words) > 2:
            yield Source(words[0], words[1], tuple(words[2:]))


def _stanzas(text: str) -> Iterator[Source]:
    for stanza in re.split(r"\n\s*\n", text):
        fields: dict[str, list[str]] = {}
        name = ""
        for line in stanza.splitlines():
            if line.startswith("#"):
                continue
            if line[:1] not in {" ", "\t"} and ":" in line:
                name, _, line = line.partition(":")  # noqa: PLW2901 - the rest of the line is the first value
            fields.setdefault(name.lower(), []).extend(line.split())
        yield from _sources(fields)


def _sources(fields: Mapping[str, Sequence[str]]) -> Iterator[Source]:
    if "deb" not in fields.get("types", ()) or fields.get("enabled") == ["no"]:
        return
    for uri in fields.get("uris", ()):
        for suite in fields.get("suites", ()):
            yield Source(uri, suite, tuple(fields.get("components", ())))
