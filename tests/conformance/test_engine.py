"""The contract of ``engine.base.Engine``, over the embedded engine and the one that only remembers."""

import threading
import time

import pytest

from bennu.compose.extension import Canary, Expectation, Quiesce, Validation
from bennu.compose.model import DependsOn, Exposed, Mount, Service, Volume
from bennu.deploy.drift.comparison import Record, compute
from bennu.engine.actions import (
    Activate,
    AwaitReady,
    Deactivate,
    Drain,
    FreezeSet,
    Prepare,
    Propose,
    RemoveProject,
    RemoveSet,
    RemoveSnapshots,
    RenewReplica,
    RestoreVolumes,
    ResumeWriters,
    SnapshotVolumes,
    StartSet,
    StopSet,
    Trial,
    TryCanaries,
    Validate,
    WatchSet,
)
from bennu.engine.sets import Observation, SetId
from bennu.errors import Conflict, Failed, NotFound, Unavailable
from tests.engine_world import PORT, PROJECT, MemoryWorld, embedded


@pytest.fixture(params=[pytest.param("embedded", marks=pytest.mark.root), "memory"])
def world(request, root_settings):
    if request.param == "memory":
        yield MemoryWorld()
        return
    with embedded(root_settings) as made:
        yield made


def test_a_life(world):
    first, second = world.spec(version="1", replicas=2), world.spec(version="2", replicas=3)
    world.deploy(first)
    assert world.fetch("web") == "1"
    assert world.engine.projects() == (PROJECT,)
    seen = world.observe()
    assert seen.active == {"web": first.id}
    assert seen.switch_running
    assert [replica.name for replica in seen.sets[first.id].replicas] == ["web.1", "web.2"]
    assert seen.sets[first.id].is_ready
    assert {replica.health for replica in seen.sets[first.id].replicas} == {"healthy"}

    world.prepare(second)
    world.ready(second)
    assert world.fetch("web") == "1"
    assert world.states(first.id) == ["running"] * 2
    world.activate(second)
    assert world.fetch("web") == "2"
    assert world.do(Drain(set=first.id, timeout_seconds=5)).figures["sessions_left"] == 0
    released = world.observe().sets[first.id].released
    assert released is not None
    assert world.observe().sets[second.id].released is None

    world.ready(first)  # a rollback: it is warm
    world.activate(first)
    assert world.fetch("web") == "1"
    assert world.observe().sets[first.id].released is None
    assert world.observe().sets[second.id].released is not None

    world.do(StopSet(set=second.id))
    assert world.states(second.id) == ["exited"] * 3
    assert world.observe().sets[second.id].temperature == "stopped"
    world.do(RemoveSet(set=second.id))
    assert set(world.observe().sets) == {first.id}
    world.do(RemoveProject(project=PROJECT))
    assert world.engine.projects() == ()
    assert world.observe() == Observation(project=PROJECT)
    with pytest.raises(Unavailable):
        world.fetch("web")


ENDS = (StopSet, RemoveSet, FreezeSet)


def answers(version: str) -> tuple[Validation, ...]:
    return (Validation(http=Expectation(port=PORT, contains=(version,))),)


def test_a_host_that_goes_down_ends_every_replica_and_the_active_ones_come_back(world):
    first, second = world.spec(version="1", replicas=2), world.spec(version="2", replicas=2)
    world.deploy(first)
    world.prepare(second)
    world.ready(second)
    world.activate(second)
    world.do(FreezeSet(set=first.id))
    assert world.engine.halt() == 4
    assert world.states(first.id) == world.states(second.id) == ["exited"] * 2
    assert world.observe().active == {"web": second.id}
    world.tend_until(lambda: world.observe().sets[second.id].is_ready)
    assert world.states(first.id) == ["exited"] * 2
    assert world.fetch("web") == "2"


def test_a_test_server_comes_first(world):
    old, new = world.spec(version="1"), world.spec(version="2", replicas=3)
    world.deploy(old)
    world.prepare(new)
    world.do(StartSet(spec=new, first=1))
    world.do(AwaitReady(set=new.id, timeout_seconds=60, first=1))
    assert world.states(new.id) == ["running"]
    world.do(Validate(set=new.id, validations=answers("2")))
    with pytest.raises(Failed, match=r"validation 1 of 1 .*was answered 200"):
        world.do(Validate(set=new.id, validations=answers("1")))
    assert world.fetch("web") == "1"
    world.ready(new)
    assert world.states(new.id) == ["running"] * 3
    world.activate(new)
    assert world.fetch("web") == "2"


def test_a_proposal_moves_nothing(world):
    old, new = world.spec(version="1"), world.spec(version="2")
    world.deploy(old)
    world.prepare(new)
    world.do(StartSet(spec=new))
    for _ in range(2):
        world.do(Propose(project=PROJECT, specs=(new,)))
    world.do(AwaitReady(set=new.id, timeout_seconds=60))
    assert (world.fetch("web"), world.observe().active) == ("1", {"web": old.id})
    world.do(StopSet(set=new.id))
    world.do(RemoveSet(set=new.id))
    assert world.fetch("web") == "1"


def test_a_set_is_watched(world):
    spec = world.spec(replicas=2)
    world.deploy(spec)
    world.do(WatchSet(set=spec.id, seconds=0.3))
    cancel = threading.Event()
    cancel.set()
    world.do(WatchSet(set=spec.id, seconds=3600), cancel)
    world.crash("web", 2)
    with pytest.raises(Failed, match=r"ended .*while it was watched"):
        world.do(WatchSet(set=spec.id, seconds=3600))


def trying(new, old, **canary):
    settings = Canary(**{"seconds": 0.3, "percent": 50, "more_error_share": 0.01, **canary})
    return TryCanaries(project=PROJECT, trials=(Trial(set=new.id, old=old.id, canary=settings),))


def test_canaries_keep_their_share_until_their_service_is_activated(world):
    old = [world.spec(name, "1") for name in ("api", "web")]
    new = [world.spec(name, "2") for name in ("api", "web")]
    world.deploy(*old)
    world.prepare(*new)
    world.ready(*new)
    trials = tuple(one for pair in zip(new, old, strict=True) for one in trying(*pair).trials)
    for _ in range(2):
        world.do(TryCanaries(project=PROJECT, trials=trials))
        seen = world.observe()
        assert seen.active == {spec.service.name: spec.id for spec in old}
        assert [seen.sets[spec.id].share for spec in (*new, *old)] == [50, 50, 0, 0]
    world.activate(new[0])
    assert [world.observe().sets[spec.id].share for spec in new] == [0, 50]
    world.activate(old[1])  # it is active: that takes the share back
    assert [world.observe().sets[spec.id].share for spec in new] == [0, 0]
    assert [world.fetch(name) for name in ("api", "web")] == ["2", "1"]


@pytest.mark.parametrize("end", ENDS)
def test_a_share_ends_with_its_set(world, end):
    old, new = world.spec(version="1"), world.spec(version="2")
    world.deploy(old)
    world.prepare(new)
    world.ready(new)
    world.do(trying(new, old))
    world.do(end(set=new.id))
    assert all(found.share == 0 for found in world.observe().sets.values())
    assert world.fetch("web") == "1"


def test_a_bad_canary_gives_all_traffic_back(world):
    old, new = world.spec(version="1"), world.spec(version="2", does="done", expose=(Exposed(target=PORT),))
    world.deploy(old)
    world.prepare(new)
    world.do(StartSet(spec=new))
    world.do(AwaitReady(set=new.id, timeout_seconds=60, completed=True))
    with pytest.raises(Failed, match="as a canary"):
        world.do(trying(new, old, seconds=3600))
    assert world.observe().sets[new.id].share == 0
    with pytest.raises(Conflict, match="is not active"):
        world.do(trying(old, new))
    cancel = threading.Event()
    cancel.set()
    good = world.spec(version="3")
    world.ready(good)
    with pytest.raises(Failed, match="cancelled"):
        world.do(trying(good, old, seconds=3600), cancel)
    seen = world.observe()
    assert (seen.active, seen.sets[good.id].share) == ({"web": old.id}, 0)
    assert world.fetch("web") == "1"


def test_a_kept_set_is_frozen_and_thawed(world):
    first, second = world.spec(version="1", replicas=2), world.spec(version="2")
    world.deploy(first)
    world.deploy(second)
    for _ in range(2):
        world.do(FreezeSet(set=first.id))
        seen = world.observe().sets[first.id]
        assert (seen.temperature, seen.is_ready) == ("frozen", False)
    containers = [replica.container for replica in seen.replicas]
    world.engine.tend(PROJECT, time.time())
    assert world.states(first.id) == ["paused"] * 2
    with pytest.raises(Conflict, match="is active"):
        world.do(FreezeSet(set=second.id))
    world.ready(first)
    world.activate(first)
    assert world.fetch("web") == "1"
    assert [(r.container, r.restarts) for r in world.observe().sets[first.id].replicas] == [(c, 0) for c in containers]
    world.do(FreezeSet(set=second.id))
    world.do(StopSet(set=second.id))
    assert world.states(second.id) == ["exited"]
    world.do(FreezeSet(set=second.id))
    assert world.states(second.id) == ["exited"]


def test_unknown_things(world):
    assert world.observe("nobody") == Observation(project="nobody")
    assert list(world.engine.logs("nobody", service=None, set_id=None, index=None, tail=5)) == []
    nobody = SetId("web-0000000000")
    for action in (RemoveProject(project="nobody", volumes=True), *(kind(set=nobody) for kind in ENDS)):
        world.do(action)
    asked = (
        AwaitReady(set=nobody, timeout_seconds=1),
        Drain(set=nobody, timeout_seconds=1),
        Validate(set=nobody, validations=answers("1")),
        WatchSet(set=nobody, seconds=1),
        TryCanaries(project=PROJECT, trials=(Trial(set=nobody, old=nobody, canary=Canary(seconds=1)),)),
    )
    for action in asked:
        with pytest.raises(NotFound, match="web-0000000000"):
            world.do(action)
    world.prepare(world.spec())
    with pytest.raises(NotFound, match="web-0000000000"):
        world.do(Activate(project=PROJECT, sets={"web": nobody}))
    assert world.observe().active == {}
    assert world.engine.projects() == (PROJECT,)


def test_everything_can_be_said_twice(world):
    first, second = world.spec(version="1", replicas=2), world.spec(version="2")
    for _ in range(2):
        world.deploy(first)
    containers = [replica.container for replica in world.observe().sets[first.id].replicas]
    world.do(StartSet(spec=first))
    assert [replica.container for replica in world.observe().sets[first.id].replicas] == containers
    for _ in range(2):
        world.deploy(second)
    for action in (
        Drain(set=first.id, timeout_seconds=5),
        StopSet(set=first.id),
        RemoveSet(set=first.id),
        Deactivate(project=PROJECT, services=("web",)),
        RemoveProject(project=PROJECT),
    ):
        world.do(action)
        if not isinstance(action, Drain):
            world.do(action)
    assert world.engine.projects() == ()


def test_a_set_is_completed(world):
    spec = world.spec(replicas=3)
    world.deploy(spec)
    world.crash("web", 1)
    world.lose("web", 2)
    assert not world.observe().sets[spec.id].is_ready
    world.ready(spec)
    assert world.observe().sets[spec.id].is_ready
    assert world.fetch("web") == "1"


def test_one_replica_is_made_again(world):
    spec = world.spec(replicas=2)
    world.deploy(spec)
    before = world.observe()
    assert world.do(RenewReplica(set=spec.id, index=2)).figures == {"sessions_left": 0.0}
    after = world.observe()
    assert (after.stamp, after.active) == (before.stamp, before.active)
    assert after.sets[spec.id].is_ready
    assert world.fetch("web") == "1"
    world.lose("web", 1)
    (missing,) = [facts for facts in world.engine.survey(PROJECT).facts if facts.kind == "replica"]
    assert (missing.subject, missing.want.keys() - missing.have.keys()) == ("web", {"web.1"})
    world.do(RenewReplica(set=spec.id, index=1))  # what is gone is made as well
    assert compute(world.engine.survey(PROJECT), Record()) == ()
    assert world.observe().sets[spec.id].is_ready
    with pytest.raises(NotFound, match="no replica 3"):
        world.do(RenewReplica(set=spec.id, index=3))


def test_sick_replicas_are_never_ready(world):
    old, sick = world.spec(version="1"), world.spec(version="2", replicas=2, does="sick")
    world.deploy(old)
    world.prepare(sick)
    world.do(StartSet(spec=sick))
    with pytest.raises(Failed, match=r"replica web\.\d of set web-.* did not become healthy.* ended with 1") as caught:
        world.do(AwaitReady(set=sick.id, timeout_seconds=30))
    assert any("its last words" in line for line in caught.value.tail)
    assert caught.value.command
    assert world.fetch("web") == "1"
    assert world.observe().active == {"web": old.id}
    world.do(RemoveSet(set=sick.id))
    assert set(world.observe().sets) == {old.id}


def test_a_replica_that_ends_fails_at_once(world):
    spec = world.spec(does="crash", replicas=2)
    world.prepare(spec)
    world.do(StartSet(spec=spec))
    began = time.monotonic()
    with pytest.raises(Failed, match=r"replica web\.\d of set .* ended with exit status 3") as caught:
        world.do(AwaitReady(set=spec.id, timeout_seconds=3600))
    assert time.monotonic() - began < 60
    assert caught.value.status == 3
    assert any("its last words" in line for line in caught.value.tail)


def test_jobs(world):
    good, bad = world.spec("migrate", does="done"), world.spec("migrate", version="2", does="crash")
    waiting = Service(
        name="web", image="box", depends_on={"migrate": DependsOn(condition="service_completed_successfully")}
    )
    web = world.spec(depends_on=waiting.depends_on)
    world.prepare(good, web)
    world.do(StartSet(spec=good))
    world.do(AwaitReady(set=good.id, timeout_seconds=3600, completed=True))
    world.activate(good)
    world.ready(web)
    world.activate(web)
    assert world.states(good.id) == ["exited"]
    world.engine.tend(PROJECT, time.time())
    assert world.states(good.id) == ["exited"]
    world.do(StartSet(spec=bad))
    with pytest.raises(Failed, match="exit status 3"):
        world.do(AwaitReady(set=bad.id, timeout_seconds=3600, completed=True))


def test_a_wait_is_cancelled(world):
    spec = world.spec()
    world.prepare(spec)
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Failed):
        world.do(StartSet(spec=spec), cancel)
    slow = world.spec(version="2", does="sick")
    world.do(StartSet(spec=slow))
    with pytest.raises(Failed):
        world.do(AwaitReady(set=slow.id, timeout_seconds=3600), cancel)


def test_several_services_switch_together(world):
    old = [world.spec(name, "1") for name in ("api", "web")]
    new = [world.spec(name, "2") for name in ("api", "web")]
    world.deploy(*old)
    world.deploy(*new)
    assert [world.fetch(name) for name in ("api", "web")] == ["2", "2"]
    with pytest.raises(NotFound):
        world.do(Activate(project=PROJECT, sets={"api": old[0].id, "web": SetId("web-0000000000")}))
    assert world.observe().active == {spec.service.name: spec.id for spec in new}
    world.do(Deactivate(project=PROJECT, services=("api",)))
    assert world.observe().active == {"web": new[1].id}
    assert world.observe().sets[new[0].id].released is not None
    assert world.fetch("web") == "2"
    with pytest.raises(Unavailable):
        world.fetch("api")


def test_the_active_set_stays(world):
    spec = world.spec()
    world.deploy(spec)
    with pytest.raises(Conflict, match="is active"):
        world.do(RemoveSet(set=spec.id))
    assert world.fetch("web") == "1"
    assert world.observe().sets[spec.id].is_ready


def test_what_ends_is_brought_back(world):
    spec = world.spec(replicas=2)
    world.deploy(spec)
    world.crash("web", 2)
    assert world.states(spec.id) == ["running", "exited"]
    assert world.fetch("web") == "1"
    world.tend_until(lambda: world.observe().sets[spec.id].is_ready or world.states(spec.id) == ["running"] * 2)
    assert world.observe().sets[spec.id].replicas[1].restarts == 1
    world.lose("web", 1)
    world.tend_until(lambda: world.states(spec.id) == ["running"] * 2)
    assert world.fetch("web") == "1"


def test_what_was_stopped_stays_so(world):
    first, second = world.spec(version="1"), world.spec(version="2")
    world.deploy(first)
    world.do(StopSet(set=first.id))  # as a service that is replaced stop-first
    world.engine.tend(PROJECT, time.time())
    assert world.states(first.id) == ["exited"]
    world.deploy(second)
    world.engine.tend(PROJECT, time.time())
    assert world.states(first.id) == ["exited"]
    world.ready(first)
    world.activate(first)
    world.crash("web", 1)
    world.tend_until(lambda: world.states(first.id) == ["running"])


def test_volumes_outlive_sets(world):
    data = {"data": Volume(name="shop_data"), "more": Volume(name="shop_more")}
    spec = world.spec(volumes=data)
    world.deploy(spec)
    assert world.volumes() == {"shop_data", "shop_more"}
    world.do(RemoveProject(project=PROJECT))
    assert world.volumes() == {"shop_data", "shop_more"}
    world.deploy(spec)
    world.do(RemoveProject(project=PROJECT, volumes=True))
    assert world.volumes() == set()
    with pytest.raises(NotFound, match="shop_data"):
        world.do(Prepare(project=PROJECT, services={}, volumes={"data": Volume(name="shop_data", external=True)}))


DATA = {"data": Volume(name="shop_data")}
MOUNT = (Mount(type="volume", source="data", target="/data"),)


def snapshot(revision: int, **fields) -> SnapshotVolumes:
    return SnapshotVolumes(project=PROJECT, revision=revision, rollout=revision + 1, volumes=("shop_data",), **fields)


def restore(step, revision: int, snapshot_id: str) -> RestoreVolumes:
    snapshots = {"shop_data": snapshot_id}
    return RestoreVolumes(project=PROJECT, revision=revision, rollout=revision + 1, snapshots=snapshots, step=step)


def test_a_snapshot_of_who_writes(world):
    spec = world.spec(volumes=DATA, mounts=MOUNT, replicas=2)
    world.deploy(spec)
    assert world.engine.snapshots(PROJECT) == ()
    world.write("shop_data", "first")
    (cost,) = world.engine.assess(["shop_data", "nobody"])
    assert (cost.volume, cost.seconds > 0) == ("shop_data", True)
    world.do(snapshot(1, ahead=True))
    assert world.engine.snapshots(PROJECT) == ()
    world.write("shop_data", "second")
    for _ in range(2):
        world.do(snapshot(1))
    (taken,) = world.engine.snapshots(PROJECT)
    assert (taken.revision, taken.rollout, taken.volume, taken.consistency) == (1, 2, "shop_data", "paused")
    assert world.states(spec.id) == ["running"] * 2
    assert world.engine.changes(taken.id).lost == 0
    world.write("shop_data", "third!")
    assert world.engine.changes(taken.id).lost == 1
    world.do(snapshot(2, quiesce={"web": Quiesce(command=("true",), resume=("true",))}))
    assert [one.consistency for one in world.engine.snapshots(PROJECT)] == ["paused", "quiesced"]
    world.do(StopSet(set=spec.id))
    world.do(snapshot(3))
    assert [one.consistency for one in world.engine.snapshots(PROJECT)][-1] == "stopped"
    world.do(ResumeWriters(project=PROJECT))
    for _ in range(2):
        world.do(RemoveSnapshots(project=PROJECT, snapshots=(taken.id,)))
    assert [one.revision for one in world.engine.snapshots(PROJECT)] == [2, 3]
    with pytest.raises(NotFound, match=taken.id):
        world.engine.changes(taken.id)
    world.do(RemoveSnapshots(project=PROJECT, rollout=3))
    assert [one.revision for one in world.engine.snapshots(PROJECT)] == [2, 3]
    world.do(RemoveSnapshots(project=PROJECT, rollout=3, taken=True))
    assert [one.revision for one in world.engine.snapshots(PROJECT)] == [3]
    with pytest.raises(NotFound, match="shop_nothing"):
        world.do(SnapshotVolumes(project=PROJECT, revision=1, rollout=2, volumes=("shop_nothing",)))


def test_data_go_back_and_come_again(world):
    spec = world.spec(volumes=DATA, mounts=MOUNT)
    world.deploy(spec)
    world.write("shop_data", "first")
    world.do(snapshot(1))
    (taken,) = world.engine.snapshots(PROJECT)
    world.write("shop_data", "second")
    with pytest.raises(NotFound, match="ready to be put back"):
        world.do(StopSet(set=spec.id))
        world.do(restore("swap", 2, taken.id))
    world.ready(spec)
    for _ in range(2):
        world.do(restore("stage", 2, taken.id))
    with pytest.raises(Conflict, match="shop_data"):
        world.do(restore("swap", 2, taken.id))
    world.do(StopSet(set=spec.id))
    assert world.read("shop_data") == "second"
    for _ in range(2):
        world.do(restore("swap", 2, taken.id))
    assert world.read("shop_data") == "first"
    aside = world.engine.snapshots(PROJECT)[-1]
    assert (aside.revision, aside.rollout, aside.consistency) == (2, 3, "stopped")
    for _ in range(2):
        world.do(restore("back", 2, taken.id))
    assert world.read("shop_data") == "second"
    assert world.engine.snapshots(PROJECT) == (taken,)
    for step in ("stage", "swap"):
        world.do(restore(step, 3, taken.id))
    world.ready(spec)
    assert world.read("shop_data") == "first"
    world.do(RemoveSnapshots(project=PROJECT, snapshots=(taken.id,)))
    with pytest.raises(NotFound, match=taken.id):
        world.do(restore("stage", 4, taken.id))


def test_two_projects(world):
    here, there = world.spec(version="1"), world.spec(version="1", project="other")
    assert here.id != there.id
    world.deploy(here)
    world.deploy(there)
    assert world.engine.projects() == ("other", PROJECT)
    world.do(RemoveProject(project="other"))
    assert world.engine.projects() == (PROJECT,)
    assert world.fetch("web") == "1"


def test_the_stamp_is_of_what_a_plan_stands_on(world):
    spec = world.spec(replicas=2)
    world.deploy(spec)
    stamp = world.observe().stamp
    world.crash("web", 1)
    assert world.observe().stamp == stamp
    world.lose("web", 1)
    assert world.observe().stamp != stamp


def test_facts_are_those_of_an_observation(world):
    spec = world.spec(replicas=2)
    assert world.engine.facts(PROJECT) == world.observe().facts
    world.deploy(spec)
    world.deploy(world.spec(version="2"))
    world.lose("web", 1)
    assert world.engine.facts(PROJECT) == world.observe().facts
    assert world.engine.facts(PROJECT).sets[spec.id] == (1, 2)
