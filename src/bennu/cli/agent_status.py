"""``bennu agent status``: whether the agent runs."""

from __future__ import annotations

from bennu.cli.command import Arguments, Command
from bennu.cli.context import Context

COMMAND = Command(
    "agent status",
    "Say whether the agent runs",
    description="Exits with 0 if it runs and with 1 if it does not.",
)


def run(args: Arguments, context: Context) -> int:
    """Look at the agent's lock."""
    del args
    from bennu.deploy.agent import running

    agent = running(context.settings)
    context.print(agent or "not running")
    return 0 if agent else 1
