"""``bennu agent run``: the agent in the foreground; what the service manager, or ``bennu apply``, starts."""

from __future__ import annotations

import signal

from bennu.cli.command import Arguments, Command, switch
from bennu.cli.context import Context
from bennu.cli.fleet import author

COMMAND = Command(
    "agent run",
    "Tend the fleet: health checks, restarts, kept sets",
    (switch("--until-idle", help="End when no project is left"),),
    description=(
        "Runs in the foreground until SIGTERM. One agent a state directory; a second one refuses to start. Killing it "
        "loses nothing: containers and the switch go on, and the next agent carries on from the store."
    ),
)


def run(args: Arguments, context: Context) -> int:
    """Tend until a signal says stop."""
    from bennu.cli.rollout_progress import RolloutProgress
    from bennu.deploy.agent import Agent
    from bennu.wiring import Fleet

    reporter = RolloutProgress(context)
    with Fleet(context.settings) as fleet:
        fleet.say = reporter.say
        agent = Agent(
            context.settings,
            fleet.engine,
            fleet.history,
            lambda project: fleet.deployer(project, author("agent run")),
            reporter,
            chores=fleet.chores(reporter.say),
            until_idle=args.until_idle,
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: agent.stop())
        agent.run()
    return 0
