"""SOURCE_DATE_EPOCH on trees: which moment a step's tree was made for, and the same tree made for another one.

Theory. The moment is in the key of WORKDIR alone, as in BuildKit, so another one runs almost nothing again. But a
tree that was made for one moment, or for none, has other times in it, and an image of it another digest. So what is
found and was made for another moment is not used itself but *dated*: copied with the times that the step would have
given it. Those are: of what COPY, ADD and WORKDIR wrote, the moment; of what a RUN left, the moment where it would have
been newer (a tree made for an earlier moment has that one in its place). What a layer only carries along of the tree
below it (a directory on the way to a change) keeps the time that it has there. A base image's layers stay as they are.

A dated tree is no record of the cache: it goes with the images that stand on it. ``executor`` calls, ``trees`` mounts.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bennu.build.graph import Run, Step
from bennu.build.trees import in_trees
from bennu.config import Settings
from bennu.host import files
from bennu.store.base import CommittedSnapshot, SnapshotId
from bennu.store.database import Database
from bennu.store.snapshots import Snapshots

_SECOND_NS: Final = 1_000_000_000
_OF_THE_PLACE: Final = frozenset({"trusted.overlay.origin", "trusted.overlay.impure"})  # they point at inodes


class Dates:
    """The moments that trees of one root were made for."""

    def __init__(self, settings: Settings, database: Database, snapshots: Snapshots) -> None:
        self._settings = settings
        self._database = database
        self._snapshots = snapshots

    def remember(self, snapshot: CommittedSnapshot, epoch: int, source: SnapshotId | None = None) -> None:
        """A tree was made for a moment (Unix seconds); ``source`` is the tree that it is a copy of."""
        with self._database.transaction(durable=False) as rows:
            rows.execute(
                "INSERT OR REPLACE INTO dated_snapshots (snapshot, epoch, source) VALUES (?, ?, ?)",
                (snapshot.id, epoch, source),
            )

    def moment(self, snapshot: SnapshotId) -> int | None:
        """The moment that a tree was made for, or None."""
        row = self._database.one("SELECT epoch FROM dated_snapshots WHERE snapshot = ?", (snapshot,))
        return None if row is None else int(row["epoch"])

    def dated(self, tree: CommittedSnapshot, steps: Sequence[Step], epoch: int) -> CommittedSnapshot:
        """The tree for a moment: itself where all of it was made for that one. ``steps`` left its upper layers, the
        last one first.
        """
        layers = [tree.chain[index:] for index in range(len(steps))]
        moments = [self.moment(layer[0]) for layer in layers]
        if all(moment == epoch for moment in moments):
            return tree
        base = tree.chain[len(steps) :]
        below = CommittedSnapshot(base[0], base[1:]) if base else None
        for layer, step, moment in reversed(list(zip(layers, steps, moments, strict=True))):
            source = CommittedSnapshot(layer[0], layer[1:])
            is_it = moment == epoch and source.parents == (below.chain if below else ())
            below = source if is_it else self._copy(source, step, moment, epoch, below)
        assert below is not None
        return below

    def _copy(
        self, source: CommittedSnapshot, step: Step, moment: int | None, epoch: int, below: CommittedSnapshot | None
    ) -> CommittedSnapshot:
        known = self._known(source, epoch, below)
        if known is not None:
            return known
        active = self._snapshots.prepare(below)
        try:
            parents = source.parents
            old = CommittedSnapshot(parents[0], parents[1:]) if parents else None
            layer, target = self._snapshots.directory(source), self._snapshots.directory(active)
            limit = None
            if isinstance(step, Run):
                limit = epoch * _SECOND_NS + 1 if moment is None else moment * _SECOND_NS

            def write(roots: tuple[Path, ...]) -> None:
                _Copy(layer, target, epoch * _SECOND_NS, limit, roots).run()

            if old is None or below is None:
                write(())
            else:
                in_trees(self._settings, (self._snapshots.mounts(old), self._snapshots.mounts(below)), write)
            made = self._snapshots.commit(active)
        except BaseException:
            self._snapshots.discard(active)
            raise
        self.remember(made, epoch, source.id)
        return made

    def _known(
        self, source: CommittedSnapshot, epoch: int, below: CommittedSnapshot | None
    ) -> CommittedSnapshot | None:
        query = "SELECT snapshot FROM dated_snapshots WHERE source = ? AND epoch = ?"
        for row in self._database.query(query, (source.id, epoch)):
            with self._database.transaction(durable=False) as rows:  # what is used while a build is under way stays
                rows.execute("UPDATE snapshots SET used = ? WHERE id = ?", (time.time(), row["snapshot"]))
            found = self._snapshots.stat(row["snapshot"])
            if found is not None and found.parents == (below.chain if below else ()):
                return found
        return None


class _Copy:
    """One layer's directory copied in overlayfs's own form, with other times.

    ``limit`` (nanoseconds) is what becomes ``moment`` from there on, None everything. ``roots`` are the trees below the
    layer and below its copy.
    """

    def __init__(self, source: Path, target: Path, moment: int, limit: int | None, roots: tuple[Path, ...]) -> None:
        self._source = source
        self._target = target
        self._moment = moment
        self._limit = limit
        self._roots = roots
        self._linked: dict[tuple[int, int], str] = {}

    def run(self) -> None:
        """Copy everything."""
        self._directory("")
        self._dress(self._source, self._target, "", os.lstat(self._source))

    def _directory(self, relative: str) -> None:
        with os.scandir(self._source / relative) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
        for entry in entries:
            path = f"{relative}/{entry.name}" if relative else entry.name
            source, target = self._source / path, self._target / path
            status = entry.stat(follow_symlinks=False)
            if entry.is_dir(follow_symlinks=False):
                os.mkdir(target, 0o700)
                self._directory(path)
            elif not self._file(source, target, status):
                continue
            self._dress(source, target, path, status)

    def _file(self, source: Path, target: Path, status: os.stat_result) -> bool:
        """Make what is no directory; False where it is another name of a file that is there."""
        if status.st_nlink > 1:
            inode = (status.st_dev, status.st_ino)
            first = self._linked.setdefault(inode, str(target))
            if first != str(target):
                os.link(first, target, follow_symlinks=False)
                return False
        if stat.S_ISREG(status.st_mode):
            with open(source, "rb") as read, open(target, "xb") as write:
                if status.st_size:
                    files.copy_range(read.fileno(), write.fileno(), status.st_size)
        elif stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(source), target)
        else:
            os.mknod(target, status.st_mode, status.st_rdev)
        return True

    def _dress(self, source: Path, target: Path, relative: str, status: os.stat_result) -> None:
        os.chown(target, status.st_uid, status.st_gid, follow_symlinks=False)
        if not stat.S_ISLNK(status.st_mode):
            os.chmod(target, stat.S_IMODE(status.st_mode))
        for name in os.listxattr(source, follow_symlinks=False):
            if name in _OF_THE_PLACE:
                continue
            os.setxattr(target, name, os.getxattr(source, name, follow_symlinks=False), follow_symlinks=False)
        when = self._time(relative, status)
        os.utime(target, ns=(when, when), follow_symlinks=False)

    def _time(self, relative: str, status: os.stat_result) -> int:
        carried = self._carried(relative, status)
        if carried is not None:
            return carried
        when = status.st_mtime_ns
        return self._moment if self._limit is None or when >= self._limit else when

    def _carried(self, relative: str, status: os.stat_result) -> int | None:
        """The time in the tree below, of what has the same time as in the tree that was below."""
        if not self._roots:
            return None
        old, new = self._roots
        try:
            if os.lstat(old / relative).st_mtime_ns != status.st_mtime_ns:
                return None
            return os.lstat(new / relative).st_mtime_ns
        except (FileNotFoundError, NotADirectoryError):
            return None
