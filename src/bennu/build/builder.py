"""From a build's request to an image: parse, lower, solve, make the image. ``bennu build`` and ``apply`` call it.

An image is as old as its newest layer, so a build that finds everything in the cache gives the same image, digest and
all.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from bennu.build import graph
from bennu.build.cache import StepCache
from bennu.build.executor import StepExecutor
from bennu.build.graph import BaseImage, Lowered
from bennu.build.lowering import lower
from bennu.build.progress import Listener
from bennu.build.request import BuildRequest, Built, with_epoch
from bennu.build.solver import Solver
from bennu.build.source import SourceTree, load_rules
from bennu.config import Settings
from bennu.dockerfile.parser import parse
from bennu.dockerfile.source import Span
from bennu.errors import BennuError, NotFound
from bennu.oci.image_config import History, ImageConfig, chain_ids, rfc3339
from bennu.oci.platform import platform_of_machine
from bennu.store.base import CommittedSnapshot
from bennu.store.database import Database
from bennu.store.images import Images
from bennu.store.operations import Operations
from bennu.store.snapshots import Snapshots

if TYPE_CHECKING:
    from bennu.build.running import Runner

COMMENT: Final = "buildkit.dockerfile.v0"


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
        runner: Callable[[], Runner],
    ) -> None:
        self._settings = settings
        self._database = database
        self._images = images
        self._snapshots = snapshots
        self._operations = operations
        self._runner = runner
        self.cache = StepCache(database, snapshots)

    def build(self, request: BuildRequest, listener: Listener, cancel: threading.Event | None = None) -> Built:
        """Build an image; ``cancel`` ends it. Errors of the Dockerfile are ``Invalid`` or ``Unsupported`` with their
        place.
        """
        request = with_epoch(request)
        path = dockerfile_path(request)
        lowered = self._lower(request, path)
        _connect(lowered.graph, request.network)
        name = f"build of {request.context}"
        with self._operations.under_way(name):
            executor = StepExecutor(
                self._settings,
                self._database,
                self._images,
                self._snapshots,
                self._runner,
                graph=lowered.graph,
                context=SourceTree(
                    request.context,
                    what="the build context",
                    rules=load_rules(request.context, path),
                    keeps_owners=False,
                ),
                epoch=request.epoch,
            )
            solver = Solver(
                lowered.graph,
                executor,
                self.cache,
                self._settings,
                listener,
                use_cache=request.use_cache,
                fresh=lowered.vertices_of(request.fresh_stages),
                nonce=request.nonce,
                epoch=request.epoch,
                name=name,
                cancel=cancel,
            )
            tree = None if lowered.result is None else solver.solve(lowered.result)
            config = self._dated(lowered.config, tree, request.epoch)
            image = self._images.create(config, tree, names=request.names, durable=False)
        steps = len(lowered.graph.steps(lowered.result))
        return Built(image, lowered.warnings, steps, solver.ran, executor.walked, executor.hashed)

    def _lower(self, request: BuildRequest, path: Path) -> Lowered:
        text = request.text if request.text is not None else _read(path)
        return lower(
            parse(text, os.path.relpath(path) if request.text is None else "-"),
            bases=self._base,
            platform=platform_of_machine(os.uname().machine),
            build_args=request.build_args,
            target=request.target,
            labels=request.labels,
        )

    def _base(self, name: str, span: Span) -> BaseImage:
        image = self._images.find(name)
        if image is None:
            raise span.invalid(
                f"image {name!r} is not in the store",
                "`bennu image bootstrap` makes a base image, `bennu load` brings one in, `bennu images` lists them",
            )
        chain = chain_ids(image.config.diff_ids)
        return BaseImage(image.manifest, chain[-1] if chain else None, _with_history(image.config))

    def _dated(self, config: ImageConfig, tree: CommittedSnapshot | None, epoch: int | None) -> ImageConfig:
        made = float(epoch) if epoch is not None else None if tree is None else self.cache.made(tree.id)
        if made is None:
            return config
        moment = rfc3339(int(made))
        history = tuple(
            msgspec.structs.replace(entry, created=moment) if entry.comment == COMMENT and not entry.created else entry
            for entry in config.history
        )
        return msgspec.structs.replace(config, created=moment, history=history)


def dockerfile_path(request: BuildRequest) -> Path:
    """Where the Dockerfile is (or would be, where its text is given): the request's, else ``Dockerfile`` in the
    context.
    """
    return request.dockerfile or request.context / "Dockerfile"


def _with_history(config: ImageConfig) -> ImageConfig:
    """A base's configuration with an entry for each layer: histories are optional in images that others made."""
    missing = len(config.diff_ids) - sum(not entry.empty_layer for entry in config.history)
    return msgspec.structs.replace(config, history=(*config.history, *[History()] * max(missing, 0)))


def _connect(steps: graph.Graph, network: graph.Network) -> None:
    """Give every RUN that asks for no network in particular the build's."""
    for index, vertex in enumerate(steps.vertices):
        if isinstance(vertex.step, graph.Run) and vertex.step.network == "default":
            step = msgspec.structs.replace(vertex.step, network=network)
            steps.vertices[index] = msgspec.structs.replace(vertex, step=step)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise NotFound(f"Dockerfile {str(path)!r} does not exist", "name it with --file") from error
    except OSError as error:
        raise BennuError(f"Dockerfile {str(path)!r}: {error.strerror}") from error
