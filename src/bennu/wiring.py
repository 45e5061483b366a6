"""Wiring: the one place that chooses implementations and puts them together for one root.

``Store`` is the ground floor; what stands above adds its own class here. Parts are made at first use, so a verb pays
only for what it touches, and everything that was opened closes with the object. The verbs and the agent start here;
nothing below imports this module.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Self

from bennu.config import Settings

if TYPE_CHECKING:
    from bennu.runtime.containers import Containers
    from bennu.store.archive_loader import Loader
    from bennu.store.blobs import FileBlobs
    from bennu.store.database import Database
    from bennu.store.images import Images
    from bennu.store.layers import Layers
    from bennu.store.operations import Operations
    from bennu.store.snapshots import Snapshots


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


class Runtime(Store):
    """The containers of one root, and the store that they stand on."""

    @cached_property
    def containers(self) -> Containers:
        """Containers, with their volumes and networks."""
        from bennu.runtime.containers import Containers

        return Containers(self.settings, self.database, self.snapshots)
