"""A deploy that stops and waits to be cut off: ``stopping_deploy.py STATE enter|leave``, in the fleet's directory.

``enter``: on entering the state, before its commands run. ``leave``: when the first of its commands has been done,
before the machine hears of it. The host is told by a datagram (``obey``); then nothing goes on.
"""

import os
import socket
import sys
import time

from bennu.compose.load import load
from bennu.config import Settings
from bennu.deploy.images import resolve_images
from bennu.deploy.release import resolve
from bennu.deploy.states import Deadlines, State
from bennu.wiring import Fleet


class Stopper:
    def __init__(self, state, moment):
        self.wanted, self.moment, self.now = state, moment, None

    def state(self, state):
        self.now = state
        self.at("enter")

    def done(self, action, receipt, seconds):
        self.at("leave")

    def failed(self, action, error):
        print(type(action).__name__, error, file=sys.stderr)

    def progress(self, action, line):
        pass

    def say(self, line):
        print(line, file=sys.stderr)

    def at(self, moment):
        if self.now is self.wanted and moment == self.moment:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.sendto(self.now.name.encode(), "/run/obey.sock")
            time.sleep(1000)


def main(state, moment):
    project = load((), environ=dict(os.environ), name=None, profiles=())
    with Fleet(Settings.from_environ({})) as fleet:
        release = resolve(project, resolve_images(project, fleet.find_image, None))
        deployer = fleet.deployer(project.name, f"pid {os.getpid()} (to be cut off)")
        stopper = Stopper(State[state], moment)
        with deployer.exclusive(stopper, wait_seconds=60):
            deployer.carry_out(deployer.plan(release), release, stopper, deadlines=Deadlines(ready_seconds=120))


main(*sys.argv[1:])
