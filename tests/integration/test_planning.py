"""Saved plans, targets and replacements on a fleet that really runs."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from bennu.config import Settings
from bennu.oci.reference import parse_reference
from bennu.wiring import Fleet
from tests.integration.fleet_world import FleetWorld, fleet_world
from tests.integration.switch_load import Load

pytestmark = pytest.mark.root

API = """\
  api:
    image: web:v1
    command: [httpd, -f, -p, "80", -h, /srv]
    environment: {{TUNE: "{tune}"}}
    stop_signal: SIGKILL
"""


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetWorld]:
    base = tmp_path_factory.mktemp("planning")
    with fleet_world(Settings.from_environ({"BENNU_ROOT": str(base / "root")}), base / "project") as made:
        made.write("v1", replicas=2)
        made.apply()
        yield made


@pytest.fixture(autouse=True)
def standing(fleet: FleetWorld) -> None:
    """Each test begins with two replicas of the first version."""
    fleet.write("v1", replicas=2)
    fleet.apply()


def containers(fleet: FleetWorld) -> dict[str, str]:
    seen = fleet.observe()
    return {one.name: one.container for name in seen.active.values() for one in seen.sets[name].replicas}


def test_a_saved_plan_does_just_that_and_only_once(fleet: FleetWorld, tmp_path: Path):
    fleet.write("v2", replicas=2)
    saved, unused = str(tmp_path / "a.plan"), str(tmp_path / "b.plan")
    for file in (saved, unused):
        done = fleet.succeed("plan", "-o", file)
        assert "-/+ web" in done.stdout
        assert "~ /srv/index.html" in done.stdout
    assert Path(saved).stat().st_mode & 0o777 == 0o600
    fleet.write("v3", replicas=1)  # what the file says now is of no interest
    assert "-/+ web" in fleet.succeed("apply", saved, "--dry-run").stdout
    done = fleet.succeed("apply", saved)  # nobody is asked
    assert fleet.get() == "v2"
    fleet.assert_whole(web=2)
    with Fleet(fleet.settings) as inside:
        source = inside.history.active("tiny").source
        assert (source.file, "bennu plan" in source.author) == (saved, True)
    again = fleet.bennu("apply", unused)
    assert again.returncode == 1
    assert re.search(
        r"made at revision \d+, and since then came revision \d+ \(apply, active\) by .*bennu apply", again.stderr
    )
    assert fleet.bennu("apply", saved, "-p", "other").returncode == 1


def test_a_saved_plan_is_refused_when_what_runs_has_moved(fleet: FleetWorld, tmp_path: Path):
    fleet.write("v2", replicas=2)
    saved = str(tmp_path / "a.plan")
    fleet.succeed("plan", "-o", saved)
    fleet.stop_agent()
    fleet.succeed("rm", "-f", "web.2")
    done = fleet.bennu("apply", saved)
    assert done.returncode == 1
    assert "what runs has changed since: replica 2 of set web-" in done.stderr
    fleet.apply("--no-build")  # nothing was begun


def test_images_of_saved_plans_stay(fleet: FleetWorld, tmp_path: Path):
    fleet.image("v9")
    fleet.write("v9", replicas=2)
    saved = str(tmp_path / "a.plan")
    fleet.succeed("plan", "-o", saved)
    assert "is used by saved plan" in fleet.bennu("rmi", "web:v9").stderr
    fleet.image("v8")
    with Fleet(fleet.settings) as inside:  # the name goes to another image; nothing but the plan holds this one
        inside.images.tag(inside.images.resolve("web:v8").manifest, parse_reference("web:v9"))
    fleet.succeed("gc")
    fleet.succeed("apply", saved)
    assert fleet.get() == "v9"

    fleet.image("v7")
    fleet.write("v7", replicas=2)
    fleet.succeed("plan", "-o", saved)
    with Fleet(fleet.settings) as inside, inside.database.transaction() as rows:
        rows.execute("UPDATE saved_plans SET created = 0")  # as after a week
    fleet.succeed("rmi", "web:v7")
    done = fleet.bennu("apply", saved)
    assert done.returncode == 1
    assert "of service 'web' is gone from the store" in done.stderr
    assert f"bennu plan -o {saved}" in done.stderr


def test_only_a_target_moves(fleet: FleetWorld):
    fleet.write("v1", replicas=2, extra=API.format(tune=1))
    fleet.apply()
    before = fleet.observe().active
    fleet.write("v2", replicas=2, extra=API.format(tune=2))
    done = fleet.apply("--target", "api")
    assert "Scope: only api; left as they are: web" in done.stdout
    after = fleet.observe().active
    assert (after["web"], after["api"] != before["api"]) == (before["web"], True)
    assert fleet.get() == "v1"
    assert "-/+ web" in fleet.bennu("plan").stdout
    assert "api" not in fleet.bennu("plan").stdout.split("Steps")[0].replace("unchanged: api", "")
    fleet.succeed("rollback", "--yes")  # the release was honest: it brings both back as they were
    assert fleet.observe().active == before


def test_one_replica_is_made_again_and_no_request_fails(fleet: FleetWorld):
    before = containers(fleet)
    history = fleet.history()
    with Load(fleet.port, posts=False, pause_seconds=0.005) as load:
        load.await_requests(50)
        done = fleet.apply("--replace", "web.2")
        load.await_requests(50)
    assert load.problems == []
    assert "~ web.2: make this replica again" in done.stdout
    after = containers(fleet)
    assert (after["web.1"], after["web.2"] != before["web.2"]) == (before["web.1"], True)
    assert fleet.history() == history
    assert "no changes" in fleet.succeed("plan").stdout


def test_a_whole_service_is_made_again(fleet: FleetWorld):
    before = fleet.observe().active
    with Load(fleet.port, posts=False, pause_seconds=0.005) as load:
        load.await_requests(20)
        fleet.apply("--replace", "web")
    assert load.problems == []
    assert fleet.observe().active["web"].startswith(before["web"].rsplit("-", 1)[0])
    assert fleet.observe().active != before
    fleet.assert_whole(web=2)
    assert "no changes" in fleet.succeed("plan").stdout
    assert fleet.bennu("plan", "--detailed-exitcode").returncode == 0


def test_history_releases_diff_and_status_tell_the_same_story(fleet: FleetWorld):
    fleet.write("v2", replicas=2)
    fleet.apply()
    good = fleet.history()[-1][0]
    fleet.write("v3", replicas=2, command='[sh, -c, "echo no such database; exit 3"]')
    failed = fleet.bennu("apply", "--yes")
    assert failed.returncode == 1
    report = failed.stderr.splitlines()
    for line in (
        "  step: waiting until ready",
        f"hint: `bennu history {good + 1}` shows how it went",
    ):
        assert line in report, failed.stderr
    assert any(line.startswith("  untouched: web (web-") for line in report)
    assert any(line.startswith("  | web.") and line.endswith(" | no such database") for line in report)  # either of two

    lines = fleet.succeed("history").stdout.splitlines()
    assert lines[1].split()[0] == str(good + 1)
    assert "failed, bad" in lines[1]
    detail = fleet.succeed("history", str(good + 1)).stdout
    assert "bad: no rollback picks it" in detail
    assert "waiting until ready" in detail
    releases = fleet.succeed("releases").stdout.splitlines()
    assert "bad: replica web." in releases[1]
    assert " active " in releases[2]
    assert fleet.bennu("rollback", str(good + 1), "--yes").returncode == 1

    difference = fleet.succeed("diff", str(good), str(good + 1)).stdout
    assert f"From revision {good} to revision {good + 1}:" in difference
    assert "~ /srv/index.html" in difference
    fleet.write("v2", replicas=2)
    assert fleet.succeed("diff").stdout == "Nothing differs between what is active and the Compose file.\n"
    assert fleet.bennu("diff", "--detailed-exitcode", str(good), str(good + 1)).returncode == 2
    assert fleet.bennu("diff", "nothing").returncode == 1

    for _ in range(3):
        fleet.get()
    seen = json.loads(fleet.succeed("status", "--format", "json").stdout)
    active = next(one for one in seen["sets"] if one["role"] == "active")
    assert (seen["well"], seen["revision"]["number"], active["ready"]) == (True, good, 2)
    assert active["requests"] >= 3
    watching = fleet.spawn("status", "--watch", "--interval", "100ms", "--format", "json")
    assert [json.loads(watching.stdout.readline())["project"] for _ in range(2)] == ["tiny", "tiny"]
    watching.send_signal(signal.SIGINT)
    assert watching.wait(20) == 0
