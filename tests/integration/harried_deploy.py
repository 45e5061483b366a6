"""A deploy beside which everything else dies: ``harried_deploy.py DIRECTORY``, with BENNU_ROOT in the environment.

On entering each state, before its commands run, the agent and every HAProxy of the root are killed with SIGKILL. The
states are written to standard output, one a line; ends with 1 and the error if the rollout does.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from killed_deploy import POLICY

from bennu.compose.load import load
from bennu.config import Settings
from bennu.deploy import agent
from bennu.deploy.images import resolve_images
from bennu.deploy.release import resolve
from bennu.deploy.states import Deadlines, State
from bennu.engine.actions import Action, Receipt
from bennu.errors import BennuError
from bennu.wiring import Fleet


class Harrier:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def state(self, state: State) -> None:
        sys.stdout.write(f"{state.name}\n")
        for pid in self._others():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _others(self) -> list[int]:
        who = agent.running(self._settings)
        found = [int(who.split()[-1])] if who else []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                if os.path.basename(words[0]) == b"haproxy" and any(
                    self._settings.key.encode() in each for each in words
                ):
                    found.append(int(pid))
        return found

    def done(self, action: Action, receipt: Receipt, seconds: float) -> None:
        pass

    def failed(self, action: Action, error: Exception) -> None:
        sys.stderr.write(f"{type(action).__name__}: {error}\n")

    def progress(self, action: Action, line: str) -> None:
        pass

    def say(self, line: str) -> None:
        sys.stderr.write(f"{line}\n")


def main(directory: str) -> int:
    os.chdir(directory)
    project = load((), environ=dict(os.environ), name=None, profiles=())
    settings = Settings.from_environ(os.environ)
    with Fleet(settings) as fleet:
        release = resolve(project, resolve_images(project, fleet.find_image, None))
        deployer = fleet.deployer(project.name, f"pid {os.getpid()} (harried)")
        harrier = Harrier(settings)
        with deployer.exclusive(harrier):
            try:
                deployer.carry_out(
                    deployer.plan(release, policy=POLICY), release, harrier, deadlines=Deadlines(ready_seconds=20)
                )
            except BennuError as error:
                sys.stderr.write(f"{error}\n")
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
