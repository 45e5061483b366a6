"""Plans: what is compared, what comes out, and how it reads."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from bennu.deploy.planning import plan as planning
from bennu.deploy.planning.plan import Plan
from bennu.deploy.release import Release, decode, encode
from bennu.engine.sets import Observation
from tests.unit.deploy.fleets import PROJECT, observation, release, seen, service, shop

NOTHING = Observation(project=PROJECT)


def make(new: Release, found: Observation, **options) -> Plan:
    return planning.make(new, found, revision=4, **options)


def kinds(plan: Plan) -> dict[str, str]:
    return {change.service: change.kind for change in plan.changes}


def running(of: Release) -> Observation:
    return observation(*(seen(of.spec(name)) for name in of.services))


def test_everything_is_created_where_nothing_is():
    plan = make(shop(), NOTHING)
    assert kinds(plan) == {"db": "create", "web": "create"}
    assert plan.waves == (("db",), ("web",))
    assert plan.target == {name: shop().spec(name).id for name in ("db", "web")}
    assert (plan.revision, plan.stamp, plan.release) == (4, NOTHING.stamp, shop().digest)


def test_what_runs_already_needs_nothing():
    plan = make(shop(), running(shop()))
    assert kinds(plan) == {"db": "keep", "web": "keep"}
    assert plan.is_empty


def test_only_what_differs_is_replaced():
    plan = make(shop("2"), running(shop("1")))
    assert kinds(plan) == {"db": "keep", "web": "replace"}
    web = plan.change("web")
    assert (web.order, web.returns) == ("start-first", False)
    assert [line.split()[0] for line in web.reasons] == ["image"]
    assert plan.change("nobody") is None


def test_who_writes_a_volume_is_replaced_stop_first():
    assert make(shop(db="2"), running(shop())).change("db").order == "stop-first"
    # the old set's volume counts as well: its data must not be written while another set takes over
    without = release(service("db"))
    assert make(without, running(release(service("db", writes=True)))).change("db").order == "stop-first"


def test_a_different_size_is_another_set():
    plan = make(shop(replicas=3), running(shop()))
    assert plan.change("web").reasons == ("replicas 2 -> 3",)
    assert plan.change("web").new.id != plan.change("web").old.id


def test_values_of_variables_are_not_shown():
    old = release(service("web", environment={"A": "secret", "B": "1", "C": "same"}))
    new = release(service("web", environment={"A": "hidden", "C": "same", "D": "3"}))
    reasons = make(new, running(old)).change("web").reasons
    assert reasons == ("environment.A changed", "environment.B removed", "environment.D added")


def test_a_lost_replica_is_repaired_and_an_ended_one_is_the_agents_affair():
    lost = observation(seen(shop().spec("db")), seen(shop().spec("web"), there=[2]))
    assert kinds(make(shop(), lost)) == {"db": "keep", "web": "repair"}
    some = seen(shop().spec("web"))
    ended = msgspec.structs.replace(some.replicas[0], state="exited")
    some = msgspec.structs.replace(some, replicas=(ended, some.replicas[1]))
    assert make(shop(), observation(seen(shop().spec("db")), some)).is_empty


def test_a_set_of_which_nothing_runs_is_repaired_but_a_job_has_ended():
    down = observation(seen(shop().spec("db"), state="exited"), seen(shop().spec("web")))
    assert kinds(make(shop(), down)) == {"db": "repair", "web": "keep"}
    assert make(shop(), down).change("db").reasons == ("none of its replicas runs",)
    staged = release(service("migrate"), service("web", needs={"migrate": "service_completed_successfully"}))
    done = observation(seen(staged.spec("migrate"), state="exited"), seen(staged.spec("web")))
    assert make(staged, done).is_empty


def test_a_service_that_left_the_file_is_removed():
    plan = make(release(service("web")), running(release(service("web"), service("api"))))
    assert kinds(plan) == {"web": "keep", "api": "remove"}
    assert "api" not in plan.target


def test_a_kept_set_returns_and_what_nobody_comes_back_to_is_pruned():
    kept, old, rest = (shop(version).spec("web") for version in ("1", "0", "-1"))
    found = observation(seen(shop("2").spec("db")), seen(shop("2").spec("web")), kept=map(seen, (kept, old, rest)))
    plan = make(shop("1"), found, keep={old.id})
    assert plan.change("web").returns
    assert plan.prune == (rest.id,)
    assert not make(shop("2"), found, keep={old.id}).is_empty  # there is something to prune
    assert make(shop("2"), found, keep={old.id, kept.id, rest.id}).is_empty


def test_made_again_from_scratch():
    plan = make(shop(), running(shop()), generations={"web": 1})
    change = plan.change("web")
    assert (change.kind, change.reasons) == ("replace", ("made again from scratch",))
    assert change.new.id == f"{change.old.id}-1"
    assert plan.prune == (change.old.id,)  # the same content: nobody goes back to it


def test_what_was_made_again_is_what_the_release_wants():
    again = shop().spec("web", 2)
    found = observation(seen(shop().spec("db")), seen(again))
    assert make(shop(), found).is_empty
    assert planning.next_generation(shop(), "web", found) == 3
    assert planning.next_generation(shop("2"), "web", found) == 0  # that is a fresh set anyhow
    kept = observation(seen(shop().spec("db")), seen(shop("2").spec("web")), kept=[seen(again)])
    back = make(shop(), kept, keep={again.id}).change("web")
    assert (back.new.id, back.returns) == (again.id, True)


def test_a_plan_survives_json():
    plan = make(shop("2"), running(shop("1")))
    assert msgspec.json.decode(msgspec.json.encode(plan), type=Plan) == plan
    assert decode(encode(shop())) == shop()


def test_the_same_file_under_another_name_makes_other_sets():
    other = msgspec.structs.replace(shop(), project="other")
    assert other.spec("web").id != shop().spec("web").id


fleets = st.dictionaries(
    st.sampled_from(["web", "api", "db", "cache"]),
    st.tuples(st.sampled_from("123"), st.integers(1, 3), st.booleans()),
    max_size=4,
)


def made(parts: dict[str, tuple[str, int, bool]]) -> Release:
    services = [service(name, replicas=count, writes=writes) for name, (_, count, writes) in parts.items()]
    return release(*services, versions={name: version for name, (version, _, _) in parts.items()})


@given(fleets, fleets)
def test_nothing_is_left_to_do_after_any_plan(before: dict, after: dict):
    old, new = made(before), made(after)
    plan = make(new, running(old))
    assert plan.target == {name: new.spec(name).id for name in new.services}
    assert {c.service for c in plan.changes} == old.services.keys() | new.services.keys()
    assert make(new, running(new)).is_empty
    assert sorted(name for wave in plan.waves for name in wave) == sorted(new.services)
