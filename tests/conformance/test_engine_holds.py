"""What the contract of engines says of held replicas, over the embedded engine and the one that only remembers."""

import pytest

from bennu.compose.model import DependsOn, Mount, Volume
from bennu.engine.actions import AwaitReady, EndHold, HoldReplica, RemoveProject, RemoveSet, StartSet, StopSet
from bennu.errors import Conflict, NotFound
from tests.engine_world import PROJECT, MemoryWorld, embedded


@pytest.fixture(params=[pytest.param("embedded", marks=pytest.mark.root), "memory"])
def world(request, root_settings):
    if request.param == "memory":
        yield MemoryWorld()
        return
    with embedded(root_settings) as made:
        yield made


def hold(index, service="web", **fields):
    return HoldReplica(project=PROJECT, service=service, index=index, **fields)


def end(index, service="web"):
    return EndHold(project=PROJECT, service=service, index=index, drain_seconds=1)


def writer(world, version="1"):
    """A service of one replica that writes a volume."""
    return world.spec(
        version=version,
        mounts=(Mount(type="volume", source="data", target="/data"),),
        volumes={"data": Volume(name=f"{PROJECT}_data")},
    )


def test_a_held_replica_leaves_its_set_and_outlives_it(world):
    old, new = world.spec(version="1", replicas=2), world.spec(version="2", replicas=2)
    world.deploy(old)
    containers = [replica.container for replica in world.observe().sets[old.id].replicas]
    for _ in range(2):
        world.do(hold(2))
    seen = world.observe()
    (held,) = seen.holds
    assert (held.name, held.traffic, held.in_set, held.replica.state) == ("web.2", "out", False, "running")
    assert held.replica.set == old.id
    assert seen.hold("web.2") == held
    assert seen.hold("web.1") is None
    assert [replica.name for replica in seen.sets[old.id].replicas] == ["web.1", "web.2"]
    assert held.replica.container not in {replica.container for replica in seen.sets[old.id].replicas}
    assert containers[0] == seen.sets[old.id].replicas[0].container
    world.tend_until(lambda: world.observe().sets[old.id].is_ready or isinstance(world, MemoryWorld))

    world.deploy(new)
    world.do(StopSet(set=old.id))
    world.do(RemoveSet(set=old.id))
    assert set(world.observe().sets) == {new.id}
    assert world.observe().holds[0].replica.state == "running"
    world.ready(old)  # a set of the same name knows nothing of it
    assert world.states(old.id) == ["running"] * 2
    assert world.observe().holds[0].replica.state == "running"
    for _ in range(2):
        world.do(end(2))
    assert world.observe().holds == ()
    assert world.states(old.id) == ["running"] * 2
    assert world.fetch("web") == "2"


def test_a_replica_is_held_in_the_traffic(world):
    spec = world.spec(replicas=2)
    world.deploy(spec)
    world.do(hold(1, in_traffic=True))
    assert [(one.name, one.traffic, one.in_set) for one in world.observe().holds] == [("web.1", "in", False)]
    assert len(world.observe().sets[spec.id].replicas) == 2
    assert world.fetch("web") == "1"
    world.do(end(1))
    assert world.observe().holds == ()
    assert world.fetch("web") == "1"


def test_who_is_alone_to_write_a_volume_is_held_in_its_place(world):
    old, new = writer(world), writer(world, "2")
    world.deploy(old)
    with pytest.raises(Conflict, match="alone to write a volume"):
        world.do(hold(1))
    assert world.observe().holds == ()
    world.do(hold(1, in_traffic=True))
    (held,) = world.observe().holds
    assert (held.traffic, held.in_set) == ("in", True)
    assert [one.container for one in world.observe().sets[old.id].replicas] == [held.replica.container]
    assert world.fetch("web") == "1"
    # its set stops, and so does it, since the next set writes the same
    world.do(StopSet(set=old.id))
    (stopped,) = world.observe().holds
    assert (stopped.traffic, stopped.in_set, stopped.replica.state) == ("stopped", False, "exited")
    assert world.observe().sets[old.id].replicas == ()
    world.deploy(new)
    world.ready(old)  # a rollback makes a fresh one
    assert world.states(old.id) == ["running"]
    world.do(StopSet(set=old.id))
    world.do(end(1))
    assert world.observe().holds == ()
    assert world.states(new.id) == ["running"]


def test_the_end_of_a_hold_in_place_makes_a_fresh_replica(world):
    spec = writer(world)
    world.deploy(spec)
    before = world.observe().sets[spec.id].replicas[0].container
    world.do(hold(1, in_traffic=True))
    world.do(end(1))
    assert world.states(spec.id) == ["running"]
    assert isinstance(world, MemoryWorld) or world.observe().sets[spec.id].replicas[0].container != before
    world.tend_until(lambda: world.observe().sets[spec.id].is_ready or isinstance(world, MemoryWorld))


def test_what_cannot_be_held(world):
    job = world.spec(service="job", does="done")
    web = world.spec(depends_on={"job": DependsOn(condition="service_completed_successfully")})
    world.prepare(job, web)
    with pytest.raises(NotFound):
        world.do(hold(1))
    world.do(end(1))
    world.do(StartSet(spec=job))
    world.do(AwaitReady(set=job.id, timeout_seconds=60, completed=True))
    world.ready(web)
    world.activate(job, web)
    with pytest.raises(NotFound):
        world.do(hold(9))
    with pytest.raises(Conflict, match="is a job"):
        world.do(hold(1, service="job"))
    assert world.observe().holds == ()


def test_a_project_goes_with_what_is_held(world):
    world.deploy(world.spec(replicas=2))
    world.do(hold(2))
    world.do(RemoveProject(project=PROJECT))
    assert world.observe().holds == ()
    assert world.engine.projects() == ()
