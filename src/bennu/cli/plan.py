"""``bennu plan``: what ``bennu apply`` would do. Builds images, and touches nothing that runs."""

from __future__ import annotations

from bennu.cli.apply import BUILDING, build_images, show_plan
from bennu.cli.command import PROFILE, PROJECT, Arguments, Command, option, switch
from bennu.cli.context import Context
from bennu.cli.fleet import author, load_project

COMMAND = Command(
    "plan",
    "Show what apply would change",
    (
        *PROJECT,
        PROFILE,
        *BUILDING,
        switch("--detailed-exitcode", help="Exit with 2 if there are changes"),
        option("--format", metavar="FORMAT", help="json, or text", choices=("json", "text"), default="text"),
    ),
    description=(
        "Builds what the file builds and compares the result with what runs. The signs: + a new set is created; -/+ a "
        "new set replaces the old one, which serves until the new one is ready; +/- the old set has to stop first; ~ "
        "missing replicas are started; - a service leaves."
    ),
    examples=(("bennu plan --detailed-exitcode", "exit with 2 if apply would change something"),),
)  # fmt: skip


def run(args: Arguments, context: Context) -> int:
    """Build, compare, print."""
    from bennu.deploy.release import resolve
    from bennu.wiring import Fleet

    project = load_project(args, context)
    with Fleet(context.settings) as fleet:
        release = resolve(project, build_images(fleet, project, args, context))
        plan = fleet.deployer(project.name, author("plan")).plan(release)
        if args.format == "json":
            from bennu.compose.canonical import canonical_json

            context.print(canonical_json(plan).decode())
            return 2 if args.detailed_exitcode and not plan.is_empty else 0
        return show_plan(plan, args, context)
