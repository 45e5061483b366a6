"""What has changed in a directory since a copy of it was made: which files a rollback of the data would lose.

By a walk over both that compares types, sizes, times of change of the content, owners and modes: copies keep all of
these, so that no content has to be read.
"""

from __future__ import annotations

import heapq
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

NEWEST: Final = 5


class Changed(NamedTuple):
    """A file that differs: when it was written last (Unix seconds), its path inside the volume, its bytes."""

    seconds: float
    path: str
    size_bytes: int


class Changes(NamedTuple):
    """How many files were changed, added and removed, the bytes of the first two, and the newest of them."""

    changed: int
    added: int
    removed: int
    size_bytes: int
    newest: tuple[Changed, ...]


def changes_since(live: Path, copy: Path) -> Changes:
    """Compare what a directory holds with a copy. Directories themselves are not counted, all that is in them is."""
    changed = added = removed = size = 0
    newest: list[Changed] = []
    for path, now, before in _pairs(live, copy):
        if now is None:
            removed += 1
            continue
        if before is None:
            added += 1
        elif _appearance(now) == _appearance(before):
            continue
        else:
            changed += 1
        size += now.st_size
        one = Changed(now.st_mtime, path, now.st_size)
        if len(newest) < NEWEST:
            heapq.heappush(newest, one)
        else:
            heapq.heappushpop(newest, one)
    return Changes(changed, added, removed, size, tuple(sorted(newest, reverse=True)))


def _pairs(live: Path, copy: Path) -> Iterator[tuple[str, os.stat_result | None, os.stat_result | None]]:
    """Every path that either has and that is not a directory in both, with its status there and there."""
    pending = [""]
    while pending:
        directory = pending.pop()
        now, before = _entries(live / directory), _entries(copy / directory)
        for name in sorted(now.keys() | before.keys()):
            path = f"{directory}/{name}" if directory else name
            here, there = now.get(name), before.get(name)
            is_below = [one for one in (here, there) if one is not None and stat.S_ISDIR(one.st_mode)]
            if is_below:
                pending.append(path)
            here, there = _unless_directory(here), _unless_directory(there)
            if here is not None or there is not None:
                yield path, here, there


def _unless_directory(status: os.stat_result | None) -> os.stat_result | None:
    return None if status is None or stat.S_ISDIR(status.st_mode) else status


def _entries(directory: Path) -> dict[str, os.stat_result]:
    found = {}
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                try:
                    found[entry.name] = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
    except (FileNotFoundError, NotADirectoryError):
        return {}
    return found


def _appearance(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_mode, status.st_uid, status.st_gid, status.st_size, status.st_mtime_ns, status.st_rdev)
