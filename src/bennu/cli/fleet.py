"""What the verbs of a fleet share: the fleet file of this command line, a rollout's deadlines, and the agent.

The verbs themselves stand in files of their own; the work in ``bennu.deploy``.
"""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from bennu.cli.command import Arguments, option, switch
from bennu.cli.context import Context
from bennu.cli.values import duration_seconds
from bennu.errors import BennuError

if TYPE_CHECKING:
    from bennu.compose.model import Project
    from bennu.deploy.apply import Outcome

WAIT = option(
    "--wait", metavar="TIME", help="How long to wait for another deploy of the project", default=0.0,
    convert=duration_seconds,
)  # fmt: skip

DEADLINES = (
    WAIT,
    option(
        "--timeout", metavar="TIME", help="How long a set may take until it is ready", default=300.0,
        convert=duration_seconds,
    ),
    option(
        "--drain", metavar="TIME", help="How long old connections may take to end", default=30.0,
        convert=duration_seconds,
    ),
)  # fmt: skip
"""For verbs that roll out."""


NO_HOOKS = switch("--no-hooks", help="Let no hook stop this; they are called beside it")


def load_project(args: Arguments, context: Context) -> Project:
    """The fleet file that ``-f``, ``-p`` and the directory mean, after its notices have been told."""
    from bennu.compose.load import load

    profiles = getattr(args, "profiles", ())
    project = load(args.files, environ=context.environ, name=args.project, profiles=profiles)
    for notice in project.notices:
        context.say(f"warning: {notice}")
    return project


def project_name(args: Arguments, context: Context) -> str:
    """The project's name alone: of ``-p``, else of the fleet file, which need not be right in everything else."""
    from bennu.compose.sources import name_of_project

    return args.project or name_of_project(args.files, environ=context.environ)


def author(verb: str) -> str:
    """Who is at it, for the lock and the history: ``root@host, pid 42 (bennu apply)``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.geteuid())
    return f"{user}@{socket.gethostname()}, pid {os.getpid()} (bennu {verb})"


def wake_agent(context: Context) -> None:
    """Make sure that the agent runs and looks again. Trouble with it is told: what serves goes on serving."""
    from bennu.deploy.agent import ensure_running

    try:
        ensure_running(context.settings)
    except BennuError as error:
        context.say(f"warning: {error.message}: no health checks and no restarts until `bennu agent run` runs")


def roll_out(args: Arguments, context: Context, carry_out: Callable[..., Outcome]) -> Outcome:
    """Call ``carry_out`` (a ``Deployer``'s, its other arguments bound) with this command line's ``DEADLINES``.

    The agent probes what is tried and watched, and takes up what is left if this process is killed. What ran before a
    failure needs its care as well, so it is woken either way.
    """
    from bennu.deploy.agent import running
    from bennu.deploy.states import Deadlines

    if running(context.settings) is None:
        wake_agent(context)
    try:
        outcome = carry_out(deadlines=Deadlines(ready_seconds=args.timeout, drain_seconds=args.drain))
    finally:
        wake_agent(context)
    for note in outcome.notes:
        context.say(f"warning: after the switch: {note}")
    return outcome
