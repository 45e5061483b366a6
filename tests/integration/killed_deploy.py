"""A deploy that kills itself: ``killed_deploy.py DIRECTORY STATE enter|leave|all``, with BENNU_ROOT in the environment.

``enter``: on entering the state, before its commands run. ``leave``: when the first of its commands has been done,
before the machine hears of it. ``all``: as ``enter``, and the agent and every HAProxy of the root are killed first.
"""

from __future__ import annotations

import os
import signal
import sys

from bennu.compose.extension import Hook, Hooks
from bennu.compose.load import load
from bennu.config import Settings
from bennu.deploy.images import resolve_images
from bennu.deploy.policy import Policy
from bennu.deploy.release import resolve
from bennu.deploy.states import Deadlines, State
from bennu.engine.actions import Action, Receipt
from bennu.wiring import Fleet

ASKED = (Hook(command=("true",), blocking=True),)
POLICY = Policy(hooks=Hooks(post_validate=ASKED, pre_switch=ASKED))


class Killer:
    def __init__(self, state: State, moment: str, others: list[int]) -> None:
        self._wanted, self._moment, self._state, self._others = state, moment, State.NEW, others

    def state(self, state: State) -> None:
        self._state = state
        if state is self._wanted and self._moment == "all":
            for pid in self._others:
                os.kill(pid, signal.SIGKILL)
            self._moment = "enter"
        self._at("enter")

    def done(self, action: Action, receipt: Receipt, seconds: float) -> None:
        self._at("leave")

    def failed(self, action: Action, error: Exception) -> None:
        self._at("leave")

    def progress(self, action: Action, line: str) -> None:
        pass

    def say(self, line: str) -> None:
        sys.stdout.write(line)

    def _at(self, moment: str) -> None:
        if self._state is self._wanted and moment == self._moment:
            os.kill(os.getpid(), signal.SIGKILL)


def main(directory: str, state: str, moment: str, *others: str) -> None:
    os.chdir(directory)
    project = load((), environ=dict(os.environ), name=None, profiles=())
    with Fleet(Settings.from_environ(os.environ)) as fleet:
        release = resolve(project, resolve_images(project, fleet.find_image, None))
        deployer = fleet.deployer(project.name, f"pid {os.getpid()} (killed)")
        killer = Killer(State[state], moment, [int(pid) for pid in others])
        taken = fleet.engine.snapshots(project.name) if state.endswith("RESTORING") else ()
        restore = {one.volume: one.id for one in taken}
        with deployer.exclusive(killer):
            plan = deployer.plan(release, policy=POLICY, restore=restore)
            deployer.carry_out(plan, release, killer, deadlines=Deadlines(ready_seconds=20))


if __name__ == "__main__":
    main(*sys.argv[1:])
