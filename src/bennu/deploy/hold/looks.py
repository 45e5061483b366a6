"""Looking at a held replica and writing down what is new: its files, packages and processes.

Cheap by design: one walk of its upper directory, which holds nothing but what differs; of a file only what stat gives,
but for small ones that were written as they had been; packages only where their records changed. What was found is
compared with the look before, by ``compare``, which is pure.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from typing import Final

from bennu.deploy.hold import files as held_files
from bennu.deploy.hold import packages as held_packages
from bennu.deploy.hold.files import Held
from bennu.deploy.hold.lease import Hold
from bennu.deploy.hold.records import Holds, Line
from bennu.engine.base import Engine
from bennu.host.files import sync_file_system
from bennu.store import packages

MOST_READ_BYTES: Final = 1 << 16
MOST_SHOWN: Final = 160
MOST_COMMANDS: Final = 500
_OWNED: Final = "package "
"""Before a file's signature: it came with a package, which is journalled instead."""


def look(engine: Engine, holds: Holds, hold: Hold, now: float) -> int:
    """Write down what is new; how many lines. ``NotFound`` where the replica is gone."""
    before = holds.last_look(hold)
    files = engine.held_files(hold.project, hold.service, hold.index)
    with held_files.look(files, most_read_bytes=MOST_READ_BYTES) as held:
        found = _look_at_files(held, before or {})
    running = {shown(one.command) for one in engine.held_processes(hold.project, hold.service, hold.index)}
    known = [key for key in before or {} if key.startswith("process ")]
    every = dict.fromkeys([*known, *(f"process {command}" for command in sorted(running))], "")
    found |= dict(list(every.items())[:MOST_COMMANDS])
    if found == before:
        return 0
    lines = compare(before, found)
    if any(line.kind == "file" for line in lines):
        sync_file_system(files.upper)  # what the journal tells of is to be there after a power cut, too
    holds.note(hold, lines, now)
    holds.put_look(hold, found)
    return len(lines)


def compare(before: Mapping[str, str] | None, after: Mapping[str, str]) -> list[Line]:
    """The lines about what is new since the look before; with none before, a summary of what there was. Pure."""
    if before is None:
        count = sum(key.startswith("file ") for key in after)
        files = "1 file was" if count == 1 else f"{count} files were"
        return [Line(kind="event", what="held", detail=f"{files} changed before" if count else "nothing changed yet")]
    lines = []
    for key in sorted(after.keys() | before.keys()):
        kind, _, what = key.partition(" ")
        was, now = before.get(key), after.get(key)
        if was == now or kind == "records":
            continue
        if kind == "process":
            lines.append(Line(kind="process", what=what, detail="runs"))
        elif kind == "package":
            lines.append(Line(kind="package", what=what, detail=_version(was, now)))
        elif not (now or was or "").startswith(_OWNED):
            lines.append(Line(kind="file", what=what, detail=_verdict(was, now)))
    return lines


def shown(command: tuple[str, ...]) -> str:
    """A command line as one line, cut off where it is long."""
    text = shlex.join(command)
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 3]}..."


def _version(was: str | None, now: str | None) -> str:
    if now is None:
        return "as in the image again"
    return now if was is None else f"{was}, then {now}"


def _verdict(was: str | None, now: str | None) -> str:
    if now is not None:
        return now.partition(" ")[0]
    return "gone again" if was is not None and was.startswith("added") else "as in the image again"


def _look_at_files(held: Held, before: Mapping[str, str]) -> dict[str, str]:
    changes = tuple(held.changes())
    found = {f"records {one.path}": one.signature for one in changes if one.path in held_packages.RECORDS}
    is_known = {key: value for key, value in before.items() if key.startswith("records ")} == found
    owned: set[str] = set()
    if is_known:
        found |= {key: value for key, value in before.items() if key.startswith("package ")}
    else:
        different = held_packages.difference(held)
        found |= {f"package {one.name}": f"{one.version} installed" for one in different.installed}
        found |= {f"package {one.name}": "removed" for one in different.removed}
        owned = {path for one in different.installed for path in held_packages.files_of(held, one)}
        owned |= {path for one in different.removed for path in held_packages.files_of(held, one, before=True)}
    for one in changes:
        if not one.path.startswith(packages.RECORDS):
            # a name need not be UTF-8, the journal is
            name = os.fsencode(one.path).decode(errors="backslashreplace")
            key, signature = f"file /{name}", one.signature
            came_along = one.path in owned or (is_known and before.get(key) == _OWNED + signature)
            found[key] = _OWNED + signature if came_along else signature
    return found
