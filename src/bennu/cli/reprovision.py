"""``bennu reprovision``: make services again from scratch: burn what runs, and bring it up from the image."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bennu.cli.command import PROJECT, YES, Arguments, Command, operand, switch
from bennu.cli.context import Context
from bennu.cli.fleet import DEADLINES, NO_HOOKS, author, project_name, roll_out
from bennu.cli.human import clock

if TYPE_CHECKING:
    from bennu.deploy.reprovisioning import Rebuilder, Reprovisioning
    from bennu.deploy.telling.news import News
    from bennu.wiring import Fleet

COMMAND = Command(
    "reprovision",
    "Make services again from scratch",
    (
        *PROJECT,
        operand(
            "SERVICE", dest="services", help="All but jobs if left out", required=False, repeatable=True,
            complete="service",
        ),
        YES,
        switch("--rebuild", help="Build the image first, with no cache, on today's base and packages"),
        NO_HOOKS,
        switch("--scheduled", help="Give way to every other deploy, as what the agent begins does", hidden=True),
        *DEADLINES,
    ),
    description=(
        "Brings up a fresh set of each service, the same release, beside the one that runs; it is validated, gets the "
        "traffic, and the old one goes: one service after the other. With --rebuild the image is built anew first: a "
        "drill that proves that the service can still be made from nothing. A build or a validation that fails is "
        "recorded and leaves what runs alone. x-bennu.max_age has the agent do this by itself."
    ),
    examples=(
        ("bennu reprovision web", "fresh replicas of one service"),
        ("bennu reprovision --rebuild --yes", "prove that everything can be made from scratch"),
    ),
)  # fmt: skip


def run(args: Arguments, context: Context) -> int:
    """One service after the other; the first that fails ends it."""
    from bennu.cli.rollout_progress import RolloutProgress
    from bennu.deploy.reprovisioning import Reprovisioning
    from bennu.wiring import Fleet

    name = project_name(args, context)
    reporter = RolloutProgress(context)
    who = author("agent run: reprovision" if args.scheduled else "reprovision")
    with Fleet(context.settings) as fleet:
        news = fleet.news(name, who, asks=not args.no_hooks)
        deployer = fleet.deployer(name, who, news=news)
        with rebuilder(fleet, name, news, args, context) as builds:
            work = Reprovisioning(deployer, fleet.history, fleet.drills, reporter, rebuilder=builds)
            services = work.services(args.services)
            if not services:
                context.say(f"Project {name} has no service to reprovision.")
                return 0
            context.confirm(f"Make {', '.join(services)} of project {name} again from scratch?", yes=args.yes)
            for service in services:
                _one(work, name, service, args, context)
    return 0


@contextmanager
def rebuilder(fleet: Fleet, project: str, news: News, args: Arguments, context: Context) -> Iterator[Rebuilder | None]:
    """What builds images from scratch, if that is wanted; its builds are shown on standard error."""
    from bennu.cli.build_progress import watched
    from bennu.cli.rebuilding import Rebuilding

    if not args.rebuild:
        yield None
        return
    with watched("auto", context) as listener:
        yield Rebuilding(fleet, project, news, listener, context)


def _one(work: Reprovisioning, project: str, service: str, args: Arguments, context: Context) -> None:
    from functools import partial

    started = time.monotonic()
    outcome = roll_out(args, context, partial(work.run, service, wait_seconds=args.wait, scheduled=args.scheduled))
    total = clock(time.monotonic() - started)
    number = outcome.revision.number
    context.say(f"Service {service} of {project} is made again: revision {number} is active ({total}).")
