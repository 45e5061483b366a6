"""``bennu system reset``: a state directory goes, with its projects, containers, networks and images."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from bennu.cli.command import YES, Arguments, Command
from bennu.cli.context import Context

if TYPE_CHECKING:
    from bennu.wiring import Fleet

AGENT_SECONDS: Final = 10.0

COMMAND = Command(
    "system reset",
    "Remove everything in a state directory",
    (YES,),
    description=(
        "Stops the agent, takes every project down, removes every container, network and volume of this state "
        "directory, and then the directory itself. Other state directories are not touched."
    ),
)


def run(args: Arguments, context: Context) -> int:
    """Ask, then remove from the top floor down."""
    from bennu.host import files
    from bennu.wiring import Fleet

    settings = context.settings
    if not settings.database.exists() and not settings.run.exists():
        context.say(f"Nothing is in {settings.root}.")
        return 0
    context.confirm(f"Remove everything in {settings.root}, data of volumes included?", yes=args.yes)
    _stop_agent(context)
    with Fleet(settings) as fleet:
        _empty(fleet)
    files.remove_tree(settings.run)
    files.remove_tree(settings.root)
    context.say(f"Removed {settings.root}.")
    return 0


def _stop_agent(context: Context) -> None:
    from bennu.deploy.agent import running
    from bennu.errors import Unavailable

    deadline = time.monotonic() + AGENT_SECONDS
    told = ""
    while (agent := running(context.settings)) is not None:
        pid = agent.rpartition(" ")[2]
        if agent != told and pid.isdigit():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGTERM)
            told = agent
        if time.monotonic() > deadline:
            raise Unavailable(f"the agent ({agent}) does not end", "stop its service, then try again")
        time.sleep(0.02)


def _empty(fleet: Fleet) -> None:
    from bennu.engine.actions import RemoveProject

    for project in fleet.engine.projects():
        fleet.engine.execute(RemoveProject(project=project, volumes=True), lambda _line: None, threading.Event())
    for container in fleet.containers.list():
        fleet.containers.remove(container.id, force=True, volumes=True)
    networks = fleet.containers.networks
    for owner in networks.owners():
        networks.detach(owner)
    for network in networks.walk():
        networks.remove(network.name)
