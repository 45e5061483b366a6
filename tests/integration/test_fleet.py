"""A whole fleet through the command line: applied, edited, rolled back, broken, killed, taken down."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bennu.config import Settings
from bennu.deploy.states import FINAL, NEXT, State
from bennu.host import locks
from bennu.host.network import free_port
from tests.integration.fleet_world import PROJECT, FleetWorld, fleet_world, wait_for
from tests.integration.run_world import eventually
from tests.integration.switch_load import Load

pytestmark = pytest.mark.root


@pytest.fixture
def fleet(root_settings: Settings, tmp_path: Path) -> Iterator[FleetWorld]:
    with fleet_world(root_settings, tmp_path / "project") as made:
        yield made


@pytest.fixture
def standing(once: FleetWorld) -> FleetWorld:
    once.write_with_db("v1", tune="2", replicas=3)
    return once


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetWorld]:
    """A fleet of three replicas and a database that stands through several tests; each leaves it whole."""
    base = tmp_path_factory.mktemp("standing")
    with fleet_world(Settings.from_environ({"BENNU_ROOT": str(base / "root")}), base / "project") as made:
        made.write_with_db("v1", replicas=3)
        made.apply()
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


def test_an_unchanged_file_keeps_the_revision(standing: FleetWorld):
    fleet = standing
    fleet.apply()
    before, history = fleet.observe(), fleet.history()
    done = fleet.apply()
    assert "no changes" in done.stdout
    assert fleet.observe().active == before.active
    assert fleet.bennu("apply", "--dry-run", "--detailed-exitcode").returncode == 0
    fleet.write_with_db("v2", tune="2", replicas=3)
    assert fleet.bennu("apply", "--dry-run", "--detailed-exitcode").returncode == 2
    assert fleet.bennu("plan", "--detailed-exitcode").returncode == 2
    assert fleet.bennu("apply").returncode != 0  # there is nobody to ask
    assert fleet.history() == history
    assert fleet.observe().sets.keys() == before.sets.keys()


def test_who_writes_a_volume_is_replaced_with_a_gap(standing: FleetWorld):
    fleet = standing
    fleet.write_with_db("v1", tune="3", replicas=3)
    before = fleet.observe()
    done = fleet.apply()
    assert "+/- db" in done.stdout
    assert "stop-first" in done.stdout
    fleet.assert_whole(web=3, db=1)
    after = fleet.observe()
    assert after.active["web"] == before.active["web"]
    assert after.active["db"] != before.active["db"]
    assert after.sets[before.active["db"]].temperature == "stopped"


def test_killed_processes_come_back(standing: FleetWorld):
    fleet = standing
    fleet.apply()  # whatever the tests before have left
    before = fleet.observe()
    fleet.kill_agent()
    assert fleet.serves("v1")
    said = fleet.apply()  # changes nothing but starts the agent
    assert fleet.agent_pid() is not None, (said, (fleet.settings.root / "agent.log").read_text())

    for pid in fleet.pids("haproxy"):
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: fleet.serves("v1"))
    assert fleet.observe().active == before.active

    name = before.active["web"]
    old = before.sets[name].replicas
    fleet.succeed("kill", "web.1")
    fleet.succeed("rm", "--force", "web.2")

    def came_back() -> bool:
        web = fleet.observe().sets[name]
        return web.is_ready and web.replicas[0].started != old[0].started and web.replicas[1] != old[1]

    eventually(came_back)
    fleet.assert_whole(web=3, db=1)


def test_replicas_cannot_be_changed_and_find_each_other(standing: FleetWorld):
    fleet = standing
    done = fleet.bennu("exec", "web.1", "touch", "/x")
    assert done.returncode == 1
    assert "Read-only file system" in done.stderr
    assert fleet.succeed("exec", "web.1", "touch", "/tmp/x").stderr == ""
    assert fleet.succeed("exec", "db.1", "wget", "-qO-", "http://web/").stdout == "v1"
    hosts = fleet.succeed("exec", "db.1", "cat", "/etc/hosts").stdout
    addresses = {replica.address for each in fleet.observe().sets.values() for replica in each.replicas}
    (stable,) = re.findall(r"^(\S+)\s+web$", hosts, re.MULTILINE)
    assert stable not in addresses


def test_a_second_deploy_says_who_is_at_it(standing: FleetWorld):
    fleet = standing
    fleet.apply()
    gate = fleet.directory / "gate"
    gate.mkdir(exist_ok=True)
    fleet.write_with_db(
        "v1",
        tune="2",
        command='[sh, -c, "until test -e /gate/open; do sleep 0.05; done; exec httpd -f -p 80 -h /srv"]',
        web='    volumes: ["./gate:/gate:ro"]',
    )
    first = fleet.spawn("apply", "--yes")
    lock = fleet.settings.locks / f"deploy-{PROJECT}.lock"
    eventually(lambda: f"pid {first.pid} " in (locks.holder(lock) or ""))
    second = fleet.bennu("apply", "--yes")
    assert second.returncode != 0
    assert f"pid {first.pid} (bennu apply)" in second.stderr
    third = fleet.spawn("apply", "--yes", "--wait", "1m")
    (gate / "open").touch()
    assert [wait_for(each)[0] for each in (first, third)] == [0, 0]
    fleet.assert_whole(web=1, db=1)


API = """\
  api:
    image: web:{version}
    command: [httpd, -f, -p, "80", -h, /srv]
    expose: ["80"]
    stop_signal: SIGKILL
"""


def test_a_test_server_is_validated_among_the_candidates_of_its_own_release(fleet: FleetWorld):
    def write(version: str, wanted: str) -> None:
        asks = f'[sh, -c, "wget -qO- http://api/ | grep -qx {wanted}"]'
        checks = (
            f"[{{http: 'http://:80/', contains: {version}}}, {{command: {asks}}}, {{script: [./check.sh, {version}]}}]"
        )
        fleet.write(
            version,
            replicas=2,
            web=f"    depends_on: [api]\n    x-bennu: {{validate: {checks}}}\n",
            extra=API.format(version=version),
        )

    script = fleet.directory / "check.sh"
    script.write_text('#!/bin/sh\necho checking $BENNU_SERVICE at $BENNU_ADDRESS\ntest "$1" != v3\n')
    script.chmod(0o755)
    write("v1", "v1")
    fleet.apply()
    write("v2", "v2")
    fleet.apply()
    assert fleet.serves("v2")
    assert fleet.succeed("exec", "web.1", "wget", "-qO-", "http://api/").stdout == "v2"
    before = fleet.observe().active

    write("v3", "v2")  # whoever asks for the active set's answer gets the candidate's
    done = fleet.bennu("apply", "--yes")
    assert done.returncode != 0
    assert "validation 2 of 3 of replica web.1" in done.stderr
    assert "ended with exit status 1" in done.stderr
    write("v3", "v3")
    done = fleet.bennu("apply", "--yes")
    assert done.returncode != 0
    assert "check.sh v3 ended with exit status 1" in done.stderr
    assert "checking web at 10." in done.stderr
    assert fleet.observe().active == before
    assert fleet.serves("v2")
    fleet.assert_whole(web=2, api=1)


def test_a_set_that_falls_over_while_it_is_watched_is_taken_back(fleet: FleetWorld):
    fleet.write("v1", replicas=2)
    fleet.apply()
    before = fleet.observe().active
    fleet.write("v2", replicas=2, web="    x-bennu: {watch: 20s}\n", command=SOON_OVER)
    done = fleet.bennu("apply", "--yes")
    assert done.returncode != 0
    assert "while it was watched" in done.stderr
    assert fleet.serves("v1")
    assert fleet.observe().active == before
    fleet.assert_whole(web=2)
    assert [state for _, state in fleet.history()] == ["active", "failed"]


COMING = """\
  api:
    image: web:v3
    command: [httpd, -f, -p, "80", -h, /srv]
    expose: ["80"]
    depends_on: {migrate: {condition: service_completed_successfully}}
    stop_signal: SIGKILL
  migrate:
    image: web:v1
    command: [sh, -c, "echo done > /data/migrated"]
    volumes: [data:/data]
    restart: "no"
volumes:
  data:
"""


def test_services_come_and_go(fleet: FleetWorld):
    fleet.write("v1", replicas=1)
    fleet.apply()
    web = fleet.observe().active["web"]
    fleet.write("v1", replicas=1, extra=COMING)
    fleet.apply()
    seen = fleet.observe()
    assert seen.active["web"] == web  # it has not been touched, and yet it knows the new names
    assert fleet.succeed("exec", "web.1", "wget", "-qO-", "http://api/").stdout == "v3"
    (job,) = seen.sets[seen.active["migrate"]].replicas
    assert (job.state, job.exit_status) == ("exited", 0)
    assert "no changes" in fleet.apply().stdout
    assert fleet.observe().sets[seen.active["migrate"]].replicas == (job,)  # it ran once

    before, fleet.port = fleet.port, free_port("127.0.0.1")
    fleet.write("v1", replicas=2)
    done = fleet.apply()
    assert "- api: remove" in done.stdout
    fleet.assert_whole(web=2)
    assert fleet.serves("v1")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", before))
    hosts = fleet.succeed("exec", "web.2", "cat", "/etc/hosts").stdout
    assert re.search(r"\sweb$", hosts, re.MULTILINE)
    assert not re.search(r"\s(api|migrate)$", hosts, re.MULTILINE)

    fleet.succeed("rollback", "--yes")
    assert fleet.observe().active.keys() == {"web", "api", "migrate"}
    assert fleet.succeed("exec", "web.1", "wget", "-qO-", "http://api/").stdout == "v3"
    fleet.succeed("down", "--yes", "--volumes")
    assert fleet.bennu("ps", "--all", "--quiet").stdout == ""


def test_a_port_that_is_taken_changes_nothing(standing: FleetWorld):
    fleet = standing
    fleet.apply()
    before = fleet.observe()
    with socket.create_server(("127.0.0.1", 0)) as other:
        port, fleet.port = fleet.port, other.getsockname()[1]
        fleet.write_with_db("v2", tune="2", replicas=1)
        fleet.port = port
        done = fleet.bennu("apply", "--yes")
    assert done.returncode != 0
    assert "in use" in done.stderr
    assert fleet.observe().active == before.active
    assert fleet.serves("v1")
    fleet.assert_whole(web=3, db=1)


# every state of the rollout's own table that has something to do; the end of each is the beginning of the next
STATES = [state for state in NEXT if state is not State.NEW and state not in FINAL]
MOMENTS = [(state, "enter") for state in STATES] + [(State.RETIRING, "leave"), (State.REVERT_REMOVING, "leave")]
MOMENTS += [(State.CANARYING, "leave")]
MOMENTS += [
    (state, "all") for state in (State.PROVING, State.CANARYING, State.SWITCHING, State.DRAINING, State.REVERT_STARTING)
]
GOING_BACK = {State.YIELDING, State.ADOPTING, State.DRAINING, State.REVERT_SWITCHING}


SNAPSHOTS = ", snapshot: [data]"


@pytest.fixture(scope="module")
def killing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetWorld]:
    base = tmp_path_factory.mktemp("killing")
    with fleet_world(Settings.from_environ({"BENNU_ROOT": str(base / "root")}), base / "project") as made:
        for version in ("v2", "v1"):  # the second one leaves a snapshot
            made.write_with_db(version, replicas=2, web=proof(), top=SNAPSHOTS)
            made.apply()
        yield made


def proof(tune: str = "", watch: str = "100ms") -> str:
    """Lines of a service that has its test server validated, a canary and a watch; another ``tune`` is another set."""
    proven = f"    x-bennu: {{validate: ['http://:80/'], canary: 200ms, watch: {watch}}}\n"
    return f'{proven}    environment: {{TUNE: "{tune}"}}\n'


SOON_OVER = '[sh, -c, "httpd -f -p 80 -h /srv & sleep 3"]'


@pytest.mark.parametrize(("state", "moment"), MOMENTS, ids=lambda each: getattr(each, "name", each))
def test_a_deploy_killed_anywhere_is_taken_up(killing: FleetWorld, state: State, moment: str):
    fleet = killing
    tune = f"{state.name} {moment}"
    served = "v2" if fleet.serves("v1") else "v1"
    fleet.write_with_db(served, tune=tune, replicas=2, web=proof(tune), top=SNAPSHOTS)
    if state is State.REVERT_DRAINING:
        fleet.write_with_db(served, tune=tune, replicas=2, web=proof(tune, "20s"), command=SOON_OVER, top=SNAPSHOTS)
    elif state.name.startswith("REVERT"):
        fleet.write_with_db(served, tune=tune, replicas=2, web=proof(tune), command='[sh, -c, "exit 3"]', top=SNAPSHOTS)
    program = Path(__file__).with_name("killed_deploy.py")
    others = [pid for pid in (*fleet.pids("haproxy"), fleet.agent_pid()) if pid is not None]
    died = subprocess.run(
        [sys.executable, program, fleet.directory, state.name, moment, *map(str, others)],
        env={**fleet.world.environ, "PYTHONPATH": os.getcwd()}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert died.returncode == -signal.SIGKILL, died.stderr
    if state in GOING_BACK and moment == "enter":
        fleet.succeed("rollback", "--yes")
    else:
        fleet.write_with_db(served, tune=tune, replicas=2, web=proof(tune), top=SNAPSHOTS)
        fleet.apply()
        assert fleet.serves(served)
    fleet.assert_whole(web=2, db=1)
    assert fleet.get() in {"v1", "v2"}
    assert fleet.agent_pid() is not None
    assert [state for _, state in fleet.history()].count("active") == 1


def test_a_reboot_brings_the_active_sets_back(standing: FleetWorld):
    fleet = standing
    fleet.apply()
    fleet.write_with_db("v2", tune="2", replicas=3)
    fleet.apply()
    before = fleet.observe()
    fleet.kill_agent()
    fleet.lose_the_host()
    down = fleet.observe()
    assert not down.switch_running
    assert {each.state for found in down.sets.values() for each in found.replicas} == {"exited"}
    with fleet.running_agent():
        eventually(lambda: fleet.serves("v2"))
        eventually(lambda: all(fleet.observe().sets[name].is_ready for name in before.active.values()))
        assert fleet.observe().active == before.active
        kept = fleet.observe().sets.keys() - set(before.active.values())
        assert {fleet.observe().sets[name].temperature for name in kept} == {"stopped"}
        assert fleet.succeed("exec", "db.1", "wget", "-qO-", "http://web/").stdout == "v2"
    fleet.succeed("rollback", "--yes")
    fleet.assert_whole(web=3, db=1)
    assert fleet.serves("v1")
