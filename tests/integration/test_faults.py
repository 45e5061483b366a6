"""Everything beside a deploy dies, at each of its steps; the deploy does not, and comes to a good end."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bennu.config import Settings
from bennu.deploy.states import FINAL, NEXT, State
from tests.integration.fleet_world import FleetWorld, fleet_world

pytestmark = pytest.mark.root

PROGRAM = Path(__file__).with_name("harried_deploy.py")
EVERY = {state for state in NEXT if state is not State.NEW and state not in FINAL}
WITH_DATA = {State.RESTORING, State.REVERT_RESTORING}
"""What only a rollback that takes data back goes through; such rollbacks are killed elsewhere."""
BACK = {state for state in EVERY if state.name.startswith("REVERT")}
SERVE = '[httpd, -f, -p, "80", -h, /srv]'
SOON_OVER = '[sh, -c, "httpd -f -p 80 -h /srv & sleep 4"]'


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetWorld]:
    base = tmp_path_factory.mktemp("faults")
    with fleet_world(Settings.from_environ({"BENNU_ROOT": str(base / "root")}), base / "project", ("v1", "v2")) as made:
        for tune in ("old", "older", "oldest"):  # as many as are kept, and one more that goes with the next
            write(made, "v1", tune=tune)
            made.apply()
        yield made


def write(fleet: FleetWorld, version: str, *, tune: str = "", watch: str = "200ms", command: str = SERVE) -> None:
    proven = f"    x-bennu: {{validate: ['http://:80/'], canary: 200ms, watch: {watch}}}\n"
    top = ", snapshot: [data]"
    fleet.write_with_db(version, tune=tune or version, replicas=2, web=proven, command=command, top=top)


def harried(fleet: FleetWorld) -> tuple[int, set[State], str]:
    done = subprocess.run(
        [sys.executable, PROGRAM, fleet.directory], env={**fleet.world.environ, "PYTHONPATH": os.getcwd()},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    return done.returncode, {State[name] for name in done.stdout.split()}, done.stderr


def test_the_agent_and_haproxy_die_at_every_step_of_a_deploy(fleet: FleetWorld):
    write(fleet, "v2")
    status, states, errors = harried(fleet)
    assert status == 0, errors
    assert states == EVERY - BACK - WITH_DATA
    fleet.apply()  # changes nothing, and starts the agent
    fleet.assert_whole(web=2, db=1)
    assert fleet.get() == "v2"


def test_the_agent_and_haproxy_die_at_every_step_of_the_way_back(fleet: FleetWorld):
    served, other = ("v1", "v2") if fleet.serves("v1") else ("v2", "v1")
    write(fleet, served)
    fleet.apply()
    before = fleet.observe().active
    write(fleet, other, watch="30s", command=SOON_OVER)
    status, states, errors = harried(fleet)
    assert status == 1
    assert "while it was watched" in errors
    assert states >= BACK - WITH_DATA
    assert fleet.observe().active == before
    write(fleet, served)
    fleet.apply()
    fleet.assert_whole(web=2, db=1)
    assert fleet.get() == served
