"""Reading ``cases.txt`` and what a builder found in each case."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
RECORDED = HERE / "recorded.json"


class Case(NamedTuple):
    """A Dockerfile with what stands beside it; ``later`` is what is expected where no builder recorded it."""

    name: str
    text: str
    args: dict[str, str]
    target: str | None
    ignore: tuple[str, ...]
    platform: str
    later: tuple[str, ...] | None


def cases(file: str = "cases.txt") -> list[Case]:
    """All cases, in the file's order."""
    found: list[Case] = []
    header, _, body = (HERE / file).read_text().partition("\n\n")
    assert header.startswith("#")
    for part in ("\n" + body).split("\n=== ")[1:]:
        name, _, rest = part.partition("\n")
        beside: dict[str, str] = {}
        while rest.startswith("--- "):
            line, _, rest = rest.partition("\n")
            key, _, value = line[4:].partition(" ")
            beside[key] = value
        given = dict(word.split("=", 1) for word in beside.get("args", "").split())
        found.append(
            Case(
                name,
                rest.rstrip("\n") + ("\n\n\n" if rest.rstrip("\n").endswith("\\") else "\n"),
                given,
                beside.get("target"),
                tuple(beside.get("ignore", "").split()),
                beside.get("platform", "linux/amd64"),
                tuple(beside["later"].split()) if "later" in beside else None,
            )
        )
    return found


def recorded_outlines() -> dict[str, dict[str, dict[str, Any]]]:
    """The documents of ``--call=outline`` and ``--call=targets``, by the case's name."""
    found: dict[str, dict[str, dict[str, Any]]] = json.loads(RECORDED.read_text())["outlines"]
    return found


def recorded() -> dict[str, list[str]]:
    """What the builder found, as ``Rule:line``, by the case's name."""
    found: dict[str, list[str]] = json.loads(RECORDED.read_text())["cases"]
    return found
