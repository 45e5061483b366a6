"""``bennu apply``: make what runs equal to the fleet file, or carry a saved plan out.

The planning and the rollout are ``bennu.deploy``'s; this file only puts the questions and shows the answers.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bennu.cli.command import PROFILE, PROJECT, YES, Arguments, Command, operand, option, switch
from bennu.cli.context import Context
from bennu.cli.fleet import DEADLINES, NO_HOOKS, roll_out, wake_agent
from bennu.cli.human import clock
from bennu.cli.planning import BUILDING, CHOOSING, FULL, Planned, deployer_of, exit_status, show_plan

if TYPE_CHECKING:
    from bennu.deploy.apply import Deployer
    from bennu.deploy.history import Source
    from bennu.deploy.planning.plan import Plan
    from bennu.deploy.release import Release
    from bennu.wiring import Fleet

COMMIT = (
    option("--commit", metavar="ID", help="The commit that the file is of", hidden=True),
    option("--reference", metavar="NAME", help="The branch or tag that the commit was at", hidden=True),
    option("--repository", metavar="URL", help="Where the commit is from", hidden=True),
    option("--by", metavar="TEXT", help="What the author is said to do", default="apply", hidden=True),
)
"""For what deploys commits by itself."""

COMMAND = Command(
    "apply",
    "Make what runs equal to the Compose file",
    (
        *PROJECT,
        operand(
            "FILE", dest="plan", help="A saved plan (`bennu plan -o FILE`) to carry out", required=False,
            complete="file",
        ),
        PROFILE,
        YES,
        switch("--ask", help="Ask before a saved plan is carried out, too"),
        *BUILDING,
        *CHOOSING,
        switch("--dry-run", help="Show the plan and stop"),
        switch("--detailed-exitcode", help="With --dry-run: exit with 2 if there are changes"),
        FULL,
        NO_HOOKS,
        *DEADLINES,
        *COMMIT,
    ),
    description=(
        "Builds what the file builds, compares the result with what runs, and shows the plan. Every service that "
        "differs gets a new set of replicas beside the old one; when all of them are ready the traffic moves at once, "
        "the old connections end by themselves, and the old set is kept for `bennu rollback`. Nothing old is touched "
        "before that: when a replica does not become ready, what was started is removed and the old set goes on "
        "serving. A saved plan is carried out as it is: nothing is built and nobody is asked, and it is refused when "
        "anything that it was made from has moved since."
    ),
    examples=(
        ("bennu apply", "build, show the plan, ask, roll out"),
        ("bennu apply --yes", "the same in a script"),
        ("bennu apply --dry-run --detailed-exitcode", "exit with 2 if something would change"),
        ("bennu apply release.plan", "do just what was planned"),
        ("bennu apply --target web", "this service only"),
        ("bennu apply --replace web.2", "burn this replica and make it again from the image"),
    ),
)  # fmt: skip


def run(args: Arguments, context: Context) -> int:
    """From a saved plan or from the fleet file."""
    from bennu.wiring import Fleet

    with Fleet(context.settings) as fleet:
        road = _Road(fleet, args, context)
        return road.from_file() if args.plan is None else road.from_saved()


class _Road:
    """One run of the verb."""

    def __init__(self, fleet: Fleet, args: Arguments, context: Context) -> None:
        from bennu.cli.rollout_progress import RolloutProgress

        self._started = time.monotonic()
        self._fleet = fleet
        self._args = args
        self._context = context
        self._reporter = RolloutProgress(context)

    def from_file(self) -> int:
        """Build outside the lock; plan, ask and roll out inside it."""
        wanted = Planned(self._fleet, self._args, self._context)
        deployer, news = deployer_of(self._fleet, wanted.name, self._args, self._args.by)
        wanted.build(None if self._args.dry_run else news)
        if self._args.dry_run:
            return self._show(wanted.plan(deployer, wanted.release()))
        with deployer.exclusive(self._reporter, wait_seconds=self._args.wait):
            release = wanted.release()
            plan = wanted.plan(deployer, release)
            self._show(plan)
            if self._is_done(plan):
                self._fleet.history.set_policy(wanted.name, wanted.policy)
                wake_agent(self._context)
                return 0
            self._confirm(plan, yes=self._args.yes)
            self._carry_out(deployer, plan, release)
        return 0

    def from_saved(self) -> int:
        """Just what a saved plan says, or nothing."""
        from bennu.cli.saved_plan import check, read
        from bennu.deploy.history import Source
        from bennu.deploy.planning.file import digest

        _refuse_choices(self._args)
        saved = read(self._args.plan)
        check(saved, self._args, self._context, self._fleet)
        plan = saved.plan
        deployer, _ = deployer_of(self._fleet, plan.project, self._args, "apply")
        if self._args.dry_run:
            deployer.check(plan)
            return self._show(plan)
        with deployer.exclusive(self._reporter, wait_seconds=self._args.wait):
            deployer.check(plan)
            self._show(plan)
            if self._is_done(plan):
                return 0
            self._confirm(plan, yes=self._args.yes or not self._args.ask)
            source = Source(file=self._args.plan, digest=digest(saved), author=saved.author)
            self._carry_out(deployer, plan, saved.release, source)
        return 0

    def _show(self, plan: Plan) -> int:
        show_plan(self._fleet, plan, self._context, full=self._args.full)
        return exit_status(plan, self._args)

    def _is_done(self, plan: Plan) -> bool:
        """Nothing has to change, and the release is recorded as the active one."""
        active = self._fleet.history.active(plan.project)
        return plan.is_empty and active is not None and active.release == plan.release

    def _confirm(self, plan: Plan, *, yes: bool) -> None:
        if not plan.is_empty:
            self._context.confirm(f"Apply this plan to project {plan.project}?", yes=yes)

    def _carry_out(self, deployer: Deployer, plan: Plan, release: Release, source: Source | None = None) -> None:
        from concurrent.futures import ThreadPoolExecutor
        from functools import partial

        # what was built goes to the disk beside the rollout, and is there before this command says that it is done
        with ThreadPoolExecutor(1) as beside:
            beside.submit(self._fleet.snapshots.sync)
            carry_out = partial(deployer.carry_out, plan, release, self._reporter, source=source)
            outcome = roll_out(self._args, self._context, carry_out)
        total = clock(time.monotonic() - self._started)
        again = f", with {', '.join(one.name for one in plan.renew)} made again" if plan.renew else ""
        self._context.say(f"Revision {outcome.revision.number} of {plan.project} is active{again} ({total}).")


def _refuse_choices(args: Arguments) -> None:
    """``Usage`` for flags that choose what a saved plan has chosen already."""
    from bennu.errors import Usage

    chosen = {"no_build": "no-build", "no_cache": "no-cache", "targets": "target", "replaced": "replace",
              "profiles": "profile"}  # fmt: skip
    for name, flag in chosen.items():
        if getattr(args, name):
            raise Usage(f"--{flag} is for a new plan: saved plan {args.plan!r} is carried out as it is")
