"""Which volumes are snapshotted when, what goes back, what goes; and how that is told."""

from __future__ import annotations

import pytest

from bennu.compose.extension import Quiesce, XBennu
from bennu.compose.model import Volume
from bennu.deploy import data, data_text
from bennu.deploy.history import Revision
from bennu.deploy.planning import plan as planning
from bennu.deploy.release import Release
from bennu.digest import digest_of
from bennu.engine.snapshots import ChangedFile, VolumeChanges, VolumeCost, VolumeSnapshot
from bennu.errors import NotFound
from tests.unit.deploy.fleets import PROJECT, observation, release, seen, service, shop

PAUSED = "as after a power cut (its writer is paused meanwhile)"
COST = VolumeCost(volume="shop_data", method="copy", files=12, size_bytes=3_000_000, seconds=0.4)


def snapshot(name: str, revision: int, volume: str = "shop_data", created: float = 0.0) -> VolumeSnapshot:
    return VolumeSnapshot(
        id=name, project=PROJECT, revision=revision, rollout=revision + 1, volume=volume, method="copy",
        consistency="stopped", files=1, size_bytes=1, seconds=1.0, created=created or float(revision), path="/",
    )  # fmt: skip


def revision(number: int, state: str, version: str) -> Revision:
    return Revision(
        project=PROJECT, number=number, kind="apply", release=digest_of(version.encode()), origin=number, sets={},
        state=state, author="me", started=0.0,
    )  # fmt: skip


def plan(old: Release, new: Release) -> planning.Plan:
    return planning.make(new, observation(*(seen(old.spec(name)) for name in old.services)), revision=1)


def test_a_stop_first_writer_is_stopped_and_one_that_stays_is_paused() -> None:
    moved = plan(shop(), shop("2", db="2"))
    (found,) = data.planned(moved.changes, moved.waves, [COST])
    assert (found.wave, found.consistency) == (0, "stopped")
    stays = plan(shop(), shop("2"))
    (found,) = data.planned(stays.changes, stays.waves, [COST])
    assert (found.wave, found.consistency) == (0, "paused")
    subvolume = VolumeCost(volume="shop_data", method="subvolume", files=1, size_bytes=1, seconds=0.1)
    (found,) = data.planned(stays.changes, stays.waves, [subvolume])
    assert found.consistency == "atomic"


def test_nothing_new_needs_no_snapshot() -> None:
    same = plan(shop(), shop())
    assert data.planned(same.changes, same.waves, [COST]) == ()


def test_the_new_file_says_how_an_old_set_is_quiesced() -> None:
    quiesce = Quiesce(command=("flush",), resume=("go",))
    new = release(service("web"), service("db", writes=True, proof=XBennu(quiesce=quiesce)), versions={"web": "2"})
    moved = plan(release(service("web"), service("db", writes=True)), new)
    assert moved.change("db").kind == "keep"  # type: ignore[union-attr]
    assert data.quiesces(moved.changes) == {"db": quiesce}
    (found,) = data.planned(moved.changes, moved.waves, [COST])
    assert found.consistency == "quiesced"


def test_a_volume_waits_for_the_wave_of_its_writer() -> None:
    def stack(version: str) -> Release:
        return release(service("api"), service("db", writes=True, needs={"api": "service_started"}), version=version)

    moved = plan(stack("1"), stack("2"))
    (found,) = data.planned(moved.changes, moved.waves, [COST])
    assert (found.wave, found.consistency) == (1, "stopped")


def test_where_data_go_back_all_that_changes_stops_and_their_users_are_made_anew() -> None:
    old, new = shop("2"), shop("1")
    now = observation(*(seen(old.spec(name)) for name in old.services))
    anew = planning.restoring(new, now, {"shop_data": "s"})
    assert anew == {"db": 1}
    made = planning.with_data(
        planning.make(new, now, revision=1, generations=anew), data.Data(leaving=1, restore={"shop_data": "s"})
    )
    assert {(each.service, each.kind, each.order) for each in made.changes} == {
        ("db", "replace", "stop-first"),
        ("web", "replace", "stop-first"),
    }


def test_the_names_of_both_releases_count_and_devices_do_not() -> None:
    one = shop(snapshot=("data",))  # type: ignore[arg-type]
    other = Release(
        project=PROJECT, services={}, snapshot=("disk", "more", "gone"),
        volumes={"disk": Volume(name="d", driver_opts={"device": "/dev/x"}), "more": Volume(name="shop_more")},
    )  # fmt: skip
    assert data.snapshot_names(one, other, None) == ("shop_data", "shop_more")


def test_snapshots_go_with_their_release() -> None:
    revisions = [
        revision(4, "active", "d"), revision(3, "superseded", "c"), revision(2, "failed", "x"),
        revision(1, "superseded", "a"),
    ]  # fmt: skip
    there = [snapshot("of1", 1), snapshot("of3", 3), snapshot("of4", 4)]
    to = digest_of(b"e")
    assert data.forgotten(there, revisions, keep=3, to=to) == ()
    assert data.forgotten(there, revisions, keep=2, to=to) == ("of1",)
    assert data.forgotten(there, revisions, keep=1, to=to, restore=["of3"]) == ("of1",)
    many = [snapshot(f"n{number}", 4, created=number + 1) for number in range(5)]
    assert data.forgotten(many, revisions, keep=3, to=to) == ("n0", "n1")


def test_a_revision_goes_back_to_its_own_data_else_to_the_newest_of_its_release() -> None:
    revisions = [revision(3, "active", "b"), revision(2, "superseded", "a"), revision(1, "superseded", "a")]
    there = [snapshot("of1", 1), snapshot("of2", 2)]
    assert data.to_restore(there, revisions, revisions[2], ["shop_data"])["shop_data"].id == "of1"
    assert data.to_restore(there[1:], revisions, revisions[2], ["shop_data"])["shop_data"].id == "of2"
    with pytest.raises(NotFound, match=r"revision 3 .* has no snapshot of shop_data") as caught:
        data.to_restore(there, revisions, revisions[0], ["shop_data"])
    assert "shop_data of revision 1, shop_data of revision 2" in str(caught.value.hint)
    with pytest.raises(NotFound, match="no volume that is snapshotted"):
        data.to_restore(there, revisions, revisions[0], [])


def test_the_plan_says_what_a_snapshot_costs_and_is_worth() -> None:
    planned = data.PlannedSnapshot(volume="shop_data", wave=0, consistency="paused", cost=COST)
    lines = data_text.data_lines(data.Data(leaving=3, snapshots=(planned,), forget=("old",)))
    assert lines == [
        "    volume shop_data: snapshot of revision 3 by copy: 12 files, 3 MB, about 0.4 s; " + PAUSED,
        "  - a snapshot of volumes that nothing comes back to: old",
    ]
    assert "kept as the snapshot of revision 3" in data_text.data_lines(data.Data(leaving=3, restore={"v": "s"}))[0]
    assert data_text.data_lines(None) == []


def test_what_would_be_lost_is_told() -> None:
    changes = VolumeChanges(
        volume="shop_data", changed=2, added=1, removed=4, size_bytes=5_000,
        newest=(ChangedFile(path="a/b", size_bytes=10, changed=990.0),),
    )  # fmt: skip
    first, *rest = data_text.loss_lines([changes], [snapshot("s", 1, created=400.0)], 1000.0)
    assert first.startswith(
        "Volume shop_data: 2 changed and 1 new files (5 kB) would be lost, 4 removed ones come back"
    )
    assert first.endswith("since snapshot s of revision 1, 10 min ago.")
    assert rest == [
        "    a/b (10 B, written 10 s ago)",
        "    and 2 older",
    ]
    none = VolumeChanges(volume="shop_data")
    assert "nothing has changed" in data_text.loss_lines([none], [snapshot("s", 1)], 1.0)[0]


@pytest.mark.parametrize(
    ("value", "text"), [(0.01, "0.1 s"), (89, "89 s"), (600, "10 min"), (7200, "2.0 h"), (259200, "3 d")]
)
def test_times_are_short(value: float, text: str) -> None:
    assert data_text.seconds(value) == text
