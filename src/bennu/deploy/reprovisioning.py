"""Services made again from scratch, one after the other: a fresh set from the image, or from one built for it.

Each is a rollout of its own, through the same validation and switch, and a *drill*: what came of it is recorded. A
build from scratch happens before anything is touched, and counts only if the fleet file is still the one that runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

import msgspec

from bennu.compose.canonical import canonical_json
from bennu.compose.model import Service
from bennu.deploy.apply import Deployer, Outcome, Reporter
from bennu.deploy.drills import Drill, Drills
from bennu.deploy.history import History
from bennu.deploy.planning.plan import Plan, jobs_of, next_generation
from bennu.deploy.release import Release
from bennu.deploy.states import Deadlines
from bennu.digest import Digest
from bennu.errors import BennuError, Conflict, NotFound

HINT: Final = "`bennu apply` brings it up to date first"


class Rebuilder(Protocol):
    """What builds images from scratch."""

    def services(self) -> Mapping[str, Service]:
        """The services of the fleet file as it is now, as a release has them. ``NotFound`` if it is gone."""

    def build(self, service: str) -> Digest | None:
        """Build a service's image with no cache on a new base; None for one that is not built. No name moves."""

    def name(self, service: str, image: Digest) -> None:
        """The image has proven itself: it gets the name that the file gives it."""


class GaveWay(Conflict):
    """Somebody else's deploy goes first. No drill: it says nothing about the service."""


class Reprovisioning:
    """Reprovisions services of one project. ``rebuilder`` builds their images from scratch; None takes what runs."""

    def __init__(
        self,
        deployer: Deployer,
        history: History,
        drills: Drills,
        reporter: Reporter,
        *,
        rebuilder: Rebuilder | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._deployer = deployer
        self._history = history
        self._drills = drills
        self._reporter = reporter
        self._rebuilder = rebuilder
        self._clock = clock
        self._project = deployer.project

    def services(self, names: Sequence[str]) -> tuple[str, ...]:
        """The services to reprovision, in dependency order: the named ones, or all but jobs. ``NotFound``."""
        release = self._active()[0]
        for name in names:
            if name not in release.services:
                known = ", ".join(release.services) or "none"
                raise NotFound(
                    f"service {name!r} does not run in project {self._project!r}", f"its services are {known}"
                )
        jobs = jobs_of(release)
        return tuple(
            name for wave in release.waves() for name in wave if (name in names if names else name not in jobs)
        )

    def run(
        self,
        service: str,
        *,
        wait_seconds: float | None = 0,
        deadlines: Deadlines | None = None,
        confirm: Callable[[Plan], None] = lambda _plan: None,
        scheduled: bool = False,
    ) -> Outcome:
        """Reprovision one service, and record the drill. What fails is raised after it has been recorded.

        ``scheduled``: a deploy of somebody else goes first; that is ``GaveWay`` and no drill. And where the image
        cannot be built, the fresh set comes from the one that runs: a dead mirror makes nothing older.
        """
        image = self._built(service, fall_back=scheduled)
        started = self._clock()
        try:
            with self._deployer.exclusive(self._reporter, wait_seconds=wait_seconds, yields=scheduled):
                outcome = self._roll_out(service, image, deadlines, confirm)
        except Conflict:  # somebody is at it, or something has moved: that is no verdict on the service
            raise
        except BennuError as error:
            if self._deployer.gave_way:
                raise GaveWay(f"service {service!r}: {error.message}") from error
            self._record(service, started, rebuild=image is not None, error=error)
            raise
        self._record(service, started, rebuild=image is not None, outcome=outcome)
        if image is not None and self._rebuilder is not None:
            self._rebuilder.name(service, image)
        return outcome

    def _active(self) -> tuple[Release, int]:
        active = self._history.active(self._project)
        if active is None:
            raise NotFound(f"project {self._project!r} has no active revision", "`bennu apply` starts it")
        return self._history.release(active.release), active.origin

    def _built(self, service: str, *, fall_back: bool) -> Digest | None:
        """The image that was built for a service; None where it is to come from the image that runs."""
        if self._rebuilder is None:
            return None
        started = self._clock()
        try:
            check_same(self._active()[0], self._rebuilder.services(), service)
            return self._rebuilder.build(service)
        except BennuError as error:
            if isinstance(error, Conflict) and not fall_back:
                raise  # whoever asked hears of it: nothing has been tried
            self._record(service, started, rebuild=True, error=error)
            if not fall_back:
                raise
            self._reporter.say(f"service {service}: {error.message}; a fresh set comes from the image that runs")
            return None

    def _roll_out(
        self,
        service: str,
        image: Digest | None,
        deadlines: Deadlines | None,
        confirm: Callable[[Plan], None],
    ) -> Outcome:
        running, origin = self._active()
        if service not in running.services:
            raise Conflict(f"service {service!r} runs no more in project {self._project!r}")
        wanted = running
        if image is not None:
            entry = msgspec.structs.replace(running.services[service], image=image)
            wanted = msgspec.structs.replace(running, services={**running.services, service: entry})
        observation = self._deployer.engine.observe(self._project)
        plan = self._deployer.plan(wanted, generations={service: next_generation(wanted, service, observation)})
        confirm(plan)
        return self._deployer.carry_out(
            plan,
            wanted,
            self._reporter,
            kind="reprovision",
            origin=origin if wanted.digest == running.digest else None,
            deadlines=deadlines,
        )

    def _record(
        self,
        service: str,
        started: float,
        *,
        rebuild: bool,
        outcome: Outcome | None = None,
        error: BennuError | None = None,
    ) -> None:
        self._drills.record(
            Drill(
                project=self._project,
                service=service,
                rebuild=rebuild,
                started=started,
                finished=self._clock(),
                ok=outcome is not None,
                author=self._deployer.author,
                revision=outcome.revision.number if outcome else None,
                reason=error.message if error else None,
            )
        )


def check_same(running: Release, file: Mapping[str, Service], service: str) -> None:
    """``Conflict`` where the fleet file is no longer what runs: to rebuild is to change packages and nothing else."""
    here, there = running.services.get(service), file.get(service)
    if here is None or there is None:
        raise Conflict(f"service {service!r} is no longer in the fleet file", HINT)
    before, after = (msgspec.json.decode(canonical_json(each)) for each in (here.service, there))
    changed = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
    if changed:
        raise Conflict(
            f"service {service!r}: {', '.join(changed)} in the fleet file is not what runs (the file has changed, or "
            "variables that it uses are set differently here)",
            HINT,
        )
