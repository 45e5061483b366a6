"""Excerpts: what a RUN mounts of a directory of whoever builds, copied into a tree of its own and known by its content.

A mount straight from a checkout would show what ``.dockerignore`` leaves out, belong to somebody, and change under the
step. BuildKit sends what is needed to its daemon and mounts that; this is the same, within one host. ``graph.Excerpt``
is the step, ``copying`` writes it.
"""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path
from typing import Final

from bennu.build import graph
from bennu.build.copying import copy
from bennu.build.destinations import Say
from bennu.build.earlier import Earlier
from bennu.build.entries import Status
from bennu.build.source import Selection
from bennu.build.trees import clamp_times
from bennu.config import Settings
from bennu.store.base import CommittedSnapshot
from bennu.store.snapshots import Snapshots

ROOT_MODE: Final = 0o755


def make_excerpt(
    settings: Settings, snapshots: Snapshots, selection: Selection, *, is_root: bool, epoch: int | None, say: Say
) -> CommittedSnapshot:
    """The tree that holds a selection of one file or directory as ``graph.CONTENT``.

    ``is_root``: it is a whole context, whose directory looks as every root of a tree does.
    """
    (item,) = selection.items
    place = graph.CONTENT + "/" * item.is_directory
    step = graph.Copy(parent=None, sources=(), destination=place)
    earlier = None
    if item.is_directory and not selection.keeps_owners:  # others are unpacked anew each time
        earlier = Earlier(settings.file_digests, item.entries.first.path, str(epoch))
        earlier.open(snapshots, graph.CONTENT)
    active = snapshots.prepare(None)
    root = snapshots.directory(active)  # past every mount: links are made within one
    started = time.time_ns()
    try:
        copy([selection], step, root, epoch, say, earlier=earlier)
        if item.is_directory and not is_root:
            _dress(root / graph.CONTENT.lstrip("/"), item.entries.first.status, selection, epoch)
        if epoch is not None:
            clamp_times(root, epoch)
        made = snapshots.commit(active)
    except BaseException:
        snapshots.discard(active)
        raise
    if earlier is not None:
        earlier.note(made, item.entries, started)
    return made


def _dress(directory: Path, status: Status, selection: Selection, epoch: int | None) -> None:
    """A directory's own appearance, which a copy of its contents does not bring along."""
    owner = (status.st_uid, status.st_gid) if selection.keeps_owners else (0, 0)
    os.chown(directory, *owner)
    os.chmod(directory, stat.S_IMODE(status.st_mode))
    when = status.st_mtime_ns // 1_000_000_000 if epoch is None else epoch
    os.utime(directory, (when, when))
