"""``bennu down``: take a project off this engine; volumes only if asked."""

from __future__ import annotations

import threading
import time

from bennu.cli.command import PROJECT, YES, Arguments, Command, switch
from bennu.cli.context import Context
from bennu.cli.fleet import WAIT, author, project_name

COMMAND = Command(
    "down",
    "Stop and remove a project",
    (
        *PROJECT,
        YES,
        switch("-v", "--volumes", help="Remove its volumes and their data too"),
        WAIT,
    ),
    description="Images, volumes (without -v) and the history stay: `bennu apply` brings the project up again.",
    examples=(("bennu down --yes", "take the project down without asking"),),
)  # fmt: skip


def run(args: Arguments, context: Context) -> int:
    """Ask, remove, end the history's active revision."""
    from bennu.cli.rollout_progress import RolloutProgress
    from bennu.deploy.agent import poke
    from bennu.engine.actions import RemoveProject
    from bennu.wiring import Fleet

    name = project_name(args, context)
    reporter = RolloutProgress(context)
    with Fleet(context.settings) as fleet:
        deployer = fleet.deployer(name, author("down"))
        with deployer.exclusive(reporter, wait_seconds=args.wait, recover=False):
            if name not in fleet.engine.projects():
                fleet.history.end(name)
                context.say(f"Project {name} is not running.")
                return 0
            data = ", its volumes and their data" if args.volumes else ""
            held = [hold.name for hold in fleet.hold_keeper.holds.living(name)]
            more = f", {', '.join(held)} included, which {'is' if len(held) == 1 else 'are'} held" if held else ""
            context.confirm(f"Stop and remove project {name}{data}{more}?", yes=args.yes)
            action = RemoveProject(project=name, volumes=args.volumes)
            receipt = fleet.engine.execute(action, lambda line: reporter.progress(action, line), threading.Event())
            fleet.history.end(name)
            fleet.hold_keeper.holds.end_all(name, "the project was taken down", time.time())
            reporter.say(f"Project {name}: {receipt.summary}.")
        poke(context.settings)
    return 0
