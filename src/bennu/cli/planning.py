"""From a fleet file to a plan on the screen: what ``plan`` and ``apply`` have in common.

``Planned`` reads the file, builds what moves, and makes the release; the plan itself is made under the lock by whoever
carries it out. The work is ``bennu.deploy``'s.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from bennu.cli.command import Arguments, option, switch
from bennu.cli.context import Context
from bennu.cli.fleet import author, load_project

if TYPE_CHECKING:
    from bennu.compose.model import Project
    from bennu.deploy.apply import Deployer
    from bennu.deploy.planning.plan import Plan
    from bennu.deploy.planning.replacing import Replacing
    from bennu.deploy.planning.targets import Selection
    from bennu.deploy.policy import Policy
    from bennu.deploy.release import Release
    from bennu.deploy.telling.news import News
    from bennu.digest import Digest
    from bennu.wiring import Fleet

BUILDING = (
    switch("--no-build", help="Take the images that are there"),
    switch("--no-cache", help="Run every step of every build again"),
    option(
        "--progress", metavar="KIND", help="How builds are shown", choices=("auto", "plain", "tty", "quiet", "rawjson"),
        default="auto", environ="BUILDKIT_PROGRESS",
    ),
)  # fmt: skip

CHOOSING = (
    option(
        "--target", metavar="SERVICE", dest="targets", help="Only this service, and what it cannot do without",
        repeatable=True, complete="service",
    ),
    option(
        "--replace", metavar="NAME", dest="replaced", help="Make this service or replica (web.2) again from scratch",
        repeatable=True, complete="service",
    ),
)  # fmt: skip

FULL = switch("--full", help="Show every package and every path that changes in an image")


class Planned:
    """The fleet file of a command line and what it asks for."""

    def __init__(self, fleet: Fleet, args: Arguments, context: Context) -> None:
        self._fleet = fleet
        self._args = args
        self._context = context
        from bennu.deploy.release import check_served

        self.project: Project = load_project(args, context)
        check_served(self.project)

    @property
    def name(self) -> str:
        """The project's name."""
        return self.project.name

    @cached_property
    def policy(self) -> Policy:
        """What the file says of the project as a whole."""
        import os

        from msgspec.structs import replace

        from bennu.deploy.policy import origin_of, policy_of

        origin = origin_of(self.project, tuple(self._args.profiles))
        # who reads them again works elsewhere; what came by a pipe cannot be read again
        files = tuple(map(os.path.abspath, origin.files)) if "-" not in self._args.files else ()
        origin = replace(origin, files=files)
        known = {name: getattr(self._args, name, None) for name in ("commit", "reference", "repository")}
        return policy_of(self.project, replace(origin, **known))

    @cached_property
    def replacing(self) -> Replacing:
        """What is made again though nothing differs. ``NotFound`` for what there is not."""
        from bennu.deploy.planning.replacing import parse
        from bennu.errors import Usage

        found = parse(self._args.replaced, self.project.services)
        for service in (*found.services, *(service for service, _ in found.replicas)):
            if self.selection is not None and service not in self.selection.moving:
                raise Usage(f"service {service!r} is to be replaced, and is not among the targets")
        return found

    def _select(self) -> Selection | None:
        from bennu.deploy.planning.targets import select

        if not self._args.targets:
            return None
        active = self._fleet.engine.observe(self.name).active
        return select(self.project.services, self._args.targets, active)

    @cached_property
    def selection(self) -> Selection | None:
        """Which services move, None for all."""
        return self._select()

    @cached_property
    def _moving(self) -> Project:
        import msgspec

        if self.selection is None:
            return self.project
        services = {name: one for name, one in self.project.services.items() if name in self.selection.moving}
        return msgspec.structs.replace(self.project, services=services)

    def build(self, news: News | None) -> None:
        """Build what moves, or look its images up; hooks that want to be told of a build are."""
        from contextlib import nullcontext

        _ = self.replacing  # what is misspelt is said before anything is built
        telling = (
            nullcontext()
            if news is None or self._args.no_build
            else news.building(self.policy, tuple(self._moving.services), self._context.say)
        )
        with telling:
            self.images = build_images(self._fleet, self._moving, self._args, self._context)
        self.files = self._fleet.replica_files(self._moving, self._context.environ)

    def release(self) -> Release:
        """The release: as the file says, or what runs with the chosen services as the file says.

        ``Conflict`` where what runs has moved so that other services would have been chosen.
        """
        from bennu.deploy.planning.targets import merged
        from bennu.deploy.release import resolve
        from bennu.errors import Conflict

        release = resolve(self._moving, self.images, self.files)
        if self.selection is None:
            return release
        if self._select() != self.selection:
            raise Conflict(f"project {self.name!r}: other services run than when this began", "run it again")
        active = self._fleet.history.active(self.name)
        running = None if active is None else self._fleet.history.release(active.release)
        return merged(release, running, self._fleet.engine.observe(self.name), self.selection)

    def plan(self, deployer: Deployer, release: Release) -> Plan:
        """What has to change."""
        scope = None if self.selection is None else self.selection.line
        return deployer.plan(release, policy=self.policy, replacing=self.replacing, scope=scope)


def deployer_of(fleet: Fleet, project: str, args: Arguments, verb: str) -> tuple[Deployer, News]:
    """What carries plans out, and who is told of it."""
    news = fleet.news(project, author(verb), asks=not args.no_hooks)
    return fleet.deployer(project, author(verb), news=news), news


def build_images(fleet: Fleet, project: Project, args: Arguments, context: Context) -> dict[str, Digest]:
    """The image of each service, built where the file says so, all at once."""
    from bennu.build.origins import NoFiles
    from bennu.build.request import BuildRequest
    from bennu.cli.build_progress import watched
    from bennu.cli.build_request import source_date_epoch
    from bennu.deploy.images import resolve_images

    if args.no_build:
        return resolve_images(project, fleet.find_image, None)
    prototype = BuildRequest(context=NoFiles(), use_cache=not args.no_cache, epoch=source_date_epoch(context))
    with watched(args.progress, context) as listener:
        return resolve_images(project, fleet.find_image, fleet.image_maker(prototype, listener))


def show_plan(fleet: Fleet, plan: Plan, context: Context, *, full: bool = False, inside: bool = True) -> None:
    """The plan on standard output, with what is known of it besides; ``inside`` images only where there is time."""
    from bennu.deploy.planning.details import gather
    from bennu.deploy.planning.text import render

    for line in render(plan, gather(plan, fleet.images if inside else None, fleet.history), full=full):
        context.print(line)
    holds = fleet.hold_keeper.holds.living(plan.project)
    if holds:
        from bennu.deploy.hold.keeper import this_moment
        from bennu.deploy.hold.lease import plan_lines

        context.print()
        for line in plan_lines(holds, this_moment()):
            context.print(line)
    context.stdout.flush()


def exit_status(plan: Plan, args: Arguments) -> int:
    """What ``--detailed-exitcode`` asks for."""
    return 2 if args.detailed_exitcode and not plan.is_empty else 0
