"""Canaries and temperatures through the command line, under load: good, bad, killed, frozen."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from bennu.config import Settings
from tests.integration.fleet_world import FleetWorld, fleet_world, wait_for
from tests.integration.run_world import eventually
from tests.integration.switch_load import Load

pytestmark = pytest.mark.root

BAD = """\
#!/bin/sh
n=$(($(cat /tmp/n 2>/dev/null || echo 0) + 1))
echo $n > /tmp/n
if [ $((n % 20)) = 0 ]; then printf 'Status: 500 Broken\\r\\n\\r\\n'; else printf '\\r\\nbad'; fi
"""
"""Every twentieth answer is an error: httpd asks it where there is no index."""


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetWorld]:
    base = tmp_path_factory.mktemp("canary")
    with fleet_world(Settings.from_environ({"BENNU_ROOT": str(base / "root")}), base / "project") as made:
        made.world.image("web:bad", files={"srv/cgi-bin/index.cgi": BAD})
        made.write("v1", replicas=2)
        made.apply()
        yield made


@pytest.fixture
def fleet(once: FleetWorld) -> FleetWorld:
    """What it stands on serves v1 from two replicas."""
    once.write("v1", replicas=2)
    once.apply()
    return once


def canary(text: str) -> str:
    return f"    x-bennu: {{canary: {{{text}}}}}\n"


def shares(fleet: FleetWorld) -> set[int]:
    return {found.share for found in fleet.observe().sets.values()}


def test_a_good_canary_is_switched_to_and_no_request_fails(fleet: FleetWorld):
    fleet.write("v2", replicas=2, web=canary("weight: 50%, for: 2s, compare: {errors: 0, p99: 10s}, min_requests: 20"))
    with Load(fleet.port, posts=False, pause_seconds=0.005) as load:
        load.await_requests(50)
        done = fleet.apply()
        old = load.answers["v1"]
        load.await_requests(50)
    assert load.problems == []
    assert load.answers["v1"] == old
    assert "answers, 0 failed (0.0%), 99% within" in done.stderr
    assert shares(fleet) == {0}
    fleet.assert_whole(web=2)


def test_a_canary_that_nobody_asks_says_so_and_fails_where_that_was_wanted(fleet: FleetWorld):
    fleet.write("v3", replicas=1, web=canary("for: 300ms"))
    assert "only 0 requests in 0.3 s, too few to tell" in fleet.apply().stderr
    fleet.write("v2", replicas=1, web=canary("for: 300ms, min_requests: 5"))
    done = fleet.bennu("apply", "--yes")
    assert done.returncode != 0
    assert "only 0 requests in 0.3 s, and min_requests asks for 5" in done.stderr
    assert fleet.serves("v3")
    fleet.assert_whole(web=1)


def test_a_canary_with_five_percent_errors_is_taken_back(fleet: FleetWorld):
    before = fleet.observe().active
    fleet.write("bad", replicas=2, web=canary("weight: 50%, for: 60s, max_errors: 1%"))
    with Load(fleet.port, posts=False, pause_seconds=0.002) as load:
        load.await_requests(50)
        done = fleet.bennu("apply", "--yes")
        bad = load.answers["bad"]
        load.await_requests(50)
    assert done.returncode != 0
    assert "canary web-" in done.stderr
    assert "answers failed" in done.stderr
    assert "at most 1% is allowed" in done.stderr
    assert "it was reverted" in done.stderr
    assert load.answers["bad"] == bad > 0
    assert all("500" in problem for problem in load.problems), load.problems
    assert fleet.observe().active == before
    assert fleet.serves("v1")
    fleet.assert_whole(web=2)
    number, state = fleet.history()[-1]
    assert state == "failed"
    assert fleet.bennu("rollback", "--yes", str(number)).returncode != 0


def test_what_is_killed_during_a_canary_leaves_the_old_set_active(fleet: FleetWorld):
    before = fleet.observe().active
    new = "    environment: {NEW: set}\n"  # one that served before would not be tried
    fleet.write("v2", replicas=2, web=canary("weight: 50%, for: 60s") + new)
    deploy = fleet.spawn("apply", "--yes")
    eventually(lambda: shares(fleet) == {0, 50}, 30)
    assert "canary 50%" in fleet.bennu("status").stdout
    for pid in fleet.pids("haproxy"):
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: fleet.serves("v1") or fleet.serves("v2"))
    assert fleet.observe().active == before
    deploy.kill()
    wait_for(deploy)
    eventually(lambda: shares(fleet) == {0}, 30)  # the agent takes it up
    eventually(lambda: fleet.history()[-1][1] == "failed")
    assert {fleet.get() for _ in range(20)} == {"v1"}
    assert fleet.observe().active == before
    fleet.assert_whole(web=2)


def test_a_canary_that_ends_is_taken_back(fleet: FleetWorld):
    over = '[sh, -c, "httpd -f -p 80 -h /srv & sleep 3"]'
    fleet.write("v2", replicas=1, web=canary("for: 60s"), command=over)
    done = fleet.bennu("apply", "--yes")
    assert done.returncode != 0
    assert "as a canary" in done.stderr
    assert fleet.serves("v1")
    fleet.assert_whole(web=2)


def test_a_kept_set_is_frozen_comes_back_under_load_and_is_stopped_after_a_reboot(
    root_settings: Settings, tmp_path: Path
):
    with fleet_world(root_settings, tmp_path / "project") as fleet:
        for version in ("v1", "v2"):
            fleet.write(version, replicas=2, warm="0s")
            fleet.apply()
        kept = next(name for name in fleet.observe().sets if name != fleet.observe().active["web"])
        eventually(lambda: fleet.observe().sets[kept].temperature == "frozen")
        assert "frozen" in fleet.bennu("status").stdout
        with Load(fleet.port, posts=False, pause_seconds=0.005) as load:
            load.await_requests(50)
            fleet.succeed("rollback", "--yes")
            load.await_requests(50)
        assert load.problems == []
        assert fleet.serves("v1")
        assert {replica.restarts for replica in fleet.observe().sets[kept].replicas} == {0}
        other = next(name for name in fleet.observe().sets if name != kept)
        eventually(lambda: fleet.observe().sets[other].temperature == "frozen")
        fleet.kill_agent()
        fleet.lose_the_host()
        assert fleet.observe().sets[other].temperature == "stopped"
        with fleet.running_agent():
            eventually(lambda: fleet.serves("v1"))
            fleet.succeed("rollback", "--yes", "2")
            assert fleet.serves("v2")
            fleet.assert_whole(web=2)
