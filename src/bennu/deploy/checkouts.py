"""Checkouts: one directory for each commit that was deployed, written once and never changed.

A directory has its name when it is whole. It stays as long as a release that runs or can come back was made from it:
bind mounts, hooks and rebuilds look there. What nothing needs goes with the next deploy of a commit.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from bennu.config import Settings
from bennu.deploy.history import History
from bennu.digest import sha256_hex
from bennu.host import files

_COMMIT_LENGTHS: Final = (40, 64)


def place(settings: Settings, repository: str, commit: str, name: str) -> Path:
    """Where a commit of a repository is, or will be. The last part gives a project without a name its own."""
    return settings.sources / sha256_hex(repository.encode())[:12] / commit / name


def ensure(where: Path, fill: Callable[[Path], None], scratch: Path) -> None:
    """Make the directory whole by ``fill``, which gets an empty one, unless it is there."""
    if where.is_dir():
        return
    where.parent.mkdir(parents=True, exist_ok=True)
    with files.temporary_directory(scratch, "checkout") as work:
        tree = work / "tree"
        tree.mkdir(mode=0o755)
        fill(tree)
        with suppress(FileExistsError):
            os.rename(tree, where)
    files.sync_directory(where.parent)


def sweep(settings: Settings, history: History, *, besides: Iterable[Path] = ()) -> tuple[Path, ...]:
    """Remove the checkouts that no release needs which runs or can come back; which they were."""
    needed = {*map(Path, _needed(history)), *besides}
    gone: list[Path] = []
    for repository in _listed(settings.sources):
        for commit in _listed(repository):
            if len(commit.name) in _COMMIT_LENGTHS and not any(each.is_relative_to(commit) for each in needed):
                files.remove_tree(commit)
                gone.append(commit)
        with suppress(OSError):  # not empty
            repository.rmdir()
    return tuple(gone)


def _needed(history: History) -> Iterator[str]:
    for project in history.projects():
        policy, active = history.policy(project), history.active(project)
        if policy is not None:
            yield policy.directory
            if policy.origin is not None:
                yield policy.origin.directory
        kept = history.kept_sets(project, history.release(active.release).keep) if active else frozenset()
        for revision in history.revisions(project):
            origin = revision.origin_of_release
            is_needed = revision.state in {"active", "rolling"} or not kept.isdisjoint(revision.sets.values())
            if origin is not None and is_needed:
                yield origin.directory


def _listed(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
