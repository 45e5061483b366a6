"""``bennu apply``: make what runs equal to the fleet file: build, plan, ask, roll out.

The planning and the rollout are ``bennu.deploy``'s; this file only puts the questions and shows the answers.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bennu.cli.command import PROFILE, PROJECT, YES, Arguments, Command, option, switch
from bennu.cli.context import Context
from bennu.cli.fleet import DEADLINES, NO_HOOKS, author, load_project, roll_out, wake_agent
from bennu.cli.human import clock

if TYPE_CHECKING:
    from bennu.compose.model import Project
    from bennu.deploy.plan import Plan
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

COMMAND = Command(
    "apply",
    "Make what runs equal to the Compose file",
    (
        *PROJECT,
        PROFILE,
        YES,
        *BUILDING,
        switch("--dry-run", help="Show the plan and stop"),
        switch("--detailed-exitcode", help="With --dry-run: exit with 2 if there are changes"),
        NO_HOOKS,
        *DEADLINES,
    ),
    description=(
        "Builds what the file builds, compares the result with what runs, and shows the plan. Every service that "
        "differs gets a new set of replicas beside the old one; when all of them are ready the traffic moves at once, "
        "the old connections end by themselves, and the old set is kept for `bennu rollback`. Nothing old is touched "
        "before that: when a replica does not become ready, what was started is removed and the old set goes on "
        "serving."
    ),
    examples=(
        ("bennu apply", "build, show the plan, ask, roll out"),
        ("bennu apply --yes", "the same in a script"),
        ("bennu apply --dry-run --detailed-exitcode", "exit with 2 if something would change"),
    ),
)  # fmt: skip


def run(args: Arguments, context: Context) -> int:
    """Build outside the lock; plan, ask and roll out inside it."""
    from concurrent.futures import ThreadPoolExecutor
    from contextlib import nullcontext
    from functools import partial

    from bennu.cli.rollout_progress import RolloutProgress
    from bennu.deploy.policy import origin_of, policy_of
    from bennu.deploy.release import resolve
    from bennu.wiring import Fleet

    started = time.monotonic()
    project = load_project(args, context)
    reporter = RolloutProgress(context)
    policy = policy_of(project, origin_of(project, tuple(args.profiles)))
    with Fleet(context.settings) as fleet:
        news = fleet.news(project.name, author("apply"), asks=not args.no_hooks)
        around = (
            nullcontext()
            if args.dry_run or args.no_build
            else news.building(policy, tuple(project.services), reporter.say)
        )
        with around:
            release = resolve(project, build_images(fleet, project, args, context))
        deployer = fleet.deployer(project.name, author("apply"), news=news)
        if args.dry_run:
            return show_plan(deployer.plan(release), args, context)
        with deployer.exclusive(reporter, wait_seconds=args.wait):
            plan = deployer.plan(release, policy=policy)
            if plan.is_empty and _is_current(fleet, project.name, release.digest):
                fleet.history.set_policy(project.name, policy)
                show_plan(plan, args, context)
                wake_agent(context)
                return 0
            show_plan(plan, args, context)
            if not plan.is_empty:
                context.confirm(f"Apply this plan to project {project.name}?", yes=args.yes)
            # what was built goes to the disk beside the rollout, and is there before this command says that it is done
            with ThreadPoolExecutor(1) as beside:
                beside.submit(fleet.snapshots.sync)
                outcome = roll_out(args, context, partial(deployer.carry_out, plan, release, reporter))
        total = clock(time.monotonic() - started)
        context.say(f"Revision {outcome.revision.number} of {project.name} is active ({total}).")
    return 0


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


def show_plan(plan: Plan, args: Arguments, context: Context) -> int:
    """The plan on standard output; the exit status that ``--detailed-exitcode`` asks for."""
    from bennu.deploy.plan_text import render

    for line in render(plan):
        context.print(line)
    context.stdout.flush()
    return 2 if args.detailed_exitcode and not plan.is_empty else 0


def _is_current(fleet: Fleet, project: str, release: Digest) -> bool:
    active = fleet.history.active(project)
    return active is not None and active.release == release
