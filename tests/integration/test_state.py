"""State through the command line: snapshots at the switch under a little database, data that go back with the code."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bennu.config import Settings
from bennu.wiring import Fleet
from tests.integration.fleet_world import PROJECT, FleetWorld, fleet_world
from tests.integration.run_world import eventually
from tests.integration.switch_load import Load

pytestmark = pytest.mark.root

DB = """\
  db:
    image: web:v1
    command:
      - sh
      - -c
      - |
        n=$$(cat /data/b 2>/dev/null || echo 0)
        while :; do
          n=$$((n+1))
          echo $$n > /data/a.new; mv /data/a.new /data/a
          echo $$n > /data/b.new; mv /data/b.new /data/b
          sleep 0.02
        done
    environment: {{TUNE: "{tune}"}}
    stop_signal: SIGKILL
    volumes: [data:/data]
    {db}
"""
"""It counts in two files, the second one behind the first by no more than one: a snapshot has to show just that."""
SNAPSHOTS = ", snapshot: [data]"
QUIESCE = "x-bennu: {quiesce: {command: [sh, -c, '%s'], resume: [sh, -c, 'echo r >> /data/log'], timeout: 5s}}"


@pytest.fixture
def fleet(root_settings: Settings, tmp_path: Path) -> Iterator[FleetWorld]:
    with fleet_world(root_settings, tmp_path / "project", ("v1", "v2")) as made:
        yield made


def write(fleet: FleetWorld, version: str, *, tune: str = "1", db: str = "", web: str = "") -> None:
    extra = DB.format(tune=tune, db=db) + "volumes:\n  data:\n"
    fleet.write(version, replicas=1, web=f"    depends_on: [db]\n{web}", extra=extra, top=SNAPSHOTS)


def snapshots(fleet: FleetWorld) -> list[dict[str, object]]:
    return [
        json.loads(line) for line in fleet.succeed("volume", "snapshot", "ls", "--format", "json").stdout.splitlines()
    ]


def counts(directory: Path) -> tuple[int, int]:
    first, second = (int((directory / name).read_text() or -1) for name in "ab")
    return first, second


def volume(fleet: FleetWorld) -> Path:
    return fleet.settings.volumes / f"{PROJECT}_data" / "_data"


def test_a_database_that_goes_on_is_snapshotted_between_two_writes(fleet: FleetWorld):
    write(fleet, "v1")
    fleet.apply()
    for number in range(200):
        (volume(fleet) / f"more{number}").write_bytes(os.urandom(20000))
    write(fleet, "v2")
    planned = fleet.succeed("plan").stdout
    assert "volume tiny_data: snapshot of revision 1 by copy" in planned
    assert "its writer is paused meanwhile" in planned
    with Load(fleet.port, posts=False, pause_seconds=0.005) as load:
        load.await_requests(20)
        fleet.apply()
        load.await_requests(20)
    assert load.problems == []
    (taken,) = snapshots(fleet)
    assert (taken["Revision"], taken["Consistency"], taken["Volume"]) == (1, "paused", "tiny_data")
    first, second = counts(Path(str(taken["Path"])))
    assert first - second in {0, 1}
    before = counts(volume(fleet))
    assert before[0] > first
    eventually(lambda: counts(volume(fleet)) > before)  # it was let go
    assert "Volume Snapshots" in fleet.succeed("system", "df").stdout

    (volume(fleet) / "precious").write_text("written since")
    (volume(fleet) / "more7").unlink()
    back = fleet.succeed("rollback", "--with-data", "--yes")
    assert re.search(r"[1-3] changed and [1-3] new files .* would be lost, [12] removed ones come back", back.stdout)
    assert "precious" in back.stdout
    assert "+/- db" in back.stdout
    assert "bennu rollback 2 --with-data brings them back" in back.stderr
    assert fleet.get() == "v1"
    assert not (volume(fleet) / "precious").exists()
    assert (volume(fleet) / "more7").exists()
    assert counts(volume(fleet))[0] >= first
    fleet.assert_whole(web=1, db=1)
    assert [(one["Revision"], one["Method"]) for one in snapshots(fleet)] == [(1, "copy"), (2, "swap")]

    fleet.succeed("rollback", "2", "--with-data", "--yes")
    assert fleet.get() == "v2"
    assert (volume(fleet) / "precious").read_text() == "written since"
    fleet.assert_whole(web=1, db=1)
    gone = fleet.succeed("volume", "snapshot", "rm", "--yes", str(taken["ID"]))
    assert gone.stdout.strip() == taken["ID"]
    fleet.apply()  # the file says v2: nothing changes, the set that was made anew stays
    assert fleet.get() == "v2"


def test_a_writer_is_quiesced_and_resumed_also_when_that_fails(fleet: FleetWorld):
    write(fleet, "v1", db=QUIESCE % "echo q >> /data/log")
    fleet.apply()
    write(fleet, "v2", db=QUIESCE % "echo q >> /data/log")
    fleet.apply()
    assert (volume(fleet) / "log").read_text() == "q\nr\n"
    (taken,) = snapshots(fleet)
    assert taken["Consistency"] == "quiesced"
    assert (Path(str(taken["Path"])) / "log").read_text() == "q\n"
    write(fleet, "v1", db=QUIESCE % "echo it will not; exit 7")
    done = fleet.bennu("apply", "--yes")
    assert done.returncode == 1
    assert "replica db.1: quiesce command" in done.stderr
    assert "ended with 7" in done.stderr
    assert "it will not" in done.stderr
    assert (volume(fleet) / "log").read_text() == "q\nr\nr\n"
    assert fleet.get() == "v2"
    fleet.assert_whole(web=1, db=1)


def test_a_stopped_writer_needs_no_quiet_and_code_that_fails_leaves_a_snapshot(fleet: FleetWorld):
    write(fleet, "v1")
    fleet.apply()
    write(fleet, "v1", tune="2")
    done = fleet.apply()
    assert "nobody writes it meanwhile" in done.stdout
    assert [one["Consistency"] for one in snapshots(fleet)] == ["stopped"]
    write(fleet, "v2", tune="3", web="    entrypoint: [sh, -c, 'exit 4']\n")
    assert fleet.bennu("apply", "--yes").returncode == 1
    assert [one["Revision"] for one in snapshots(fleet)] == [1, 2]
    (volume(fleet) / "harm").write_text("done by the code that failed")
    fleet.succeed("rollback", "2", "--with-data", "--yes")  # the data of what runs
    assert not (volume(fleet) / "harm").exists()
    fleet.assert_whole(web=1, db=1)


def test_who_uses_a_volume_otherwise_stops_data_from_going_back(fleet: FleetWorld):
    write(fleet, "v1")
    fleet.apply()
    write(fleet, "v2")
    fleet.apply()
    reader = ("--network", "none", "--name", "reader", "-v", "tiny_data:/data:ro")
    fleet.succeed("run", "-d", *reader, "web:v1", "sleep", "1000")
    done = fleet.bennu("rollback", "--with-data", "--yes")
    assert done.returncode == 1
    assert "volume 'tiny_data' is mounted by 'reader'" in done.stderr
    assert fleet.get() == "v2"
    fleet.succeed("rm", "-f", "reader")
    fleet.succeed("volume", "snapshot", "rm", "--yes", str(snapshots(fleet)[0]["ID"]))
    done = fleet.bennu("rollback", "--with-data", "--yes")
    assert "revision 1 of project 'tiny' has no snapshot of tiny_data" in done.stderr


def test_what_a_dead_process_has_paused_goes_on(fleet: FleetWorld):
    write(fleet, "v1")
    fleet.apply()
    fleet.stop_agent()
    with Fleet(fleet.settings) as own:
        (db,) = [one for one in own.containers.list() if "-db-" in one.name]
        own.containers.pause(db.id)
        with own.database.transaction() as rows:
            rows.execute(
                "INSERT INTO engine_quiet (container, project, owner, resume) VALUES (?, ?, '999999999:1', NULL)",
                (db.id, PROJECT),
            )
        own.engine.tend(PROJECT, time.time())
        assert own.containers.inspect(db.id).status.state == "running"
        assert own.database.query("SELECT * FROM engine_quiet") == []
        assert own.engine.data.release(PROJECT, lambda _line: None) == 0
