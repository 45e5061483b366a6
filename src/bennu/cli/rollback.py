"""``bennu rollback``: an earlier revision's images and configuration go back into service."""

from __future__ import annotations

import time

from bennu.cli.command import PROJECT, YES, Arguments, Command, operand, switch
from bennu.cli.context import Context
from bennu.cli.fleet import DEADLINES, NO_HOOKS, author, project_name, roll_out
from bennu.cli.human import clock
from bennu.cli.planning import FULL, show_plan
from bennu.cli.values import count

COMMAND = Command(
    "rollback",
    "Put an earlier revision back into service",
    (
        *PROJECT,
        operand("REVISION", help="Its number; the last good one if left out", convert=count, required=False),
        switch("--with-data", help="Take the data of `x-bennu.snapshot` volumes back too, as that revision left them"),
        YES,
        FULL,
        NO_HOOKS,
        *DEADLINES,
    ),
    description=(
        "Goes back to the release of an earlier revision: its images, its configuration, everything. A set that is "
        "still warm only has to be given the traffic; a stopped one is started and proven first. A rollback is a "
        "revision of its own: history is appended to, never rewritten. A revision that failed is never picked.\n\n"
        "With --with-data the volumes that are snapshotted go back too: what would be lost is listed first; all that "
        "changes is stopped, the data change places at one stroke, and the old code starts. The data that were there "
        "are kept as the snapshot of the revision that is left, so that `rollback` to that one with --with-data undoes "
        "it. Of the active revision itself it takes back the data alone."
    ),
    examples=(
        ("bennu rollback", "back to what served before"),
        ("bennu rollback 3", "back to revision 3"),
        ("bennu rollback 3 --with-data", "code and data together"),
    ),
)  # fmt: skip


def run(args: Arguments, context: Context) -> int:
    """Find the revision, plan against what runs, ask, roll out."""
    from functools import partial

    from bennu.cli.data_loss import show_loss, snapshots_to_restore
    from bennu.cli.rollout_progress import RolloutProgress
    from bennu.deploy.policy import returned
    from bennu.wiring import Fleet

    started = time.monotonic()
    name = project_name(args, context)
    reporter = RolloutProgress(context)
    with Fleet(context.settings) as fleet:
        news = fleet.news(name, author("rollback"), asks=not args.no_hooks)
        deployer = fleet.deployer(name, author("rollback"), news=news)
        with deployer.exclusive(reporter, wait_seconds=args.wait):
            target = fleet.history.rollback_target(name, args.revision, same=args.with_data)
            release = fleet.history.release(target.release)
            policy = returned(fleet.history.policy(name), target.origin_of_release)
            restore = snapshots_to_restore(fleet, name, target, args.revision) if args.with_data else {}
            plan = deployer.plan(release, policy=policy, restore={volume: one.id for volume, one in restore.items()})
            if restore:
                show_loss(fleet, restore, context)
            show_plan(fleet, plan, context, full=args.full, inside=args.full)
            back = " with its data" if restore else ""
            context.confirm(f"Roll project {name} back to revision {target.number}{back}?", yes=args.yes)
            outcome = roll_out(
                args,
                context,
                partial(deployer.carry_out, plan, release, reporter, kind="rollback", origin=target.number),
            )
        total = clock(time.monotonic() - started)
        number = outcome.revision.number
        context.say(f"Revision {number} of {name} is active: back to revision {target.number} ({total}).")
        if plan.data is not None and plan.data.restore:
            undo = f"bennu rollback {plan.data.leaving} --with-data"
            context.say(f"The data that were there are kept for revision {plan.data.leaving}: {undo} brings them back.")
    return 0
