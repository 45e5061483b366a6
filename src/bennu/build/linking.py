"""COPY --link: a layer that was made once, put onto another tree without copying anything.

What a COPY leaves depends on the tree below in few ways: where the destination's links lead, what is in the way, and
what the directories on the way are like, since the layer carries them along. Where two trees agree in these, the layer
is the same on both, so its files are linked into a snapshot on the other one. Where they do not, the COPY
runs. The result is that of a COPY in any case. ``solver`` asks; ``keys.link_key`` says which layer may serve.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from bennu.build import destinations
from bennu.build.graph import Copy
from bennu.build.trees import in_trees
from bennu.config import Settings
from bennu.host import files
from bennu.store.base import CommittedSnapshot
from bennu.store.snapshots import Snapshots
from bennu.store.tree import OPAQUE_XATTR, is_portable


def linked(
    settings: Settings, snapshots: Snapshots, step: Copy, layer: CommittedSnapshot, parent: CommittedSnapshot
) -> CommittedSnapshot | None:
    """The upper layer of ``layer``, which ``step`` made, on ``parent``; None where the two trees differ too much."""
    if not layer.parents:
        return None
    below = CommittedSnapshot(layer.parents[0], layer.parents[1:])
    own = snapshots.directory(layer)

    def compare(roots: tuple[Path, ...]) -> bool:
        return _is_reached_alike(step.destination, roots) and _agree(own, roots)

    if below != parent and not in_trees(settings, (snapshots.mounts(below), snapshots.mounts(parent)), compare):
        return None
    active = snapshots.prepare(parent)
    try:
        _link_below(os.fspath(own), os.fspath(snapshots.directory(active)))
        return snapshots.commit(active)
    except BaseException:
        snapshots.discard(active)
        raise


def _is_reached_alike(destination: str, roots: tuple[Path, ...]) -> bool:
    """Whether a destination is the same place in each tree, and in each a directory or in none."""
    places = set()
    for root in roots:
        with files.directory(root) as fd:
            try:
                place = destinations.resolved(fd, destination)
            except OSError:
                return False
            places.add((place, destinations.is_directory(fd, place)))
    return len(places) == 1


def _agree(layer: Path, roots: tuple[Path, ...]) -> bool:
    """Whether what a layer has to do with is alike in both trees."""
    todo = [""]
    while todo:
        place = todo.pop()
        with os.scandir(f"{layer}/{place}") as entries:
            for entry in entries:
                path = f"{place}/{entry.name}" if place else entry.name
                one, other = (_status(f"{root}/{path}") for root in roots)
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    if one is None and other is None:
                        continue  # so there is nothing below either
                    if one is None or other is None or not _are_alike(one, other, [f"{root}/{path}" for root in roots]):
                        return False
                    todo.append(path)
                elif stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
                    return False  # a removal: of what only that tree had
                elif _in_the_way(one) != _in_the_way(other):
                    return False
    return True


def _status(path: str) -> os.stat_result | None:
    with suppress(FileNotFoundError):
        return os.lstat(path)
    return None


def _are_alike(one: os.stat_result, other: os.stat_result, paths: list[str]) -> bool:
    if not stat.S_ISDIR(one.st_mode) or not stat.S_ISDIR(other.st_mode):
        return False
    if (one.st_mode, one.st_uid, one.st_gid) != (other.st_mode, other.st_uid, other.st_gid):
        return False
    return _attributes(paths[0]) == _attributes(paths[1])


def _attributes(path: str) -> dict[str, bytes]:
    names = [name for name in os.listxattr(path, follow_symlinks=False) if is_portable(os.fsencode(name))]
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in names}


def _in_the_way(status: os.stat_result | None) -> int:
    """What a COPY does not replace without a look: a directory, a link."""
    kind = 0 if status is None else stat.S_IFMT(status.st_mode)
    return kind if kind in {stat.S_IFDIR, stat.S_IFLNK} else 0


_KEPT: Final = (os.fsdecode(OPAQUE_XATTR),)


def _link_below(source: str, target: str) -> None:
    """Make what is in a directory in another one: directories anew, all else as links. Their times come last."""
    with os.scandir(source) as entries:
        for entry in entries:
            goal = f"{target}/{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                os.mkdir(goal, 0o700)
                _link_below(entry.path, goal)
                _dress(entry.path, goal)
            else:
                os.link(entry.path, goal, follow_symlinks=False)
    status = os.stat(source)
    os.utime(target, ns=(status.st_mtime_ns, status.st_mtime_ns))


def _dress(source: str, target: str) -> None:
    status = os.stat(source)
    os.chown(target, status.st_uid, status.st_gid)
    os.chmod(target, stat.S_IMODE(status.st_mode))
    for name in os.listxattr(source):
        if is_portable(os.fsencode(name)) or name in _KEPT:
            os.setxattr(target, name, os.getxattr(source, name))
    os.utime(target, ns=(status.st_mtime_ns, status.st_mtime_ns))
