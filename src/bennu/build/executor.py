"""The real executor of steps: snapshots mounted for a moment, files copied, processes run. See ``solver.Executor``.

Errors of a step are told at its place in the Dockerfile. The selection of a COPY from the context is walked once: its
content key and the copy use the same one. What only a step that runs needs (the runtime, copying, mounts) is imported
when one does, so that a build out of the cache does not pay for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bennu.build.contents import content_digest, mount_digest
from bennu.build.contexts import Contexts
from bennu.build.file_digests import FileDigests
from bennu.build.graph import (
    Base,
    Copy,
    Excerpt,
    Fetch,
    GitTree,
    Graph,
    Local,
    MakeDirectory,
    Run,
    Source,
    Step,
    Vertex,
    parent_of,
    reads_of,
)
from bennu.build.keys import Key, base_identity, sorted_mounts
from bennu.build.listings import listed
from bennu.build.mounts import BindMount, CacheMount
from bennu.build.source import MissingSource, Selection, SourceTree
from bennu.config import Settings
from bennu.digest import Digest, digest_of
from bennu.dockerfile.match import BadPatternError
from bennu.dockerfile.source import Span
from bennu.errors import BennuError, Conflict, Corrupt, Invalid, NotFound, Unavailable, Unsupported
from bennu.store.base import CommittedSnapshot
from bennu.store.database import Database
from bennu.store.images import Images
from bennu.store.snapshots import Snapshots

if TYPE_CHECKING:
    from bennu.build.dating import Dates
    from bennu.build.destinations import Say
    from bennu.build.fetching import Fetcher
    from bennu.build.running import Runner
    from bennu.build.secrets import Grants
    from bennu.build.solver import Emit


class StepExecutor:
    """Runs the steps of one build. ``walked`` counts the entries of the context that were looked at, for tests."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        images: Images,
        snapshots: Snapshots,
        runner: Callable[[], Runner],
        *,
        graph: Graph,
        contexts: Contexts,
        epoch: int | None,
        grants: Grants,
    ) -> None:
        self._settings = settings
        self._database = database
        self._images = images
        self._snapshots = snapshots
        self._make_runner = runner
        self._lock = threading.Lock()
        self._is_swept = False
        self._contexts = contexts
        self._steps = [vertex.step for vertex in graph.vertices]
        self._epoch = epoch
        self._grants = grants
        self._spans = {vertex.step: vertex.span for vertex in graph.vertices}
        self._labels = [vertex.label for vertex in graph.vertices]
        self._selections: dict[tuple[Copy | Excerpt, tuple[Source, ...]], Selection] = {}
        self._taken: dict[str, Callable[[], bytes]] = {}

    @property
    def walked(self) -> int:
        """Entries of the context that were looked at."""
        return sum(selection.walked for selection in self._selections.values())

    @property
    def hashed(self) -> int:
        """Files of the context that were read to be hashed."""
        return self._contexts.hashed

    def base(self, step: Base) -> CommittedSnapshot:
        """The tree of an image of the store."""
        image = self._images.get(step.manifest)
        tree = self._images.snapshot(image)
        if tree is None:
            raise Corrupt(f"image {image.shown} has lost its layers", "load or build it again")
        return tree

    def content(self, step: Step, vertex: int, tree: CommittedSnapshot | None) -> Digest:
        """The content that a step takes from a vertex; ``tree`` is None for a directory of whoever builds."""
        with _placed(self._spans.get(step)):
            if isinstance(step, Excerpt):
                selection = self._excerpt(step)
                digests = self._contexts.digests(self._local(vertex))
                return self._noted(mount_digest(selection, digests, is_root=step.path == "/"), [selection])
            if isinstance(step, Run):
                assert tree is not None
                return self._mounted_content(step, vertex, tree)
            assert isinstance(step, Copy)
            if tree is None:
                found = [self._selected(step, group) for group in _groups(step) if group[0].vertex == vertex]
                digests = self._contexts.digests(self._local(vertex))
                return self._noted(_content(found, digests), found)
            from bennu.build.trees import in_trees

            def keyed(roots: tuple[Path, ...]) -> Digest:
                source = SourceTree(roots[0], what=self._name_of(vertex), keeps_owners=True)
                found = [taken(source, group, step.exclude) for group in _groups(step) if group[0].vertex == vertex]
                return self._noted(_content(found, FileDigests(None, "")), found, is_passing=True)

            return in_trees(self._settings, (self._snapshots.mounts(tree),), keyed)

    def listing(self, content: str) -> bytes | None:
        """What a step took, by the digest of the whole, as ``records`` stores it."""
        taken = self._taken.get(content)
        return None if taken is None else taken()

    def _noted(self, content: Digest, found: list[Selection], *, is_passing: bool = False) -> Digest:
        """Remember what a content is made of; ``is_passing``: it cannot be looked at later."""
        if is_passing:
            body = listed(found)
            self._taken[content] = lambda: body
        else:
            self._taken[content] = lambda: listed(found)
        return content

    def _selected(self, step: Copy, group: tuple[Source, ...]) -> Selection:
        """What a COPY takes from a directory of whoever builds: looked at once, for its key and for its files."""
        key = (step, group)
        if key not in self._selections:
            tree = self._contexts.tree(self._local(group[0].vertex))
            self._selections[key] = taken(tree, group, step.exclude)
        return self._selections[key]

    def _excerpt(self, step: Excerpt) -> Selection:
        """What a RUN mounts of a directory of whoever builds, looked at once too."""
        key = (step, ())
        if key not in self._selections:
            self._selections[key] = self._contexts.tree(self._local(step.vertex)).exact(step.path)
        return self._selections[key]

    def _mounted_content(self, step: Run, vertex: int, tree: CommittedSnapshot) -> Digest:
        """The content of what a RUN mounts of the tree of a vertex; all of an image is known by its layers."""
        from bennu.build.trees import in_trees

        mounts = [mount for mount in sorted_mounts(step.mounts) if isinstance(mount, BindMount | CacheMount)]
        paths = [mount.path for mount in mounts if mount.vertex == vertex]
        below = self._steps[vertex]
        if isinstance(below, Base) and "/" in paths:
            return base_identity(below)

        def keyed(roots: tuple[Path, ...]) -> Digest:
            source = SourceTree(roots[0], what=self._name_of(vertex), keeps_owners=True)
            each = [mount_digest(source.exact(path), FileDigests(None, "")) for path in paths]
            return each[0] if len(each) == 1 else digest_of("".join(each).encode())

        return in_trees(self._settings, (self._snapshots.mounts(tree),), keyed)

    def _local(self, vertex: int) -> str:
        """The name of the context that a vertex is."""
        step = self._steps[vertex]
        assert isinstance(step, Local)
        return step.name

    def resolve(self, vertex: Vertex, cancel: threading.Event) -> Key:
        """The key of what a URL or a Git repository is now."""
        assert isinstance(vertex.step, Fetch | GitTree)
        with _placed(vertex.span):
            return self._fetcher.resolve(vertex.step, cancel)

    @cached_property
    def _fetcher(self) -> Fetcher:
        from bennu.build.fetching import Fetcher

        with self._lock:
            if not self._is_swept:
                self._sweep()
        return Fetcher(self._settings, self._database, self._snapshots, self._grants)

    def run(
        self, vertex: Vertex, trees: Mapping[int, CommittedSnapshot], emit: Emit, cancel: threading.Event
    ) -> CommittedSnapshot:
        """Run one step; ``trees`` are those that it stands on and reads, by vertex."""
        made = self._run(vertex, trees, emit, cancel)
        if self._epoch is not None:
            self._dates.remember(made, self._epoch)
        return made

    def dated(self, tree: CommittedSnapshot, steps: Sequence[Step], epoch: int) -> CommittedSnapshot:
        """A tree that was found as it would have been made for SOURCE_DATE_EPOCH. See ``solver.Executor``."""
        return self._dates.dated(tree, steps, epoch)

    def linked(self, step: Copy, layer: CommittedSnapshot, parent: CommittedSnapshot) -> CommittedSnapshot | None:
        """The layer of a COPY on another tree than the one that it was made on. See ``solver.Executor``."""
        from bennu.build.linking import linked

        made = linked(self._settings, self._snapshots, step, layer, parent)
        if made is not None and self._epoch is not None:
            self._dates.remember(made, self._epoch)
        return made

    @cached_property
    def _dates(self) -> Dates:
        from bennu.build.dating import Dates

        return Dates(self._settings, self._database, self._snapshots)

    def _run(
        self, vertex: Vertex, trees: Mapping[int, CommittedSnapshot], emit: Emit, cancel: threading.Event
    ) -> CommittedSnapshot:
        step = vertex.step

        def say(line: str) -> None:
            emit("stderr", f"{line}\n".encode())

        with self._lock:  # once, whatever begins first
            if not self._is_swept:
                self._sweep()
            runner = self._runner if isinstance(step, Run) else None
        above = parent_of(step)
        parent = None if above is None else trees[above]
        with _placed(vertex.span):
            match step:
                case Run():
                    assert runner is not None
                    return runner.run(
                        vertex,
                        step,
                        parent,
                        {index: trees[index] for index in reads_of(step)},
                        grants=self._grants,
                        output=emit,
                        cancel=cancel,
                        epoch=self._epoch,
                    )
                case MakeDirectory():
                    from bennu.build.trees import make_directory

                    return make_directory(self._settings, self._snapshots, step, parent, epoch=self._epoch, say=say)
                case Fetch() | GitTree():
                    return self._fetcher.make(step, cancel)
                case Copy():
                    return self._copy(step, parent, trees, say)
                case Excerpt():
                    from bennu.build.excerpts import make_excerpt

                    is_root = step.path == "/"
                    selection = self._excerpt(step)
                    return make_excerpt(
                        self._settings, self._snapshots, selection, is_root=is_root, epoch=self._epoch, say=say
                    )
                case Base():
                    return self.base(step)
                case Local():
                    raise AssertionError("a directory of whoever builds does nothing")

    def _sweep(self) -> None:
        """Remove what killed builds left. A build that finds everything in the cache does not look for it."""
        from bennu.build import trees

        self._snapshots.sweep_abandoned()
        trees.sweep(self._settings)
        self._is_swept = True

    @cached_property
    def _runner(self) -> Runner:
        runner = self._make_runner()
        runner.sweep()
        return runner

    def _copy(
        self, step: Copy, parent: CommittedSnapshot | None, trees: Mapping[int, CommittedSnapshot], say: Say
    ) -> CommittedSnapshot:
        from bennu.build.copying import copy
        from bennu.build.trees import clamp_times, in_trees
        from bennu.build.writing import Own

        read = [vertex for vertex in reads_of(step) if vertex in trees]

        def write(roots: tuple[Path, ...]) -> None:
            sources = {
                vertex: SourceTree(root, what=self._name_of(vertex), keeps_owners=True)
                for vertex, root in zip(read, roots[1:], strict=False)
            }
            layers = None if parent is None else Own(own, roots[-1])
            selections = (
                taken(sources[group[0].vertex], group, step.exclude)
                if group[0].vertex in sources
                else self._selected(step, group)
                for group in _groups(step)
            )
            copy(selections, step, roots[0], self._epoch, say, layers=layers)

        active = self._snapshots.prepare(parent)
        own = self._snapshots.directory(active)
        try:
            below = () if parent is None else (parent,)
            mounts = [self._snapshots.mounts(tree) for tree in (*(trees[vertex] for vertex in read), *below)]
            in_trees(self._settings, (self._snapshots.mounts(active), *mounts), write)
            if self._epoch is not None:
                clamp_times(own, self._epoch)
            return self._snapshots.commit(active)
        except BaseException:
            self._snapshots.discard(active)
            raise

    def _name_of(self, vertex: int) -> str:
        """What a COPY takes files from, for errors: the step that left that tree."""
        return f"what {self._labels[vertex]!r} left"


def _groups(step: Copy) -> list[tuple[Source, ...]]:
    """The sources of a COPY in their order, those in a row that are looked for together together."""
    groups: list[tuple[Source, ...]] = []
    for source in step.sources:
        last = groups[-1][-1] if groups else None
        is_alone = source.below is not None or source.is_literal
        if last is None or is_alone or msgspec.structs.replace(last, path=source.path) != source:
            groups.append((source,))
        else:
            groups[-1] += (source,)
    return groups


def taken(tree: SourceTree, group: tuple[Source, ...], exclude: tuple[str, ...]) -> Selection:
    """What sources that belong together mean in a tree. ``MissingSource``, ``Invalid`` for a malformed pattern."""
    try:
        return _taken(tree, group, exclude)
    except BadPatternError as error:
        raise Invalid(str(error), "correct the pattern") from error


def _taken(tree: SourceTree, group: tuple[Source, ...], exclude: tuple[str, ...]) -> Selection:
    first = group[0]
    if first.below is not None:
        selection = tree.below(first.path, first.below, exclude)
    elif first.is_literal:
        selection = tree.exact(first.path)
    else:
        selection = tree.select([source.path for source in group], exclude)
    return selection._replace(unpack=first.unpack)


def _content(found: list[Selection], digests: FileDigests) -> Digest:
    """The content of selections from one tree; that of a single one is its own."""
    each = [content_digest(selection, digests) for selection in found]
    return each[0] if len(each) == 1 else digest_of("".join(each).encode())


@contextmanager
def _placed(span: Span | None) -> Iterator[None]:
    """Errors without a place get that of the instruction."""
    try:
        yield
    except (NotFound, Invalid, Conflict) as error:
        if span is None or (isinstance(error, Invalid) and error.line is not None):
            raise
        place = span.narrow(error.written) if isinstance(error, MissingSource) else span
        placed = place.unsupported if isinstance(error, Unsupported) else place.invalid
        raise placed(error.message, error.hint) from error
    except Unavailable as error:
        if span is None:
            raise
        raise Unavailable(f"{span.file}:{span.line}: {error.message}", error.hint) from error
    except OSError as error:
        if span is None:
            raise
        reason = f"{error.strerror}: {error.filename!r}" if error.filename else str(error.strerror)
        raise BennuError(f"{span.file}:{span.line}: {reason}") from error
