"""``bennu agent install``: the agent as a unit of systemd."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Final

from bennu.cli.command import Arguments, Command, option, switch
from bennu.cli.context import Context

UNIT: Final = "bennu-agent.service"
TEMPLATE: Final = """\
[Unit]
Description=bennu agent: health checks, restarts and kept sets of the fleet
Documentation=man:bennu(1)
After=network-online.target local-fs.target
Wants=network-online.target
RequiresMountsFor={root}

[Service]
Type=notify
ExecStart={command} --root {root} agent run
Restart=always
RestartSec=1
# Containers outlive the agent: stopping or restarting it must end nothing but itself. When the host goes down it stops
# them, each as it is meant to be, and that may take as long as they are given.
KillMode=process
TimeoutStopSec=3min
Delegate=yes
OOMScoreAdjust=-500

[Install]
WantedBy=multi-user.target
"""

COMMAND = Command(
    "agent install",
    "Install the agent as a unit of systemd",
    (
        option(
            "--directory", metavar="DIR", help="Where the unit goes", default="/etc/systemd/system",
            complete="directory",
        ),
        switch("--print", dest="only_print", help="Print the unit and stop"),
        switch("--no-start", help="Write the unit, neither enable nor start it"),
    ),
    description="Writes the unit, then enables and starts it. Running it again brings the unit up to date.",
)  # fmt: skip


def run(args: Arguments, context: Context) -> int:
    """Write the unit and hand it to systemd."""
    from bennu.errors import Unavailable
    from bennu.host import files, process

    text = unit(command(), context.settings.root)
    if args.only_print:
        context.stdout.write(text)
        return 0
    path = Path(args.directory) / UNIT
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_atomic(path, text.encode())
    context.say(f"Wrote {path}.")
    if args.no_start:
        return 0
    if not Path("/run/systemd/system").is_dir():
        raise Unavailable(
            "systemd does not run on this host",
            "the unit is written; without systemd `bennu apply` starts the agent by itself",
        )
    for words in (("daemon-reload",), ("enable", UNIT), ("restart", UNIT)):
        process.run(("systemctl", *words))
    context.say(f"{UNIT} is enabled and runs.")
    return 0


def unit(program: str, root: Path) -> str:
    """The unit's text."""
    return TEMPLATE.format(command=program, root=root)


def command() -> str:
    """The command line that starts this bennu: its installed program, else this Python with the package."""
    found = shutil.which("bennu", path=os.path.dirname(sys.executable)) or shutil.which("bennu")
    return found or f"{sys.executable} -m bennu"
