"""Snapshots to layers and back, over overlay's upper directories: ``tree`` walks out, ``tree_writer`` writes in.

Both look at the merged tree of the parents now and then (what an opaque directory hides, what a missing parent is
like). They see it through a mount that is attached nowhere: the kernel merges, nobody else can enter it, and it is gone
with its descriptor. What is remembered about layers stands in ``layers``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from bennu.host.files import directory
from bennu.host.mounts import opened
from bennu.store.base import ActiveSnapshot, CommittedSnapshot, LayerInfo, SnapshotId, Snapshotter
from bennu.store.tar_output import TarOutput
from bennu.store.tar_reader import TarReader
from bennu.store.tree import pack
from bennu.store.tree_writer import TreeWriter


class OverlayDiffer:
    """The ``Differ`` over snapshots whose own directories are overlay's upper directories."""

    def __init__(self, snapshots: Snapshotter) -> None:
        self._snapshots = snapshots

    def diff(self, snapshot: CommittedSnapshot, sink: IO[bytes] | None = None) -> LayerInfo:
        """The layer that a snapshot is over its parent, written to ``sink`` if there is one."""
        with (
            directory(self._snapshots.directory(snapshot)) as root,
            self._merged(snapshot.parents) as lower,
            TarOutput(sink) as output,
        ):
            pack(root, lower, output)
            return output.end()

    def apply(self, stream: IO[bytes], active: ActiveSnapshot, *, algorithm: str = "sha256") -> LayerInfo:
        """Unpack an uncompressed layer into an active snapshot's own directory; ``Corrupt`` for a malformed archive.

        ``algorithm`` is that of the diff_id to be returned.
        """
        with (
            directory(self._snapshots.directory(active)) as root,
            self._merged(active.parents) as lower,
            TarReader(stream, algorithm) as reader,
        ):
            with TreeWriter(root, lower) as writer:
                for member in reader:
                    writer.write(member, reader)
            return reader.end()

    @contextmanager
    def _merged(self, parents: tuple[SnapshotId, ...]) -> Iterator[int | None]:
        """The tree of the parents as a directory's descriptor; None where there are none."""
        if not parents:
            yield None
            return
        with opened(self._snapshots.mounts(CommittedSnapshot(parents[0], parents[1:]))) as fd:
            yield fd
