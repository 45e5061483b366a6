"""Trees of steps as directories: a snapshot mounted for a moment, where nobody else sees it; WORKDIR; times clamped.

``mounted`` gives a function that is called with the mount point, in a thread whose private mount namespace holds the
mount, so that nothing has to be unmounted whatever happens.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

from bennu.build import destinations
from bennu.build.destinations import Say, owner_named
from bennu.build.graph import MakeDirectory
from bennu.config import Settings
from bennu.host import files, process
from bennu.host.mounts import Mount, attach
from bennu.host.namespaces import in_private_mounts
from bennu.store.base import CommittedSnapshot
from bennu.store.snapshots import Snapshots

T = TypeVar("T")


class InTree(Protocol):
    """Calls a function with the root of a mounted tree and gives what it returns."""

    def __call__(self, function: Callable[[Path], T], /) -> T:
        """Run ``function`` where the tree can be seen."""
        ...


def sweep(settings: Settings) -> None:
    """Remove the mount points of builds whose process is dead."""
    place = settings.run / "trees"
    for name in os.listdir(place) if place.is_dir() else ():
        pid = name.split("-")[1]
        if not process.is_alive(int(pid)):
            files.remove_tree(place / name)


@contextmanager
def mounted(settings: Settings, mount: Mount) -> Iterator[InTree]:
    """A tree that can be looked into, or written, for the block."""
    with files.temporary_directory(settings.run / "trees", "tree") as point:

        def call(function: Callable[[Path], T]) -> T:
            def inside() -> T:
                attach(mount, point)
                return function(point)

            return in_private_mounts(inside)

        yield call


def in_trees(settings: Settings, mounts: tuple[Mount, ...], function: Callable[[tuple[Path, ...]], T]) -> T:
    """Call ``function`` with the roots of several trees, all of them seen by it and by nobody else."""
    with files.temporary_directory(settings.run / "trees", "trees") as base:
        points = tuple(base / str(number) for number in range(len(mounts)))
        for point in points:
            point.mkdir()

        def inside() -> T:
            for mount, point in zip(mounts, points, strict=True):
                attach(mount, point)
            return function(points)

        return in_private_mounts(inside)


def make_directory(
    settings: Settings,
    snapshots: Snapshots,
    step: MakeDirectory,
    parent: CommittedSnapshot | None,
    *,
    epoch: int | None,
    say: Say,
) -> CommittedSnapshot:
    """The tree with a directory made where it was missing: mode 0755, owned by the step's user. ``Invalid``."""
    active = snapshots.prepare(parent)
    try:

        def make(root: Path) -> None:
            owner = owner_named(step.user, root, say) if step.user else None
            with files.directory(root) as fd, destinations.directory(fd, step.path, owner=owner, epoch=epoch):
                pass  # it is there now

        with mounted(settings, snapshots.mounts(active)) as inside:
            inside(make)
        if epoch is not None:
            clamp_times(snapshots.directory(active), epoch)
        return snapshots.commit(active)
    except BaseException:
        snapshots.discard(active)
        raise


def clamp_times(directory: Path, epoch: int) -> None:
    """Set every time stamp below ``directory`` that is newer than ``epoch`` (Unix seconds) to it."""
    for root, directories, names in os.walk(directory, topdown=False):
        for name in (*names, *directories):
            path = os.path.join(root, name)
            if os.lstat(path).st_mtime > epoch:
                os.utime(path, (epoch, epoch), follow_symlinks=False)
    if os.stat(directory).st_mtime > epoch:
        os.utime(directory, (epoch, epoch))
