"""The real executor of steps: snapshots mounted for a moment, files copied, processes run. See ``solver.Executor``.

Errors of a step are told at its place in the Dockerfile. The selection of a COPY from the context is walked once: its
content key and the copy use the same one.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bennu.build.contents import FileDigests, content_digest
from bennu.build.copying import copy
from bennu.build.graph import Base, Copy, Graph, MakeDirectory, Run, Vertex
from bennu.build.running import Runner
from bennu.build.solver import Emit
from bennu.build.source import Selection, SourceTree
from bennu.build.trees import clamp_times, in_trees, make_directory
from bennu.config import Settings
from bennu.digest import Digest
from bennu.dockerfile.source import Span
from bennu.errors import BennuError, Conflict, Corrupt, Invalid, NotFound, Unsupported
from bennu.store.base import CommittedSnapshot
from bennu.store.database import Database
from bennu.store.images import Images
from bennu.store.snapshots import Snapshots


class StepExecutor:
    """Runs the steps of one build. ``walked`` counts the entries of the context that were looked at, for tests."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        images: Images,
        snapshots: Snapshots,
        runner: Runner,
        *,
        graph: Graph,
        context: SourceTree,
        epoch: int | None,
    ) -> None:
        self._settings = settings
        self._images = images
        self._snapshots = snapshots
        self._runner = runner
        self._context = context
        self._epoch = epoch
        self._spans = {vertex.step: vertex.span for vertex in graph.vertices}
        self._digests = FileDigests(database, str(context.root))
        self._selections: dict[Copy, Selection] = {}

    @property
    def walked(self) -> int:
        """Entries of the context that were looked at."""
        return sum(selection.walked for selection in self._selections.values())

    @property
    def hashed(self) -> int:
        """Files of the context that were read to be hashed."""
        return self._digests.hashed

    def base(self, step: Base) -> CommittedSnapshot:
        """The tree of an image of the store."""
        image = self._images.get(step.manifest)
        tree = self._images.snapshot(image)
        if tree is None:
            raise Corrupt(f"image {image.shown} has lost its layers", "load or build it again")
        return tree

    def content(self, step: Copy, source: CommittedSnapshot | None) -> Digest:
        """The content that a COPY takes."""
        with _placed(self._spans.get(step)):
            if source is None:
                selection = self._context.select(step)
                self._selections[step] = selection
                return content_digest(selection, self._digests)

            def keyed(roots: tuple[Path, ...]) -> Digest:
                tree = SourceTree(roots[0], what="the stage that it copies from", keeps_owners=True)
                return content_digest(tree.select(step), FileDigests(None, ""))

            return in_trees(self._settings, (self._snapshots.mounts(source),), keyed)

    def run(
        self, vertex: Vertex, trees: tuple[CommittedSnapshot | None, ...], emit: Emit, cancel: threading.Event
    ) -> CommittedSnapshot:
        """Run one step."""
        step = vertex.step
        with _placed(vertex.span):
            match step:
                case Run():
                    return self._runner.run(vertex, step, trees[0], output=emit, cancel=cancel, epoch=self._epoch)
                case MakeDirectory():
                    return make_directory(self._settings, self._snapshots, step, trees[0], self._epoch)
                case Copy():
                    return self._copy(step, trees[0], trees[1])
                case Base():
                    return self.base(step)

    def _copy(
        self, step: Copy, parent: CommittedSnapshot | None, source: CommittedSnapshot | None
    ) -> CommittedSnapshot:
        active = self._snapshots.prepare(parent)
        try:
            target = self._snapshots.mounts(active)
            if source is None:
                selection = self._selections.get(step)
                in_trees(self._settings, (target,), lambda roots: copy(selection, step, roots[0], self._epoch))
            else:
                mounts = (target, self._snapshots.mounts(source))
                in_trees(self._settings, mounts, lambda roots: self._copy_between(step, roots))
            if self._epoch is not None:
                clamp_times(self._snapshots.directory(active), self._epoch)
            return self._snapshots.commit(active)
        except BaseException:
            self._snapshots.discard(active)
            raise

    def _copy_between(self, step: Copy, roots: tuple[Path, ...]) -> None:
        tree = SourceTree(roots[1], what="the stage that it copies from", keeps_owners=True)
        copy(tree.select(step), step, roots[0], self._epoch)


@contextmanager
def _placed(span: Span | None) -> Iterator[None]:
    """Errors without a place get that of the instruction."""
    try:
        yield
    except (NotFound, Invalid, Conflict) as error:
        if span is None or (isinstance(error, Invalid) and error.line is not None):
            raise
        placed = span.unsupported if isinstance(error, Unsupported) else span.invalid
        raise placed(error.message, error.hint) from error
    except OSError as error:
        if span is None:
            raise
        reason = f"{error.strerror}: {error.filename!r}" if error.filename else str(error.strerror)
        raise BennuError(f"{span.file}:{span.line}: {reason}") from error
