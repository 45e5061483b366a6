"""From a build's request to an image: parse, lower, solve, make the image. ``bennu build`` and ``apply`` call it.

An image is as old as its newest layer, so a build that finds everything in the cache gives the same image, digest and
all.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bennu.build import graph
from bennu.build.ahead import LayersAhead
from bennu.build.bases import BaseImages
from bennu.build.cache import StepCache
from bennu.build.calls import Reading
from bennu.build.contexts import DOCKERFILE, Contexts
from bennu.build.emulation import check_runs
from bennu.build.executor import StepExecutor
from bennu.build.exported import Exported
from bennu.build.exporting import Exporter, Result, check_places
from bennu.build.finishing import finished
from bennu.build.graph import Lowered
from bennu.build.lowering import lower
from bennu.build.origins import Directory
from bennu.build.outputs import check_annotations
from bennu.build.progress import Listener, together
from bennu.build.recorder import Recorder
from bennu.build.records import BuildRecords
from bennu.build.request import BuildRequest, Built, with_epoch
from bennu.build.solver import Solver
from bennu.build.surroundings import surround
from bennu.build.verdicts import Verified
from bennu.config import Settings
from bennu.dockerfile.instructions import Dockerfile
from bennu.dockerfile.parser import parse
from bennu.oci.platform import Platform, platform_of_machine
from bennu.store.base import CommittedSnapshot
from bennu.store.database import Database
from bennu.store.images import Image, Images
from bennu.store.operations import Operations
from bennu.store.snapshots import Snapshots

if TYPE_CHECKING:
    from bennu.build.running import Runner
    from bennu.build.storage import Allowance
    from bennu.dockerfile.warning import Warning  # noqa: A004 - the word of the Dockerfile reference
    from bennu.store.archive_loader import Loader


class Plan(NamedTuple):
    """A Dockerfile that was read: its name, what the checks say, its graph for each platform, the steps needed."""

    file: str
    remarks: tuple[Warning, ...]
    lowered: Sequence[Lowered]
    needed: frozenset[int]


Fetch = Callable[[bool, Listener, str, Platform], Image | None]
"""The image that a name means, for a platform, fetched where it has to be, or (the first argument) where a registry has
a newer one; None where there is none. The listener is told.
"""


class Builder:
    """Builds into one store. Safe with several builds at once."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        images: Images,
        snapshots: Snapshots,
        *,
        operations: Operations,
        loader: Callable[[], Loader],
        runner: Callable[[], Runner],
        allowance: Callable[[], Allowance],
        fetch: Fetch | None = None,
    ) -> None:
        self._settings = settings
        self._database = database
        self._images = images
        self._snapshots = snapshots
        self._operations = operations
        self._loader = loader
        self._runner = runner
        self._allowance = allowance
        self._fetch = fetch or self._in_store
        self.cache = StepCache(database, snapshots)
        self.records = BuildRecords(database)

    def build(self, request: BuildRequest, listener: Listener, cancel: threading.Event | None = None) -> Built:
        """Build an image; ``cancel`` ends it. Errors of the Dockerfile are ``Invalid`` or ``Unsupported`` with their
        place.
        """
        request = with_epoch(request)
        with self._operations.under_way(_name(request)), self._contexts(request) as contexts:
            reading = self._read(request, contexts)
            remarks = reading.accepted_warnings()
            lowered = self._lower(reading.dockerfile, request, listener)
            check_places(request.outputs)
            check_annotations(request.outputs, request.annotations, has_index=request.has_index)
            steps = lowered[0].graph
            needed = frozenset[int]().union(*(steps.steps(each.result) for each in lowered))
            check_runs(steps, needed, _host())
            surround(steps, request.network, request.around, request.allowed)
            plan = Plan(reading.dockerfile.file, remarks, lowered, needed)
            return self._solved(request, listener, cancel, plan, contexts)

    def _solved(
        self,
        request: BuildRequest,
        listener: Listener,
        cancel: threading.Event | None,
        plan: Plan,
        contexts: Contexts,
    ) -> Built:
        lowered, steps = plan.lowered, plan.lowered[0].graph
        executor = self._executor(steps, request, contexts)
        fresh = frozenset[int]().union(*(each.vertices_of(request.fresh_stages) for each in lowered))
        allowance = self._allowance()
        allowance.enforce()
        ahead = self._layers_ahead(lowered, request)

        def after_step(vertex: int, tree: CommittedSnapshot) -> None:
            ahead.made(vertex, tree)
            allowance.after_step()

        recorder = Recorder(steps, request, plan.file, fresh)
        solver = Solver(
            steps,
            executor,
            self.cache,
            self._settings,
            together(listener, recorder),
            use_cache=request.use_cache,
            fresh=fresh,
            nonce=request.nonce,
            epoch=request.epoch,
            name=_name(request),
            cancel=cancel,
            after_step=after_step,
        )
        exported = Exported()
        try:
            with ahead:
                results = {each.result for each in lowered if each.result is not None}
                trees = solver.solve_all(results) if results else {}
            exported = self._export(lowered, trees, request)
        finally:
            recorder.write(self.records, solver.known(), executor.listing, next(iter(exported.images), None))
        verified: tuple[Verified, ...] = ()
        if request.verify:
            from bennu.build.verify import Verifier

            again = Verifier(
                self._settings,
                self._snapshots,
                steps,
                executor,
                solver.tree,
                epoch=request.epoch,
                listener=listener,
                cancel=cancel,
            )
            verified = again.verify(trees)
        of_lowering = (warning for each in lowered for warning in each.warnings)
        warnings = tuple(dict.fromkeys((*plan.remarks, *of_lowering)))
        return Built(exported, warnings, len(plan.needed), solver.ran, executor.walked, executor.hashed, verified)

    def _layers_ahead(self, lowered: Sequence[Lowered], request: BuildRequest) -> LayersAhead:
        """Every step between a base and a result leaves a layer of an image, where there is to be one as it is."""
        is_needed = not request.squash and any(output.has_image for output in request.outputs)
        ways = [each.graph.way(each.result) for each in lowered] if is_needed else []
        return LayersAhead(self._images.layers, frozenset[int]().union(*ways))

    def _executor(self, steps: graph.Graph, request: BuildRequest, contexts: Contexts) -> StepExecutor:
        return StepExecutor(
            self._settings,
            self._database,
            self._images,
            self._snapshots,
            self._runner,
            graph=steps,
            contexts=contexts,
            epoch=request.epoch,
            grants=request.grants,
        )

    def _contexts(self, request: BuildRequest) -> Contexts:
        keeps = request.build_args.get("BUILDKIT_CONTEXT_KEEP_GIT_DIR", "").lower() in {"1", "t", "true"}
        origin = request.origin
        dockerfile = request.dockerfile
        if dockerfile is None and isinstance(origin, Directory):
            dockerfile = Path(origin.path) / DOCKERFILE
        return Contexts(
            self._settings, origin, request.contexts, dockerfile=dockerfile, keep_git_dir=keeps, grants=request.grants
        )

    @contextmanager
    def reading(self, request: BuildRequest) -> Iterator[Reading]:
        """The Dockerfile of a request, to be looked at and not built. ``Invalid`` for one that does not parse."""
        request = with_epoch(request)
        with self._contexts(request) as contexts:
            yield self._read(request, contexts)

    def _read(self, request: BuildRequest, contexts: Contexts) -> Reading:
        text, file = (request.text, "-") if request.text is not None else contexts.read(request.dockerfile)
        # checks look at what is here: nothing is fetched for them
        return Reading(parse(text, file), request, contexts, BaseImages(self._images.find, self._loader), _host())

    def _in_store(self, _always: bool, _listener: Listener, name: str, platform: Platform) -> Image | None:
        return self._images.find(name, platform)

    def _lower(self, dockerfile: Dockerfile, request: BuildRequest, listener: Listener) -> list[Lowered]:
        """The Dockerfile for each platform, in one graph."""
        steps = graph.Graph()
        bases = BaseImages(partial(self._fetch, request.pull, listener), self._loader)
        return [
            lower(
                dockerfile,
                bases=bases,
                platform=_host(),
                wanted=platform,
                build_args=request.build_args,
                target=request.target,
                labels=request.labels,
                contexts=request.contexts,
                graph=steps,
                is_one_of_several=request.has_index,
            )
            for platform in request.platforms or (None,)
        ]

    def _export(
        self, lowered: Sequence[Lowered], trees: Mapping[int, CommittedSnapshot], request: BuildRequest
    ) -> Exported:
        exporter = Exporter(self._settings, self._images, self._snapshots, host=_host(), stdout=request.stdout)
        results = [self._result(each, trees, request) for each in lowered]
        return exporter.export(
            request.outputs, results, request.names, request.annotations, has_index=request.has_index
        )

    def _result(self, lowered: Lowered, trees: Mapping[int, CommittedSnapshot], request: BuildRequest) -> Result:
        tree = None if lowered.result is None else trees[lowered.result]
        made = self.cache.made(tree.id) if tree is not None and request.epoch is None else request.epoch
        labels = [lowered.graph.vertices[each].label for each in lowered.graph.way(lowered.result)]
        layers = [*[""] * lowered.inherited, *labels]
        config = finished(lowered.config, layers, made)
        if request.squash and tree is not None:
            from bennu.build.squashing import squashed, squashed_history

            tree = squashed(self._snapshots, self.cache, tree, lowered.inherited)
            config = finished(squashed_history(config, lowered.inherited), (), made)
        return Result(lowered.config.platform.normalised(), tree, config)


def _name(request: BuildRequest) -> str:
    return f"build of {request.shown}"


def _host() -> Platform:
    return platform_of_machine(os.uname().machine)
