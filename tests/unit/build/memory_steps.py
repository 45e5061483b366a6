"""Steps without files or processes: trees are mappings in memory, and each step's effect is a function of its inputs.

A RUN writes one file whose content is the digest of everything that a real process could see (arguments, environment,
directory, user, network, the whole tree under it), so that a result which was reused where it must not be shows.
"""

from __future__ import annotations

import fnmatch
import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from bennu.build.cache import StepCache
from bennu.build.graph import Base, BaseImage, Copy, Lowered, MakeDirectory, Run, Step, Vertex, parent_of
from bennu.build.lowering import lower
from bennu.build.progress import Event
from bennu.build.solver import Emit, Solver
from bennu.config import Settings
from bennu.digest import Digest, digest_of
from bennu.dockerfile.parser import parse
from bennu.dockerfile.source import Span
from bennu.errors import Failed, NotFound
from bennu.oci.image_config import ContainerConfig, History, ImageConfig
from bennu.oci.platform import Platform
from bennu.store.base import CommittedSnapshot
from bennu.store.database import Database
from bennu.store.snapshots import Snapshots

Tree = Mapping[str, str]
BASES: Mapping[str, Tree] = {"debian": {"/etc/os": "debian"}, "alpine": {"/etc/os": "alpine"}}


class MemoryExecutor:
    """Runs steps in memory. ``ran`` counts labels, ``read`` contents looked at; ``during`` is called in each RUN."""

    def __init__(self, snapshots: Snapshots, trees: dict[str, Tree], context: Mapping[str, str]) -> None:
        self._snapshots = snapshots
        self._trees = trees
        self.context = context
        self.ran: Counter[str] = Counter()
        self.read: Counter[str] = Counter()
        self.during: Callable[[Run, threading.Event], None] = lambda _step, _cancel: None

    def base(self, step: Base) -> CommittedSnapshot:
        for name, tree in BASES.items():
            if digest_of(name.encode()) == step.chain:
                return self._kept(f"base {name}", None, tree)
        raise AssertionError(step)

    def content(self, step: Step, vertex: int, tree: CommittedSnapshot | None) -> Digest:
        assert isinstance(step, Copy)
        self.read["context" if tree is None else "stage"] += 1
        paths = [source.path for source in step.sources if source.vertex == vertex]
        return digest_of(repr(sorted(self._chosen(paths, tree).items())).encode())

    def run(
        self, vertex: Vertex, trees: Mapping[int, CommittedSnapshot], emit: Emit, cancel: threading.Event
    ) -> CommittedSnapshot:
        step = vertex.step
        self.ran[vertex.label] += 1
        above = parent_of(step)
        parent = None if above is None else trees[above]
        tree = dict(self._trees[parent.id]) if parent else {}
        match step:
            case Run():
                self.during(step, cancel)
                if cancel.is_set():
                    raise Failed("cancelled", status=137)
                seen = repr((step.arguments, step.environment, step.directory, step.user, step.network))
                seen += repr(sorted(tree.items()))
                emit("stdout", b"running\n")
                tree[f"/ran/{step.arguments[-1]}"] = hashlib.sha256(seen.encode()).hexdigest()[:12]
            case MakeDirectory():
                tree.setdefault(step.path, f"directory of {step.user}")
            case Copy():
                chosen: dict[str, str] = {}
                for source in step.sources:
                    chosen |= self._chosen([source.path], trees.get(source.vertex))
                inline = {file.name: file.content for file in step.inline}
                for name, text in {**chosen, **inline}.items():
                    tree[f"{step.destination.rstrip('/')}/{name}"] = f"{text} {step.chown} {step.chmod}"
        return self._kept("", parent, tree)

    def dated(self, tree: CommittedSnapshot, steps: Sequence[Step], epoch: int) -> CommittedSnapshot:
        return tree

    def _chosen(self, paths: Iterable[str], source: CommittedSnapshot | None) -> dict[str, str]:
        files = self.context if source is None else {k[1:]: v for k, v in self._trees[source.id].items()}
        chosen: dict[str, str] = {}
        for wanted in paths:
            found = {
                path: text
                for path, text in files.items()
                if wanted == "." or path == wanted or path.startswith(f"{wanted}/") or fnmatch.fnmatch(path, wanted)
            }
            if not found and "*" not in wanted:
                raise NotFound(f"{wanted!r} is not there")
            for path, text in found.items():
                under = path.removeprefix(f"{wanted}/") if path != wanted else path.rpartition("/")[2]
                chosen[under] = text
        return chosen

    def _kept(self, name: str, parent: CommittedSnapshot | None, tree: Tree) -> CommittedSnapshot:
        for snapshot in self._snapshots.walk() if name else ():
            if self._trees.get(snapshot.id) == tree and not snapshot.parents:
                return snapshot
        snapshot = self._snapshots.commit(self._snapshots.prepare(parent))
        self._trees[snapshot.id] = tree
        return snapshot


class World:
    """A store, and builds into it. ``events`` are those of the last build."""

    def __init__(self, base: Path) -> None:
        self.settings = Settings.from_environ({"BENNU_ROOT": str(base)})
        self.database = Database(self.settings.database)
        self.snapshots = Snapshots(self.settings, self.database)
        self.cache = StepCache(self.database, self.snapshots)
        self.trees: dict[str, Tree] = {}
        self.events: list[Event] = []
        self.executor = self.new_executor({})

    def new_executor(self, context: Mapping[str, str]) -> MemoryExecutor:
        self.executor = MemoryExecutor(self.snapshots, self.trees, context)
        return self.executor

    def solver(self, lowered: Lowered, executor: MemoryExecutor, **options: object) -> Solver:
        self.events = []
        return Solver(lowered.graph, executor, self.cache, self.settings, self.events.append, **options)

    def build(
        self,
        text: str,
        context: Mapping[str, str] | None = None,
        *,
        executor: MemoryExecutor | None = None,
        build_args: Mapping[str, str] | None = None,
        target: str | None = None,
        **options: object,
    ) -> Tree:
        """The tree of a Dockerfile."""
        lowered = lower_text(text, build_args or {}, target)
        executor = executor or self.new_executor(context or {})
        if lowered.result is None:
            return {}
        return self.trees[self.solver(lowered, executor, **options).solve(lowered.result).id]

    @property
    def ran(self) -> list[str]:
        """What the last build's executor ran, without the numbers of the labels."""
        return sorted(label.partition("] ")[2] for label in self.executor.ran.elements())


def lower_text(text: str, build_args: Mapping[str, str], target: str | None = None) -> Lowered:
    def bases(name: str, span: Span, platform: Platform) -> BaseImage:
        if name not in BASES:
            raise span.invalid(f"image {name!r} is not in the store")
        digest = digest_of(name.encode())
        config = ImageConfig(
            architecture="amd64", os="linux", config=ContainerConfig(env=("PATH=/bin",)), history=(History(),)
        )
        return BaseImage(digest, digest, config)

    return lower(
        parse(text, "Dockerfile"),
        bases=bases,
        platform=Platform("amd64", "linux"),
        build_args=build_args,
        target=target,
    )
