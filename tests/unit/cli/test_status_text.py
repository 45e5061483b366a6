"""``bennu status`` as people read it, at 80 columns, and its document."""

from __future__ import annotations

import json

import msgspec
import pytest

from bennu.cli.output import width
from bennu.cli.status_text import render
from bennu.deploy.drift.comparison import Unexpected
from bennu.deploy.drift.records import Look
from bennu.deploy.drills import Drill
from bennu.deploy.history import Revision
from bennu.deploy.hold.lease import Lease
from bennu.deploy.overview import Overview, document
from bennu.deploy.reprovision import Due
from bennu.deploy.upkeep import Outlook
from bennu.engine.sets import HoldObservation, Observation, SetObservation, TrafficObservation
from tests.unit.deploy.fleets import PROJECT, observation, release, seen, service, shop

NOW = 1_000_000.0
HOUR = 3600.0
REVISION = Revision(
    project=PROJECT, number=7, kind="rollback", release=shop().digest, origin=3, sets={}, state="active",
    author="ann@host, pid 7 (bennu rollback)", started=NOW - 2 * HOUR, finished=NOW - 2 * HOUR,
)  # fmt: skip


def aged(found: SetObservation, seconds: float, **fields: object) -> SetObservation:
    replicas = tuple(
        msgspec.structs.replace(
            one, created=NOW - seconds, started=NOW - seconds, address=f"10.0.0.{one.index + 2}"
        )
        for one in found.replicas
    )  # fmt: skip
    return msgspec.structs.replace(found, replicas=replicas, **fields)


def with_problem(found: SetObservation, index: int, **fields: object) -> SetObservation:
    replicas = [msgspec.structs.replace(one, **fields) if one.index == index else one for one in found.replicas]
    return msgspec.structs.replace(found, replicas=tuple(replicas))


WEB = aged(
    seen(shop(replicas=4).spec("web")), 2 * HOUR, traffic=TrafficObservation(requests=2000, failures=3, per_second=41)
)
DB = aged(seen(shop().spec("db")), 90 * HOUR)
KEPT = aged(seen(shop("0").spec("web"), released=NOW - 60, state="paused"), 3 * HOUR)


def text(found: Observation, columns: int = 80, *, full: bool = False, **fields: object) -> str:
    lines = render(Overview(observation=found, now=NOW, **fields), columns, full=full)
    assert all(width(line) <= columns for line in lines)
    whole = "\n".join(lines)
    for one in found.sets.values():
        whole = whole.replace(one.id, f"{one.spec.service.name}-{'0' * 10}")
    return whole


def test_all_is_well():
    found = msgspec.structs.replace(observation(WEB, DB, kept=[KEPT]), switch_running=True)
    assert text(found, revision=REVISION, agent="agent pid 42") == (
        "Project:   shop, all is well\n"
        f"Revision:  7 (rollback to 3), release {shop().digest[7:19]}, for 2 hours\n"
        "Switch:    running\n"
        "Agent:     pid 42\n"
        "\n"
        "SERVICE  SET             ROLE         READY  REQ/S  ERRORS  AGE  IMAGE\n"
        "db       db-0000000000   active         1/1      -       -   3d  db\n"
        "web      web-0000000000  active         4/4     41    0.1%   2h  web\n"
        "         web-0000000000  kept frozen    0/2      -       -   3h  web\n"
        "\n"
        "REPLICA   STATE  HEALTH   ADDRESS      RESTARTS  PROBLEM\n"
        "db.1      up 3d  healthy  10.0.0.3     0\n"
        "web.1..4  up 2h  healthy  10.0.0.3..6  0"
    )
    assert "web.2" in text(found, full=True)


def test_trouble_has_a_line_of_its_own():
    web = with_problem(WEB, 2, state="exited", exit_status=137, problem="out of memory\nand more", restarts=4)
    web = with_problem(web, 4, health="unhealthy", problem="probe ended with 1: " + "x" * 100)
    lost = msgspec.structs.replace(DB, replicas=())
    found = text(observation(web, lost))
    assert "shop, NOT WELL" in found
    assert "Switch:    not running" in found
    assert "Agent:     not running" in found
    lines = found.split("REPLICA")[1].splitlines()[1:]
    assert [line.split()[0] for line in lines] == ["db.1", "web.1", "web.2", "web.3", "web.4"]
    assert lines[0].split()[1:] == ["missing", "the", "agent", "makes", "it", "again"]
    assert "exited (137)" in lines[2]
    assert lines[2].endswith("out of memory")
    assert lines[4].endswith("…")


def test_what_is_under_way_and_what_comes_next():
    canary = aged(seen(shop("2").spec("web")), 5, share=10)
    held = HoldObservation(replica=WEB.replicas[1], traffic="out")
    found = msgspec.structs.replace(observation(WEB, kept=[canary]), holds=(held,))
    rolling = msgspec.structs.replace(REVISION, number=8, kind="apply", state="rolling", started=NOW - 5)
    outlook = Outlook(
        due=(Due(service="web", set=WEB.id, age_seconds=1, at=NOW + 26 * HOUR, reason=""),),
        proven=NOW - 50 * HOUR,
        last=Drill(
            project=PROJECT, service="db", rebuild=True, started=1, finished=NOW - HOUR, ok=False, author="agent",
            reason="no mirror",
        ),
    )  # fmt: skip
    drift = Look(
        project=PROJECT, taken=NOW - 90,
        drifts=(Unexpected(kind="process", subject="web.1", field="pid", have="sh"),
                Unexpected(kind="process", subject="web.2", field="pid", have="sh", held=True)),
    )  # fmt: skip
    lease = Lease(
        replica="web.2", until=NOW + 26 * HOUR, left_seconds=26 * HOUR, reason="leaks", author="ann@host", renewals=0
    )
    lines = text(found, revision=REVISION, rolling=rolling, outlook=outlook, drift=drift, leases=(lease,)).splitlines()
    assert lines[2].startswith("Rolling:   revision 8 (apply) by ann@host")
    assert any("canary 10%" in line for line in lines)
    assert lines[-5:] == [
        "Held:      web.2, out of the traffic, for 1d 2h more: leaks (ann@host)",
        "Drift:     1 found 1m ago: `bennu drift`",
        "Next:      web is made again from scratch in 26h",
        "Proven:    rebuildable from scratch 2d ago",
        "Drill:     making db again failed 60m ago: no mirror",
    ]


def test_nothing_is_there():
    assert text(Observation(project=PROJECT)) == (
        "Project:   shop\nRevision:  none is active\nAgent:     not running"
    )  # fmt: skip


@pytest.mark.parametrize("columns", [20, 40, 80, 132])
def test_no_line_is_too_wide(columns: int):
    many = release(service("a" * 40, replicas=30))
    text(observation(aged(seen(many.spec("a" * 40)), 1)), columns)


def test_digests_where_there_is_room():
    found = observation(WEB)
    assert "(" not in text(found, 70).split("IMAGE")[1].splitlines()[1]
    assert f"web ({WEB.spec.image[7:19]})" in text(found, 120)


def test_the_document():
    found = msgspec.structs.replace(observation(WEB, DB, kept=[KEPT]), switch_running=True)
    given = json.loads(json.dumps(document(Overview(observation=found, now=NOW, revision=REVISION))))
    assert (given["format"], given["version"], given["well"]) == ("bennu status", 1, True)
    assert [(one["service"], one["role"], one["temperature"]) for one in given["sets"]] == [
        ("db", "active", "warm"), ("web", "active", "warm"), ("web", "kept", "frozen"),
    ]  # fmt: skip
    web = given["sets"][1]
    assert (web["requests"], web["failures"], web["requests_per_second"], web["ready"]) == (2000, 3, 41, 4)
    assert [one["replica"] for one in given["replicas"]] == ["db.1", "web.1", "web.2", "web.3", "web.4"]


def test_what_nobody_heard_is_said():
    found = msgspec.structs.replace(observation(DB), switch_running=True)
    assert "Unheard:   1 call of a hook: `bennu hooks --owed`" in text(found, revision=REVISION, unheard=1)
    assert "Unheard:   2 calls of hooks" in text(found, revision=REVISION, unheard=2)
    assert "Unheard" not in text(found, revision=REVISION)
