"""Wiring: the one place that chooses implementations and puts them together for one root.

``Store`` is the ground floor; what stands above adds its own class here. Parts are made at first use, so a verb pays
only for what it touches, and everything that was opened closes with the object. The verbs and the agent start here;
nothing below imports this module.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Self

from bennu.config import Settings
from bennu.digest import Digest

if TYPE_CHECKING:
    from bennu.build.builder import Builder
    from bennu.build.failures import Failures
    from bennu.build.progress import Listener
    from bennu.build.request import BuildRequest, Built
    from bennu.build.running import Runner
    from bennu.build.shell import FailedShell
    from bennu.build.storage import CacheStorage
    from bennu.compose.extension import HookEvent
    from bennu.compose.model import Project
    from bennu.deploy.apply import Deployer
    from bennu.deploy.commits import Commits
    from bennu.deploy.drift_looks import Drifts
    from bennu.deploy.drills import Drills
    from bennu.deploy.errands import Chore
    from bennu.deploy.history import History
    from bennu.deploy.hold_keeper import HoldKeeper
    from bennu.deploy.images import MakeImages, Wanted
    from bennu.deploy.news import Detail, News
    from bennu.deploy.outbox import Outbox
    from bennu.deploy.tidying import Tidying
    from bennu.deploy.upkeep import Outlook
    from bennu.engine.embedded.engine import EmbeddedEngine
    from bennu.engine.sets import ReplicaFile
    from bennu.oci.platform import Platform
    from bennu.registry.pull import Listener as TransferListener
    from bennu.registry.source import ImageSource
    from bennu.registry.upstream import Upstream
    from bennu.runtime.containers import Containers
    from bennu.store.archive_loader import Loader
    from bennu.store.base import SnapshotId
    from bennu.store.blobs import FileBlobs
    from bennu.store.database import Database
    from bennu.store.gc import Garbage, Root, RootProvider
    from bennu.store.images import Image, Images
    from bennu.store.layers import Layers
    from bennu.store.operations import Operations
    from bennu.store.snapshots import Snapshots
    from bennu.store.usage import Usage


class Store:
    """The store of one root: blobs, snapshots, layers, images, and what collects their garbage."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if "database" in self.__dict__:
            self.database.close()

    @cached_property
    def database(self) -> Database:
        """The SQLite file."""
        from bennu.store.database import Database

        return Database(self.settings.database)

    @cached_property
    def blobs(self) -> FileBlobs:
        """Blobs in files."""
        from bennu.store.blobs import FileBlobs

        return FileBlobs(self.settings)

    @cached_property
    def snapshots(self) -> Snapshots:
        """Overlay snapshots."""
        from bennu.store.snapshots import Snapshots

        return Snapshots(self.settings, self.database)

    @cached_property
    def operations(self) -> Operations:
        """Work under way."""
        from bennu.store.operations import Operations

        return Operations(self.database)

    @cached_property
    def layers(self) -> Layers:
        """Which snapshot is which layer."""
        from bennu.store.layers import Layers

        return Layers(self.settings, self.database, self.snapshots)

    @cached_property
    def images(self) -> Images:
        """Images and their names."""
        from bennu.store.images import Images

        return Images(self.database, self.blobs, self.snapshots, self.layers)

    @cached_property
    def loader(self) -> Loader:
        """What takes images out of archives."""
        from bennu.store.archive_loader import Loader

        return Loader(self.images, self.operations, self.settings.temporary)

    def image_source(self, say: Callable[[str], None], listener: TransferListener | None = None) -> ImageSource:
        """Images of the store and of registries."""
        import os

        from bennu.oci.platform import platform_of_machine
        from bennu.registry.source import ImageSource

        host = platform_of_machine(os.uname().machine)
        return ImageSource(self.settings, self.images, self.blobs, self.operations, host, say=say, listener=listener)

    @cached_property
    def garbage(self) -> Garbage:
        """Garbage collection, with the roots of every floor."""
        from bennu.store.gc import Garbage

        return Garbage(self.settings, self.images, self.operations, self.root_providers())

    def root_providers(self) -> list[RootProvider]:
        """What keeps images and snapshots besides names: one provider for each kind of thing above the store."""
        return [self._container_roots, self._release_roots, self._step_roots, self._failure_roots]

    @cached_property
    def build_storage(self) -> CacheStorage:
        """What the build cache takes, and what of it can go."""
        from bennu.build.storage import CacheStorage

        return CacheStorage(
            self.settings,
            self.database,
            self.snapshots,
            self.operations,
            failures=self.failures,
            others=self._needed_besides_builds,
        )

    def _needed_besides_builds(self) -> set[SnapshotId]:
        from bennu.store.gc import Garbage

        own = (self._step_roots, self._failure_roots)
        others = [provider for provider in self.root_providers() if provider not in own]
        return Garbage(self.settings, self.images, self.operations, others).needed_snapshots()

    def _step_roots(self) -> Iterator[Root]:
        """The trees that the records of steps need: building again is what costs."""
        from bennu.build.cache import StepCache
        from bennu.store.gc import Root

        yield Root("build cache", (), StepCache(self.database, self.snapshots).snapshots())

    @cached_property
    def failures(self) -> Failures:
        """Steps of builds that failed."""
        from bennu.build.failures import Failures

        return Failures(self.settings, self.snapshots)

    def _failure_roots(self) -> Iterator[Root]:
        """What failed steps had done, and what they read, as long as they are kept."""
        from bennu.store.gc import Root

        if self.settings.failures.is_dir():
            yield Root("failed steps", (), self.failures.snapshots())

    def _container_roots(self) -> Iterator[Root]:
        from bennu.runtime.containers import Containers
        from bennu.store.gc import Root

        for record in Containers(self.settings, self.database, self.snapshots).records.walk():
            images = (Digest(record.manifest),) if record.manifest else ()
            yield Root(f"container {record.name}", images, (record.snapshot,) if record.snapshot else ())

    def _release_roots(self) -> Iterator[Root]:
        """The images of the revision that is active, that is being rolled out, and of those that can come back; and
        those of saved plans.
        """
        import time

        from bennu.deploy.history import History
        from bennu.digest import short
        from bennu.store.gc import Root

        history = History(self.database)
        for digest, images in history.saved_images(time.time()).items():
            yield Root(f"saved plan {short(digest)}", images)
        for project in history.projects():
            active = history.active(project)
            sets = history.kept_sets(project, history.release(active.release).keep) if active else frozenset()
            for revision in history.revisions(project):
                if revision.state in {"active", "rolling"} or not sets.isdisjoint(revision.sets.values()):
                    yield Root(f"revision {revision.number} of {project}", tuple(history.images([revision])))

    def usage(self) -> list[Usage]:
        """What takes space, kind by kind."""
        from bennu.runtime.containers import Containers
        from bennu.runtime.usage import runtime_usage
        from bennu.store.usage import all_usage

        containers = Containers(self.settings, self.database, self.snapshots)
        return all_usage(self.images, self.garbage, runtime_usage(containers, self.database))


class Runtime(Store):
    """The containers of one root, and the store that they stand on."""

    @cached_property
    def containers(self) -> Containers:
        """Containers, with their volumes and networks."""
        from bennu.runtime.containers import Containers

        containers = Containers(self.settings, self.database, self.snapshots)
        containers.records.alias = self._replica
        return containers

    def _replica(self, name: str) -> str | None:
        """The container that a replica's name (``web.2``) means: that of the active set."""
        from bennu.engine.embedded.records import EngineRecords

        return EngineRecords(self.database).replica(name)

    @cached_property
    def builder(self) -> Builder:
        """What builds images."""
        from bennu.build.builder import Builder

        return Builder(
            self.settings,
            self.database,
            self.images,
            self.snapshots,
            operations=self.operations,
            loader=lambda: self.loader,
            runner=self._build_runner,
            allowance=self.build_storage.allowance,
            fetch=self._fetch_base,
        )

    def _fetch_base(self, always: bool, listener: Listener, name: str, platform: Platform) -> Image | None:
        """A base image; a fetch is shown as a step of the build, before all others."""
        from bennu.build.progress import Finished, Started
        from bennu.errors import NotFound

        if not always:  # what is here needs nothing of what speaks to registries
            with suppress(NotFound):
                found = self.images.find(name, platform)
                if found is not None:
                    return found
        said: list[str] = []

        def say(line: str) -> None:
            said.append(f"[internal] {line}")
            listener(Started(0, said[-1]))

        began = time.monotonic()
        try:
            return self.image_source(say).find(name, "always" if always else "missing", platform)
        finally:
            if said:
                listener(Finished(0, said[-1], seconds=time.monotonic() - began))

    @cached_property
    def failed_shell(self) -> FailedShell:
        """What opens failed steps."""
        from bennu.build.shell import FailedShell

        return FailedShell(self.settings, self.snapshots, self._build_runner())

    def _build_runner(self) -> Runner:
        """What runs a RUN: with the bridge where there can be one, else the host's network."""
        import os

        from bennu.build.running import Runner
        from bennu.runtime.networks import Networks

        networks = Networks(self.settings, self.database) if os.geteuid() == 0 else None
        return Runner(self.settings, self.snapshots, networks)


class Fleet(Runtime):
    """Projects of one root: their engine, their history, and what carries plans out.

    ``say`` is told what the engine does by itself; the agent sets it.
    """

    say: Callable[[str], None] = staticmethod(lambda _line: None)

    @cached_property
    def engine(self) -> EmbeddedEngine:
        """What runs the sets."""
        from bennu.engine.embedded.engine import EmbeddedEngine

        return EmbeddedEngine(self.settings, self.database, self.containers, self.images, say=self.say)

    @cached_property
    def history(self) -> History:
        """Releases and revisions."""
        from bennu.deploy.history import History

        return History(self.database)

    @cached_property
    def outbox(self) -> Outbox:
        """What hooks are still owed."""
        from bennu.deploy.outbox import Outbox

        return Outbox(self.database)

    def replica_files(self, project: Project, environ: Mapping[str, str]) -> dict[str, tuple[ReplicaFile, ...]]:
        """What the configs and secrets of a fleet file hold now, kept for its release; by service."""
        from bennu.deploy.contents import gather, replica_files
        from bennu.store.contents import Contents

        versions = gather(project, Contents(self.settings), environ)
        return {name: replica_files(service, versions) for name, service in project.services.items()}

    def sweep_contents(self) -> int:
        """Remove what no release has of configs and secrets, once it is old; how much went."""
        from bennu.deploy.contents import sweep
        from bennu.store.contents import Contents

        return sweep(Contents(self.settings), (release for release, _ in self.history.last_uses()), time.time())

    def deployer(self, project: str, author: str, *, news: News | None = None) -> Deployer:
        """Plans and rollouts of one project. ``author``: who is at it, for the lock and the history."""
        from bennu.deploy.apply import Deployer

        news = news or self.news(project, author)
        return Deployer(
            self.engine, self.history, self.settings.locks, project=project, author=author, news=news,
            has_image=self._has_image,
        )  # fmt: skip

    def _has_image(self, manifest: Digest) -> bool:
        return self.images.find(manifest) is not None

    def news(self, project: str, author: str, *, asks: bool = True) -> News:
        """What tells the hooks of one project's deploy. ``asks`` off: none of them can stop it."""
        from bennu.deploy.news import News

        return News(self.outbox, self.hook_environ(), project=project, author=author, asks=asks)

    def tidying(self, limit: str | None = None) -> Tidying:
        """What removes what old releases left. ``limit``: the disk budget, instead of this root's."""
        from bennu.deploy.tidying import Tidying

        return Tidying(
            self.settings,
            self.images,
            self.garbage,
            self.history,
            prune_cache=self._prune_cache,
            limit_bytes=self._disk_limit(limit or self.settings.disk_limit),
        )

    def _disk_limit(self, written: str | None) -> int | None:
        import os

        from bennu.build.limit import parse_limit

        if written is None:
            return None
        self.settings.root.mkdir(parents=True, exist_ok=True)
        status = os.statvfs(self.settings.root)
        return parse_limit(written, status.f_blocks * status.f_frsize, "disk_limit")

    def _prune_cache(self, size_bytes: int, dry_run: bool) -> int:
        entries = self.build_storage.entries()
        taken = sum(entry.size_bytes for entry in entries if not entry.is_shared)
        return self.build_storage.prune(keep_bytes=max(0, taken - size_bytes), dry_run=dry_run).size_bytes

    @cached_property
    def commits(self) -> Commits:
        """What became of commits that were pushed or followed."""
        from bennu.deploy.commits import Commits

        return Commits(self.database)

    @cached_property
    def drills(self) -> Drills:
        """What came of reprovisioning."""
        from bennu.deploy.drills import Drills

        return Drills(self.database)

    def outlook(self, project: str) -> Outlook:
        """How old the sets of a project are, when each is made again, and when it was last proven rebuildable."""
        import time

        from bennu.deploy.upkeep import outlook

        return outlook(self.history, self.drills, self.engine.observe(project), time.time())

    def chores(self, say: Callable[[str], None]) -> list[Chore]:
        """What the agent does besides tending."""
        from bennu.deploy.drift_looks import DriftWatch, telling
        from bennu.deploy.errands import Deliveries, Tidies
        from bennu.deploy.hold_chore import HoldChore
        from bennu.deploy.upkeep import Upkeep, begin_by

        return [
            Deliveries(self.outbox, self.hook_environ(), say),
            Upkeep(self.engine, self.history, self.drills, begin_by(self.settings)),
            Tidies(self.history, self.tidying, say),
            DriftWatch(self.drifts, self.history, say, telling(say, self.notify)),
            HoldChore(self.hold_keeper, self.deployer, say, self.notify),
        ]

    @cached_property
    def drifts(self) -> Drifts:
        """What looks for drift, and remembers it."""
        from bennu.deploy import agent
        from bennu.deploy.drift_looks import Drifts
        from bennu.deploy.drift_records import DriftRecords

        records = DriftRecords(self.database)
        is_running = lambda: agent.running(self.settings) is not None  # noqa: E731
        return Drifts(self.engine, self.history, records, is_running, self._upstream)

    def _upstream(self, names: Iterable[str]) -> Upstream:
        from bennu.registry.sent import Sent
        from bennu.registry.upstream import look

        return look(self.settings, self.images, Sent(self.database), names)

    def hook_environ(self) -> dict[str, str]:
        """What commands of hooks get, besides the event."""
        import os

        return {**os.environ, "BENNU_ROOT": str(self.settings.root)}

    @cached_property
    def hold_keeper(self) -> HoldKeeper:
        """What begins, renews and ends holds; its ``holds`` are the records."""
        from bennu.deploy.hold_keeper import HoldKeeper
        from bennu.deploy.holds import Holds

        return HoldKeeper(self.engine, Holds(self.database))

    def notify(
        self, project: str, event: HookEvent, *, reason: str, key: object, services: tuple[str, ...] = (),
        detail: Detail | None = None,
    ) -> int:  # fmt: skip
        """Owe an event to a project's hooks; how many there are. For the agent, which delivers them: see ``news``."""
        import time

        from bennu.deploy.news import notify

        return notify(
            self.history, self.outbox, project, event, reason=reason, key=key, services=services, detail=detail,
            now=time.time(),
        )  # fmt: skip

    def find_image(self, name: str, policy: str = "missing") -> Digest | None:
        """The manifest digest of the image that a name means, fetched as Compose's ``pull_policy`` says; or None."""
        found = self.image_source(self.say).find_by(name, policy)
        return None if found is None else found.manifest

    def image_maker(self, prototype: BuildRequest, listener: Listener) -> MakeImages:
        """What builds the images of a fleet file, as ``build_services`` does."""

        def make(wanted: Mapping[str, Wanted]) -> dict[str, Digest]:
            built = self.build_services(wanted, prototype, listener)
            return {name: each.image_here.manifest for name, each in built.items()}

        return make

    def build_services(
        self, wanted: Mapping[str, Wanted], prototype: BuildRequest, listener: Listener
    ) -> dict[str, Built]:
        """Build images of a fleet file, all at once. ``prototype`` is what they have in common: its arguments win."""
        import os

        from bennu.build.batch import build_all
        from bennu.build.service_requests import service_request

        requests = {
            name: service_request(name, each.build, each.names, prototype, os.environ) for name, each in wanted.items()
        }
        return build_all(self.builder.build, requests, listener)
