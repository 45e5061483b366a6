"""The ground floor: the store of one root, and what collects its garbage."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Self

from bennu.config import Settings
from bennu.digest import Digest

if TYPE_CHECKING:
    from bennu.build.failures import Failures
    from bennu.build.storage import CacheStorage
    from bennu.registry.pull import Listener as TransferListener
    from bennu.registry.source import ImageSource
    from bennu.store.archive_loader import Loader
    from bennu.store.base import SnapshotId
    from bennu.store.blobs import FileBlobs
    from bennu.store.database import Database
    from bennu.store.gc import Garbage, Root, RootProvider
    from bennu.store.images import Images
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
        from bennu.registry.sent import Sent
        from bennu.registry.source import ImageSource

        host = platform_of_machine(os.uname().machine)
        return ImageSource(
            self.settings,
            self.images,
            self.blobs,
            self.operations,
            sent=Sent(self.database),
            host=host,
            say=say,
            listener=listener,
        )

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
