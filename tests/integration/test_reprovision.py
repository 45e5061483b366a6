"""A service made again from scratch, by a person and by the agent, with a real fleet."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from bennu.config import Settings
from bennu.deploy import turn
from bennu.wiring import Fleet
from tests.integration.fleet_world import PROJECT, FleetWorld, fleet_world
from tests.integration.run_world import eventually

pytestmark = pytest.mark.root


@pytest.fixture
def fleet(root_settings: Settings, tmp_path: Path) -> Iterator[FleetWorld]:
    with fleet_world(root_settings, tmp_path / "project") as made:
        yield made


def built(fleet: FleetWorld, base: str, *, replicas: int = 1) -> None:
    """The service's image is built, on a base that is there or not."""
    fleet.write("v1", replicas=replicas)
    file = fleet.directory / "compose.yaml"
    file.write_text(file.read_text().replace("    image: web:v1", "    image: made\n    build: ."))
    (fleet.directory / "Dockerfile").write_text(f"FROM {base}\nCOPY page /srv/index.html\n")
    (fleet.directory / "page").write_text("made")


def test_a_person_makes_services_again_and_a_drill_that_fails_touches_nothing(fleet: FleetWorld):
    built(fleet, "web:v1", replicas=2)
    fleet.apply()
    first = fleet.observe().active["web"]
    done = fleet.succeed("reprovision", "--yes", "web")
    assert "revision 2 is active" in done.stderr
    assert fleet.observe().active["web"] == f"{first}-1"
    assert fleet.serves("made")
    fleet.assert_whole(web=2)
    done = fleet.succeed("reprovision", "--rebuild", "--yes")
    assert "the base image is taken as it is" in done.stderr
    fleet.assert_whole(web=2)
    before = fleet.observe().active
    (fleet.directory / "Dockerfile").write_text("FROM gone:v9\n")
    done = fleet.bennu("reprovision", "--rebuild", "--yes")
    assert done.returncode == 1
    assert "'gone:v9' is not in the store" in done.stderr
    assert fleet.observe().active == before
    (fleet.directory / "compose.yaml").rename(fleet.directory / "elsewhere")
    assert "is gone" in fleet.bennu("reprovision", "--rebuild", "--yes", "-p", PROJECT).stderr
    (fleet.directory / "elsewhere").rename(fleet.directory / "compose.yaml")
    (fleet.directory / "Dockerfile").write_text("FROM web:v1\n")
    fleet.directory, here = fleet.settings.root, fleet.directory  # from anywhere
    assert "revision 4 is active" in fleet.succeed("reprovision", "--rebuild", "--yes", "-p", PROJECT).stderr
    fleet.directory = here
    with Fleet(fleet.settings) as inside:
        assert [each.ok for each in inside.drills.drills(PROJECT)] == [True, False, False, True, True]
        assert inside.outlook(PROJECT).proven is not None
        assert [each.kind for each in inside.history.revisions(PROJECT)] == ["reprovision"] * 3 + ["apply"]


def test_the_agent_makes_again_what_is_too_old_whatever_the_mirror_says(fleet: FleetWorld):
    built(fleet, "web:v1")
    file = fleet.directory / "compose.yaml"
    file.write_text(file.read_text().replace("x-bennu: {keep: 2", "x-bennu: {keep: 2, max_age: 2s, rebuild: true"))
    fleet.apply()
    first = fleet.observe().active["web"]
    (fleet.directory / "Dockerfile").write_text("FROM gone:v9\n")
    pid = fleet.agent_pid()
    assert pid is not None
    eventually(lambda: fleet.observe().active["web"] == f"{first}-1", 60)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: fleet.observe().sets[fleet.observe().active["web"]].is_ready)
    file.write_text(file.read_text().replace("max_age: 2s, rebuild: true", "max_age: 7d"))
    fleet.apply("--wait", "60s", "--no-build")
    with Fleet(fleet.settings) as inside:
        drills = inside.drills.drills(PROJECT)
        assert [(each.rebuild, each.ok) for each in drills][-2:] == [(False, True), (True, False)]
        assert "bennu agent run: reprovision" in drills[-1].author
    assert fleet.serves("made")


def test_who_comes_second_hears_who_is_at_it_and_a_dead_deploy_is_taken_over(fleet: FleetWorld):
    fleet.write("v1", replicas=1)
    fleet.apply()
    fleet.write("v2", replicas=1, command='[sh, -c, "sleep 1000"]')
    first = fleet.spawn("apply", "--yes")
    eventually(lambda: "waiting until ready" in str(turn.holder(fleet.settings.locks, PROJECT)))
    for words in (("apply", "--yes", "--no-build"), ("rollback", "--yes"), ("down", "--yes"), ("reprovision", "--yes")):
        done = fleet.bennu(*words)
        assert done.returncode == 1, words
        said = f"project 'tiny' is locked by .*pid {first.pid} .bennu apply., since .*: waiting until ready"
        assert re.search(said, done.stderr), done.stderr
    fleet.kill_agent()  # it would be first to take the dead one's rollout up
    first.kill()
    first.communicate()
    fleet.write("v2", replicas=1)
    done = fleet.bennu("apply", "--yes")
    assert done.returncode == 0, done.stderr
    assert "its lock is taken over: " in done.stderr
    assert f"pid {first.pid} (bennu apply)" in done.stderr
    assert "was left unfinished" in done.stderr
    assert fleet.serves("v2")
    fleet.assert_whole(web=1)
    assert fleet.history() == [(1, "superseded"), (2, "failed"), (3, "active")]
