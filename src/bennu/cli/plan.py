"""``bennu plan``: what ``bennu apply`` would do. Builds images, and touches nothing that runs."""

from __future__ import annotations

import time

from bennu.cli.command import PROFILE, PROJECT, Arguments, Command, option, switch
from bennu.cli.context import Context
from bennu.cli.fleet import author
from bennu.cli.planning import BUILDING, CHOOSING, FULL, Planned, exit_status, show_plan

COMMAND = Command(
    "plan",
    "Show what apply would change",
    (
        *PROJECT,
        PROFILE,
        option("-o", "--out", metavar="FILE", help="Save the plan, for `bennu apply FILE`", complete="file"),
        *BUILDING,
        *CHOOSING,
        FULL,
        switch("--detailed-exitcode", help="Exit with 2 if there are changes"),
        option("--format", metavar="FORMAT", help="json, or text", choices=("json", "text"), default="text"),
    ),
    description=(
        "Builds what the file builds and compares the result with what runs. The signs: + a new set is created; -/+ a "
        "new set replaces the old one, which serves until the new one is ready; +/- the old set has to stop first; ~ "
        "missing replicas are started; - a service leaves. A saved plan carries everything that it needs, environments "
        "too: only its owner can read the file."
    ),
    examples=(
        ("bennu plan --detailed-exitcode", "exit with 2 if apply would change something"),
        ("bennu plan -o release.plan", "save it; `bennu apply release.plan` does just that"),
    ),
)  # fmt: skip


def run(args: Arguments, context: Context) -> int:
    """Build, compare, print, save."""
    from bennu.cli.saved_plan import check_place, write
    from bennu.deploy.planning.file import SavedPlan
    from bennu.wiring import Fleet

    place = None if args.out is None else check_place(args.out)
    with Fleet(context.settings) as fleet:
        wanted = Planned(fleet, args, context)
        wanted.build(None)
        release = wanted.release()
        plan = wanted.plan(fleet.deployer(wanted.name, author("plan")), release)
        if args.format == "json":
            import json

            from bennu.deploy.planning.details import gather
            from bennu.deploy.planning.document import document

            context.print(json.dumps(document(plan, gather(plan, fleet.images, fleet.history)), ensure_ascii=False))
        else:
            show_plan(fleet, plan, context, full=args.full)
        if place is not None:
            fleet.snapshots.sync()  # an image that a plan names has to outlive a power cut as the plan does
            write(fleet, SavedPlan(plan=plan, release=release, author=author("plan"), made=time.time()), place)
            context.say(f"Saved to {args.out}: `bennu apply {args.out}` does just that.")
        return exit_status(plan, args)
