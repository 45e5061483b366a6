"""A whole fleet through the command line: applied, edited, rolled back, broken, killed, taken down."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bennu.config import Settings
from tests.integration.fleet_world import FleetWorld, fleet_world
from tests.integration.switch_load import Load

pytestmark = pytest.mark.root


@pytest.fixture
def fleet(root_settings: Settings, tmp_path: Path) -> Iterator[FleetWorld]:
    with fleet_world(root_settings, tmp_path / "project") as made:
        yield made


def test_an_edit_and_a_rollback_fail_no_request(fleet: FleetWorld):
    fleet.write("v1")
    fleet.apply()
    assert fleet.get() == "v1"
    fleet.write("v2")
    with Load(fleet.port, posts=False, pause_seconds=0.005) as load:
        load.await_requests(50)
        fleet.apply()
        load.await_that(lambda: load.answers["v2"] > 50)
        fleet.succeed("rollback", "--yes")
        before = load.answers["v2"]
        load.await_requests(50)
        assert load.answers["v2"] == before
    assert load.problems == []
    assert fleet.get() == "v1"
    fleet.assert_whole(web=3)
    assert fleet.history() == [(1, "superseded"), (2, "superseded"), (3, "active")]


def test_an_unchanged_file_keeps_the_revision(fleet: FleetWorld):
    fleet.write("v1", replicas=1)
    fleet.apply()
    before = fleet.observe()
    done = fleet.apply()
    assert "no changes" in done.stdout
    assert fleet.observe().sets.keys() == before.sets.keys()
    assert fleet.history() == [(1, "active")]
    assert fleet.bennu("apply", "--dry-run", "--detailed-exitcode").returncode == 0
    fleet.write("v2", replicas=1)
    assert fleet.bennu("apply", "--dry-run", "--detailed-exitcode").returncode == 2
    assert fleet.bennu("plan", "--detailed-exitcode").returncode == 2
    assert fleet.history() == [(1, "active")]
