"""The solver: from a graph to the tree of its result, running only what no record answers.

Demand comes from the result. A vertex first looks for a record under its definition key, which needs no tree of any
input; only where that misses are its inputs demanded, independent ones at once, each vertex once. What runs holds a
lock on its key, so that two builds on one store do a step once. The first failure cancels the rest. ``keys`` holds
the theory of keys.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Final, Protocol

import msgspec

from bennu.build import keys
from bennu.build.cache import Found, StepCache
from bennu.build.graph import Base, Copy, Excerpt, Fetch, GitTree, Graph, Local, Step, Vertex, parent_of, reads_of
from bennu.build.keys import Key, Read
from bennu.build.progress import Broken, Cached, Event, Finished, Listener, Output, Started, Waiting
from bennu.config import Settings
from bennu.digest import Digest, digest_of, encoded
from bennu.errors import BennuError, Conflict, Failed
from bennu.host import locks
from bennu.host.terminal import deferred
from bennu.store.base import CommittedSnapshot

LOCK_BUCKET_DIGITS: Final = 3
LOCK_SECONDS: Final = 0.5  # a wait for another build's step looks this often whether it is still wanted
FRAMES_A_STEP: Final = 10
WAKE_SECONDS: Final = 0.2
CANCELLED: Final = 137
Emit = Callable[[str, bytes], None]


class Result(msgspec.Struct, frozen=True):
    """What a vertex came to: the identity that its dependants have in their keys, and the record of its tree."""

    identity: Digest
    found: Found | None = None
    tree: CommittedSnapshot | None = None


class Known(msgspec.Struct, frozen=True):
    """What a step was found or run by: its number in this build, its keys, and the identity of its result."""

    number: int
    keys: tuple[Key, ...]
    identity: Digest


class Executor(Protocol):
    """Runs steps. ``builder`` has the real one; tests have one in memory."""

    def base(self, step: Base) -> CommittedSnapshot:
        """The tree of an image."""
        ...

    def content(self, step: Step, vertex: int, tree: CommittedSnapshot | None) -> Digest:
        """The content that a step takes from a vertex; ``tree`` is None for a directory of whoever builds."""
        ...

    def resolve(self, vertex: Vertex, cancel: threading.Event) -> Key:
        """The key of what a URL or a Git repository is now."""
        ...

    def run(
        self, vertex: Vertex, trees: Mapping[int, CommittedSnapshot], emit: Emit, cancel: threading.Event
    ) -> CommittedSnapshot:
        """Run a step on the trees that it stands on and reads, by vertex."""
        ...

    def linked(self, step: Copy, layer: CommittedSnapshot, parent: CommittedSnapshot) -> CommittedSnapshot | None:
        """The upper layer of a tree, which a COPY of the same content made, on another tree; None where what the COPY
        would leave there is not the same.
        """
        ...

    def dated(self, tree: CommittedSnapshot, steps: Sequence[Step], epoch: int) -> CommittedSnapshot:
        """A tree that was found as it would have been made for SOURCE_DATE_EPOCH (Unix seconds). ``steps`` left its
        upper layers, the last one first.
        """
        ...


class Solver:
    """One solution of one graph."""

    def __init__(
        self,
        graph: Graph,
        executor: Executor,
        cache: StepCache,
        settings: Settings,
        listener: Listener,
        *,
        use_cache: bool = True,
        fresh: Collection[int] = (),
        nonce: bytes = b"",
        epoch: int | None = None,
        name: str = "a build",
        cancel: threading.Event | None = None,
        after_step: Callable[[int, CommittedSnapshot], None] | None = None,
    ) -> None:
        """``fresh`` are vertices that must not take an earlier result, besides all of them without ``use_cache``.

        Only those of the same ``nonce`` count there, which solutions of one command share. ``name`` is for whoever
        waits for a step of this one. ``cancel`` ends it from outside. ``after_step`` is called when a step
        has run and is recorded, with its vertex and its tree.
        """
        self._graph = graph
        self._executor = executor
        self._cache = cache
        self._settings = settings
        self._listener = listener
        self._fresh = fresh if use_cache else range(len(graph.vertices))
        self._epoch = epoch
        self._after_step = after_step
        self._name = f"pid {os.getpid()} ({name})"
        self._cancel = cancel or threading.Event()
        self._tasks = {index: _Task() for index in range(len(graph.vertices))}
        self._numbers: dict[int, int] = {}
        self._told: set[int] = set()
        self._nonce = nonce or os.urandom(16)
        self._failure: BaseException | None = None
        self._lock = threading.Lock()
        self._begun: list[threading.Thread] | None = None
        self.used: set[Digest] = set()
        self.ran = 0

    def solve(self, result: int) -> CommittedSnapshot:
        """The tree of a vertex. Raises what the first failing step raised; Ctrl-C ends every step first."""
        return self.solve_all((result,))[result]

    def solve_all(self, results: Collection[int]) -> dict[int, CommittedSnapshot]:
        """The trees of several vertices, made at once where they are independent. As ``solve``."""
        steps = sorted(frozenset[int]().union(*(self._graph.steps(result) for result in results)))
        self._numbers = {index: number for number, index in enumerate(steps, 1)}
        # a step's inputs are demanded from within its own turn, so a chain of steps is a chain of calls
        sys.setrecursionlimit(max(sys.getrecursionlimit(), FRAMES_A_STEP * len(self._tasks) + 1000))
        answer: dict[int, CommittedSnapshot] = {}
        done = threading.Event()  # Thread.join, once interrupted, takes a thread that runs for one that has ended

        def work() -> None:
            answer.update(self._attempt(results))
            done.set()

        threading.Thread(target=work, name="bennu-solver", daemon=True).start()
        with deferred(self._cancel.set):
            while not done.wait(WAKE_SECONDS):
                pass
        if self._failure is not None:
            raise self._failure
        self._cache.touch(self.used)
        return answer

    def tree(self, index: int) -> CommittedSnapshot:
        """The tree of another vertex that the solution needed, once it is there."""
        return self._tree(index)

    def known(self) -> dict[int, Known]:
        """The steps that were looked at, by vertex."""
        return {
            index: Known(number, tuple(task.keys), task.result.identity)
            for index, number in self._numbers.items()
            if (task := self._tasks[index]).result is not None
        }

    def _attempt(self, results: Collection[int]) -> dict[int, CommittedSnapshot]:
        try:
            return self._trees(list(results))
        except BaseException as error:  # noqa: BLE001 - raised again by ``solve``, in the caller's thread
            self._fail(error)
            return {}
        finally:
            for thread in self._begun or ():
                thread.join()

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            if self._failure is None:
                self._failure = error
        self._cancel.set()

    # demand

    def _identity(self, index: int | None) -> Digest:
        return keys.SCRATCH if index is None else self._looked_up(index).identity

    def _tree(self, index: int) -> CommittedSnapshot:
        """The tree of a vertex, found or made."""
        task = self._tasks[index]
        with task.lock:
            if task.result is not None and task.result.tree is not None:
                return task.result.tree
            vertex = self._graph.vertices[index]
            if isinstance(vertex.step, Base):
                self._look_up(index, task)
                tree = self._executor.base(vertex.step)
                self._tell_cached(index)
                task.result = Result(keys.base_identity(vertex.step), None, tree)
                return tree
            known = self._look_up(index, task)
            found = self._kept(index, known.found)
            if found is not None:
                self._tell_cached(index)
                task.result = Result(known.identity, known.found, found)
                return found
            task.result = self._make(index, vertex, task.keys, known.identity)
            assert task.result.tree is not None
            return task.result.tree

    def _looked_up(self, index: int) -> Result:
        task = self._tasks[index]
        with task.lock:
            return self._look_up(index, task)

    def _look_up(self, index: int, task: _Task) -> Result:
        """What is known of a vertex without running it; under the task's lock."""
        if task.result is not None:
            return task.result
        vertex = self._graph.vertices[index]
        step = vertex.step
        if isinstance(step, Base):
            task.result = Result(keys.base_identity(step))
            return task.result
        if isinstance(step, Fetch | GitTree):
            task.keys = [self._executor.resolve(vertex, self._cancel)]
            task.identity = task.keys[0].digest  # it was looked at just now, with or without a cache
            found = self._find(index, task.keys[0])
            task.result = Result(task.identity, found)
            return task.result
        parent = self._identity(parent_of(step))
        task.reads = reads = {vertex: self._read(step, vertex) for vertex in reads_of(step)}
        task.keys = [keys.step_key(step, parent, reads, epoch=self._epoch)]
        task.identity = self._new_identity(index, task.keys[0])
        found = self._find(index, task.keys[0])
        if found is None and not all(read.by_content for read in reads.values()):
            found = self._found_by_content(index, parent, reads, task)
        task.result = Result(found.identity if found else task.identity, found)
        return task.result

    def _new_identity(self, index: int, key: Key) -> Digest:
        """The identity of a result that nobody has yet: the key itself.

        Where the cache is not to be used it is one of this command's own: what stood upon an earlier result of the same
        key stands no more.
        """
        return digest_of(key.digest.encode() + self._nonce) if index in self._fresh else key.digest

    def _read(self, step: Step, vertex: int) -> Read:
        if isinstance(self._graph.vertices[vertex].step, Local):
            return Read(self._executor.content(step, vertex, None), by_content=True)
        # an excerpt is known by its content alone, so nothing has to look at it again
        by_content = isinstance(self._graph.vertices[vertex].step, Excerpt)
        return Read(self._identity(vertex), by_content=by_content)

    def _found_by_content(self, index: int, parent: Digest, reads: Mapping[int, Read], task: _Task) -> Found | None:
        step = self._graph.vertices[index].step
        self._begin_sources()
        if not self._is_recorded(parent_of(step)):
            self._inputs(step)  # nothing can stand on a parent that never ran: all are needed, so at once
        taken = {
            vertex: read
            if read.by_content
            else Read(self._executor.content(step, vertex, self._tree(vertex)), by_content=True)
            for vertex, read in reads.items()
        }
        task.reads = taken
        task.keys.append(keys.step_key(step, parent, taken, epoch=self._epoch))
        found = self._find(index, task.keys[1])
        if found is not None:
            label = "found by content"
            self._cache.record([task.keys[0]], found.identity, found.snapshot, label)
        return found

    def _begin_sources(self) -> None:
        """At the first miss: begin every stage that files are taken from and that no record answers.

        Each of them is needed, since the key of whatever takes from it has its identity or its content; demand alone
        would come to them one after the other.
        """
        with self._lock:
            if self._begun is not None:
                return
            self._begun = []
        steps = [self._graph.vertices[index].step for index in self._numbers]
        for index in sorted({vertex for step in steps for vertex in reads_of(step)}):
            if not isinstance(self._graph.vertices[index].step, Base | Excerpt | Local):
                thread = threading.Thread(target=self._begin, args=(index,), name="bennu-solver")
                self._begun.append(thread)
                thread.start()

    def _begin(self, index: int) -> None:
        try:
            if self._looked_up(index).found is None:
                self._tree(index)
        except BaseException as error:  # noqa: BLE001 - raised again by ``solve``
            self._fail(error)

    def _is_recorded(self, index: int | None) -> bool:
        if index is None or isinstance(self._graph.vertices[index].step, Base):
            return True
        return self._looked_up(index).found is not None

    def _find(self, index: int, key: Key) -> Found | None:
        found = self._cache.find(key.digest)
        if found is None or (index in self._fresh and found.identity != self._tasks[index].identity):
            return None
        self.used.add(key.digest)
        return found

    def _kept(self, index: int, found: Found | None) -> CommittedSnapshot | None:
        """The tree of a record, if it is still there; from now on it stays."""
        if found is None:
            return None
        self._cache.keep(found)
        tree = self._cache.tree(found)
        if tree is None or self._epoch is None or isinstance(self._graph.vertices[index].step, Fetch | GitTree):
            return tree
        return self._executor.dated(tree, self._way(index), self._epoch)

    def _way(self, index: int) -> list[Step]:
        """A step and those below it, down to an image or nothing: each left one layer."""
        steps: list[Step] = []
        at: int | None = index
        while at is not None and not isinstance(self._graph.vertices[at].step, Base):
            steps.append(self._graph.vertices[at].step)
            at = parent_of(steps[-1])
        return steps

    # running

    def _make(self, index: int, vertex: Vertex, known: list[Key], identity: Digest) -> Result:
        trees = self._inputs(vertex.step)
        with self._alone(index, known[0]):
            found = self._find(index, known[0])  # another build may have been at it meanwhile
            tree = self._kept(index, found)
            if found is not None and tree is not None:
                self._tell_cached(index)
                return Result(found.identity, found, tree)
            link = self._link_key(index)
            tree = self._linked(index, link, trees) or self._execute(index, vertex, trees)
            self._cache.record([*known, *([] if link is None else [link])], identity, tree.id, vertex.label)
            if self._after_step is not None:
                self._after_step(index, tree)
            return Result(identity, Found(identity, tree.id), tree)

    def _link_key(self, index: int) -> Key | None:
        """Under what a COPY's layer is known that may go onto another parent."""
        step, reads = self._graph.vertices[index].step, self._tasks[index].reads
        if not isinstance(step, Copy) or not step.link or step.parent is None:
            return None
        return (
            keys.link_key(step, reads, epoch=self._epoch) if all(read.by_content for read in reads.values()) else None
        )

    def _linked(self, index: int, key: Key | None, trees: Mapping[int, CommittedSnapshot]) -> CommittedSnapshot | None:
        """A tree out of the parent and the layer that was made before on another one, where both fit."""
        step = self._graph.vertices[index].step
        found = None if key is None or index in self._fresh else self._cache.find(key.digest)
        if found is None or not isinstance(step, Copy) or step.parent is None:
            return None
        self._cache.keep(found)
        layer = self._cache.tree(found)
        tree = None if layer is None else self._executor.linked(step, layer, trees[step.parent])
        if tree is not None:
            self._tell_cached(index)
        return tree

    @contextmanager
    def _alone(self, index: int, key: Key) -> Iterator[None]:
        """Hold the step of a key, or wait for the build that does, and say so. ``Failed`` when cancelled."""
        path = self._settings.locks / f"step-{encoded(key.digest)[:LOCK_BUCKET_DIGITS]}.lock"
        number, label = self._numbers[index], self._graph.vertices[index].label
        told = ""

        def on_wait(holder: str) -> None:
            nonlocal told
            if holder not in {told, self._name}:  # a step of this build's own that shares the lock is at work, and seen
                self._tell(Waiting(number, label, holder=_shown(holder)))
                told = holder

        with ExitStack() as stack:
            held = False
            while not held:
                if self._cancel.is_set():
                    if told:
                        self._tell(Broken(number, label, reason="cancelled", cancelled=True))
                    raise Failed("cancelled", status=CANCELLED)
                with suppress(Conflict):
                    stack.enter_context(locks.held(path, wait_seconds=LOCK_SECONDS, owner=self._name, on_wait=on_wait))
                    held = True
            yield

    def _execute(self, index: int, vertex: Vertex, trees: Mapping[int, CommittedSnapshot]) -> CommittedSnapshot:
        number = self._numbers[index]
        with self._lock:
            self._told.add(index)
            self.ran += 1
        started = time.monotonic()
        self._tell(Started(number, vertex.label))

        def emit(stream: str, data: bytes) -> None:
            self._tell(Output(number, vertex.label, "stderr" if stream == "stderr" else "stdout", data))

        try:
            tree = self._executor.run(vertex, trees, emit, self._cancel)
        except BaseException as error:
            seconds = time.monotonic() - started
            cancelled = self._cancel.is_set()
            self._tell(Broken(number, vertex.label, seconds=seconds, reason=_reason(error), cancelled=cancelled))
            self._fail(error)
            raise
        self._tell(Finished(number, vertex.label, seconds=time.monotonic() - started))
        return tree

    def _inputs(self, step: Step) -> dict[int, CommittedSnapshot]:
        """The trees that a step stands on and reads, by vertex, made at once where they are independent."""
        parent = parent_of(step)
        every = dict.fromkeys((*(() if parent is None else (parent,)), *reads_of(step)))
        return self._trees([index for index in every if not isinstance(self._graph.vertices[index].step, Local)])

    def _trees(self, wanted: list[int]) -> dict[int, CommittedSnapshot]:
        failures: list[BaseException] = []
        beside = [
            threading.Thread(target=self._beside, args=(index, failures), name="bennu-solver") for index in wanted[1:]
        ]
        for thread in beside:
            thread.start()
        try:
            for index in wanted[:1]:
                self._tree(index)
        except BaseException as error:
            self._fail(error)
            raise
        finally:
            for thread in beside:
                thread.join()
        if failures:
            raise failures[0]
        return {index: self._tree(index) for index in wanted}

    def _beside(self, index: int, failures: list[BaseException]) -> None:
        try:
            self._tree(index)
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that waits
            self._fail(error)
            failures.append(error)

    def _tell_cached(self, index: int) -> None:
        """Tell of a result that was found, and of all that it stands on."""
        for each in self._graph.steps(index):
            with self._lock:
                known = each in self._told
                self._told.add(each)
            if not known:
                self._tell(Cached(self._numbers[each], self._graph.vertices[each].label))

    def _tell(self, event: Event) -> None:
        self._listener(event)


def _shown(holder: str) -> str:
    """Who holds a step, for people: another build of this very process goes by its name alone."""
    own, name = f"pid {os.getpid()} (", holder.removesuffix(")")
    return f"the {name.removeprefix(own)} of this command" if name.startswith(own) else holder


def _reason(error: BaseException) -> str:
    """Why a step failed, for a line that names the step already."""
    if isinstance(error, Failed):
        return f"exit status {error.status}"
    return error.message if isinstance(error, BennuError) else str(error) or type(error).__name__


class _Task:
    """What is known of one vertex; its lock is held by whoever finds out. Inputs come first, so no cycle can wait."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.keys: list[Key] = []
        self.reads: dict[int, Read] = {}
        self.identity = keys.SCRATCH
        self.result: Result | None = None
