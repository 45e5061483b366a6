"""The containers of one root, and the builder: what stands on the store."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING

from bennu.wiring.store import Store

if TYPE_CHECKING:
    from bennu.build.builder import Builder
    from bennu.build.progress import Listener
    from bennu.build.running import Runner
    from bennu.build.shell import FailedShell
    from bennu.oci.platform import Platform
    from bennu.runtime.containers import Containers
    from bennu.store.images import Image


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
