"""Projects of one root: what stands on the containers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from bennu.digest import Digest
from bennu.wiring.runtime import Runtime

if TYPE_CHECKING:
    from bennu.build.progress import Listener
    from bennu.build.request import BuildRequest, Built
    from bennu.compose.extension import HookEvent
    from bennu.compose.model import Project
    from bennu.deploy.apply import Deployer
    from bennu.deploy.commits import Commits
    from bennu.deploy.drift.looks import Drifts
    from bennu.deploy.drills import Drills
    from bennu.deploy.errands import Chore
    from bennu.deploy.history import History
    from bennu.deploy.hold.keeper import HoldKeeper
    from bennu.deploy.images import MakeImages, Wanted
    from bennu.deploy.telling.news import Detail, News
    from bennu.deploy.telling.outbox import Outbox
    from bennu.deploy.tidying import Tidying
    from bennu.deploy.upkeep import Outlook
    from bennu.engine.embedded.engine import EmbeddedEngine
    from bennu.engine.sets import ReplicaFile
    from bennu.registry.upstream import Upstream


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
        from bennu.deploy.telling.outbox import Outbox

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
        from bennu.deploy.telling.news import News

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
        from bennu.deploy.drift.looks import DriftWatch, telling
        from bennu.deploy.errands import Deliveries, Tidies
        from bennu.deploy.hold.chore import HoldChore
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
        from bennu.deploy.drift.looks import Drifts
        from bennu.deploy.drift.records import DriftRecords

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
        from bennu.deploy.hold.keeper import HoldKeeper
        from bennu.deploy.hold.records import Holds

        return HoldKeeper(self.engine, Holds(self.database))

    def notify(
        self, project: str, event: HookEvent, *, reason: str, key: object, services: tuple[str, ...] = (),
        detail: Detail | None = None,
    ) -> int:  # fmt: skip
        """Owe an event to a project's hooks; how many there are. For the agent, which delivers them: see ``news``."""
        import time

        from bennu.deploy.telling.news import notify

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
