"""``bennu build --verify``: every step of a build is run again, and what it leaves compared with what the cache has.

Theory. A step is run on the very trees that the cached one stands on, not on those of other steps that were run again.
So each step is judged by itself, and where all leave the same, a build from clean would: by induction from the base
image up. Nothing that is made here is recorded, and all of it is removed. A RUN that leaves something else is run once
more: where the two differ, it is the command that is not reproducible (no fault of the cache);
where they agree, what is cached is not what the step leaves today. For COPY, ADD and WORKDIR that is a wrong hit.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final

from bennu.build.differences import differences
from bennu.build.graph import Base, Fetch, GitTree, Graph, Local, Run, Vertex, parent_of, reads_of
from bennu.build.progress import Broken, Finished, Listener, Started
from bennu.build.solver import Executor
from bennu.build.verdicts import Verified
from bennu.config import Settings
from bennu.errors import Conflict
from bennu.store.base import CommittedSnapshot
from bennu.store.snapshots import Snapshots

AGAIN: Final = " (again, to verify)"


class Verifier:
    """Runs the steps of one graph again. ``tree`` gives the tree of a vertex as the build has it."""

    def __init__(
        self,
        settings: Settings,
        snapshots: Snapshots,
        graph: Graph,
        executor: Executor,
        tree: Callable[[int], CommittedSnapshot],
        *,
        epoch: int | None,
        listener: Listener,
        cancel: threading.Event | None = None,
    ) -> None:
        self._settings = settings
        self._snapshots = snapshots
        self._graph = graph
        self._executor = executor
        self._tree = tree
        self._times = epoch is not None
        self._listener = listener
        self._cancel = cancel or threading.Event()
        self._trees: dict[int, CommittedSnapshot] = {}

    def verify(self, results: Mapping[int, CommittedSnapshot]) -> tuple[Verified, ...]:
        """Every step that the results need, in the order of the graph. Raises what a step raises."""
        todo = list(results.items())
        while todo:
            todo += self._place(*todo.pop())
        return tuple(self._step(index) for index in sorted(self._trees))

    def _place(self, index: int, tree: CommittedSnapshot) -> Iterator[tuple[int, CommittedSnapshot]]:
        """Find the layers of a vertex and of those below it; gives the vertices that they read."""
        at: int | None = index
        for depth in range(len(tree.chain)):
            if at is None or at in self._trees:
                return
            step = self._graph.vertices[at].step
            if isinstance(step, Base | Fetch | GitTree):  # what is elsewhere was looked at just now
                return
            self._trees[at] = CommittedSnapshot(tree.chain[depth], tree.chain[depth + 1 :])
            for read in reads_of(step):
                if not isinstance(self._graph.vertices[read].step, Local) and read not in self._trees:
                    yield read, self._tree(read)
            at = parent_of(step)

    def _step(self, index: int) -> Verified:
        vertex = self._graph.vertices[index]
        line = 0 if vertex.span is None else vertex.span.line
        cached = self._trees[index]
        with self._again(index, vertex) as made:
            found = differences(self._settings, self._snapshots, cached, made, times=self._times)
            if not found:
                return Verified(vertex.label, line, "same")
            if not isinstance(vertex.step, Run):
                return Verified(vertex.label, line, "wrong", tuple(found))
            with self._again(index, vertex) as twice:
                is_stable = not differences(self._settings, self._snapshots, made, twice, times=self._times)
            return Verified(vertex.label, line, "stale" if is_stable else "unreproducible", tuple(found))

    @contextmanager
    def _again(self, index: int, vertex: Vertex) -> Iterator[CommittedSnapshot]:
        """A new tree of a step on the cached trees, for the block."""
        number, label = index + 1, f"{vertex.label}{AGAIN}"
        started = time.monotonic()
        self._listener(Started(number, label))
        try:
            made = self._executor.run(vertex, self._inputs(index, vertex), lambda _stream, _data: None, self._cancel)
        except BaseException as error:
            seconds = time.monotonic() - started
            is_cancelled = self._cancel.is_set()
            self._listener(Broken(number, label, seconds=seconds, reason=str(error), cancelled=is_cancelled))
            raise
        self._listener(Finished(number, label, seconds=time.monotonic() - started))
        try:
            yield made
        finally:
            with suppress(Conflict):
                self._snapshots.remove(made)

    def _inputs(self, index: int, vertex: Vertex) -> dict[int, CommittedSnapshot]:
        cached = self._trees[index]
        found: dict[int, CommittedSnapshot] = {}
        parent = parent_of(vertex.step)
        if parent is not None:
            found[parent] = CommittedSnapshot(cached.parents[0], cached.parents[1:])
        for read in reads_of(vertex.step):
            if not isinstance(self._graph.vertices[read].step, Local) and read != parent:
                found[read] = self._trees.get(read) or self._tree(read)
        return found
