"""What the verbs of a fleet share: the fleet file of this command line, and the agent that keeps the clock.

The verbs themselves stand in files of their own; the work in ``bennu.deploy``.
"""

from __future__ import annotations

import getpass
import os
import socket
from typing import TYPE_CHECKING

from bennu.cli.command import Arguments
from bennu.cli.context import Context
from bennu.errors import BennuError

if TYPE_CHECKING:
    from bennu.compose.model import Project


def load_project(args: Arguments, context: Context) -> Project:
    """The fleet file that ``-f``, ``-p`` and the directory mean, after its notices have been told."""
    from bennu.compose.load import load

    profiles = getattr(args, "profiles", ())
    project = load(args.files, environ=context.environ, name=args.project, profiles=profiles)
    for notice in project.notices:
        context.say(f"warning: {notice}")
    return project


def project_name(args: Arguments, context: Context) -> str:
    """The project's name alone: of ``-p``, else of the fleet file."""
    return args.project or load_project(args, context).name


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
