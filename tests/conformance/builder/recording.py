"""What Docker made of a case, and the files in which that stands: one JSON document an area.

An ``Outcome`` is an image (its tree as changes to the base's, its configuration, its number of layers) or a refusal. Of
the configuration everything counts but dates and digests; a member that is empty is as good as one that is not there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.conformance.builder.case import Case

PLACE = Path(__file__).parent / "recorded"


@dataclass(frozen=True)
class Outcome:
    """``base`` is the image whose tree the changes are told against. ``refused`` is Docker's message, for people.

    ``line`` is where Docker says that the error is. ``warnings`` are the names of its checks that found something.
    """

    base: str = ""
    tree: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    layers: int = 0
    refused: str = ""
    line: int = 0
    warnings: tuple[str, ...] = ()


def normalised(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration without what differs from build to build."""
    container = {
        key: value for key, value in (config.get("config") or {}).items() if value not in (None, "", [], {}, False)
    }
    history = [{key: value for key, value in each.items() if key != "created"} for each in config.get("history") or ()]
    kept = {
        key: value
        for key, value in config.items()
        if key not in {"config", "history", "created", "rootfs"} and value not in (None, "", [], {})
    }
    return {**kept, "config": container, "history": history}


def load(area: str) -> dict[str, tuple[str, Outcome]]:
    """The digest of each recorded case and its outcome, by name."""
    path = PLACE / f"{area}.json"
    if not path.exists():
        return {}
    found = {}
    for name, record in json.loads(path.read_text()).items():
        digest = record.pop("of")
        found[name] = (digest, Outcome(**{**record, "warnings": tuple(record.get("warnings", ()))}))
    return found


def save(area: str, outcomes: Mapping[str, tuple[str, Outcome]]) -> None:
    """Write the outcomes of an area, one line for each thing that can differ."""
    document = {
        name: {"of": digest, **{key: value for key, value in asdict(outcome).items() if value}}
        for name, (digest, outcome) in sorted(outcomes.items())
    }
    PLACE.mkdir(exist_ok=True)
    (PLACE / f"{area}.json").write_text(json.dumps(document, indent=1) + "\n")


def matches(case: Case, recorded: Mapping[str, tuple[str, Outcome]]) -> bool:
    """Whether the recording is of this very case."""
    return case.name in recorded and recorded[case.name][0] == case.digest
