"""The rollout, as plays: what is said to it, and what it answers."""

from __future__ import annotations

import pytest

from bennu.compose.extension import Canary, Expectation, Hook, Hooks, Validation, Watch, XBennu
from bennu.compose.model import DependsOn, Deploy, Mount, Port, Service
from bennu.deploy.data import Data, PlannedSnapshot
from bennu.deploy.planning import plan as planning
from bennu.deploy.policy import Policy
from bennu.deploy.release import Release, ReleaseService
from bennu.deploy.rollout import Rollout
from bennu.deploy.states import COMMITTED, FINAL, NEXT, Cancelled, Done, Failed, State
from bennu.digest import digest_of
from bennu.engine.sets import Observation, ReplicaObservation, SetObservation, SetSpec
from bennu.engine.snapshots import VolumeCost

CHECKS = (Validation(http=Expectation(port=80)),)


def service(
    name: str,
    *,
    needs: tuple[str, ...] = (),
    job_of: tuple[str, ...] = (),
    writes: bool = False,
    replicas: int = 1,
    **proof: object,
) -> Service:
    return Service(
        name=name,
        deploy=Deploy(replicas=replicas),
        x_bennu=XBennu(**proof),  # type: ignore[arg-type]
        ports=(Port(target=80),),
        mounts=(Mount(type="volume", source="data", target="/data"),) if writes else (),
        depends_on={n: DependsOn(condition="service_healthy") for n in needs}
        | {n: DependsOn(condition="service_completed_successfully") for n in job_of},
    )


def release(version: str, *services: Service) -> Release:
    return Release(
        project="shop",
        services={
            s.name: ReleaseService(image=digest_of(f"{s.name} {version}".encode()), image_name=s.name, service=s)
            for s in services
        },
    )


def observed(*specs: SetSpec, active: dict[str, str] | None = None) -> Observation:
    sets = {
        spec.id: SetObservation(
            spec=spec,
            replicas=tuple(
                ReplicaObservation(
                    service=spec.service.name, set=spec.id, index=n + 1, container=f"{spec.id}.{n}", state="running"
                )
                for n in range(spec.replicas)
            ),
        )
        for spec in specs
    }
    return Observation(
        project="shop", sets=sets, active=active if active is not None else {s.service.name: s.id for s in specs}
    )


class Play:
    """Runs a rollout against a script: ``expect`` names the commands, ``fails`` those that fail."""

    def __init__(self, plan: planning.Plan) -> None:
        self.rollout = Rollout(plan)
        self.commands = self.rollout.begin()
        self.names = {c.new.id: f"new {c.service}" for c in plan.changes if c.new}
        self.names |= {c.old.id: f"old {c.service}" for c in plan.changes if c.old}

    def say(self, command: object) -> str:
        kind = type(command).__name__
        match kind:
            case "Prepare":
                return "Prepare"
            case "StartSet":
                first = "" if command.first is None else f" first {command.first}"
                return f"StartSet {self.names[command.spec.id]}{first}"
            case "AwaitReady" if command.first is not None:
                return f"AwaitReady {self.names[command.set]} first {command.first}"
            case "Propose":
                return "Propose " + ", ".join(self.names[spec.id] for spec in command.specs)
            case "Activate":
                return "Activate " + ", ".join(self.names[s] for s in command.sets.values())
            case "SnapshotVolumes":
                ahead = " ahead" if command.ahead else ""
                return f"SnapshotVolumes {', '.join(command.volumes)}{ahead}"
            case "RestoreVolumes":
                return f"RestoreVolumes {command.step}"
            case "ResumeWriters":
                return "ResumeWriters"
            case "RemoveSnapshots":
                return f"RemoveSnapshots {', '.join(command.snapshots)}{'taken' if command.taken else ''}"
            case "Deactivate":
                return "Deactivate " + ", ".join(command.services)
            case "CallHooks":
                return f"CallHooks {command.event} {', '.join(command.services)}"
            case "TryCanaries":
                return "TryCanaries " + ", ".join(self.names[trial.set] for trial in command.trials)
            case _:
                return f"{kind} {self.names.get(command.set, command.set)}"

    def expect(self, *lines: str, fails: str | None = None) -> Play:
        assert sorted(self.say(c) for c in self.commands) == sorted(lines)
        following = []
        for command in list(self.commands):
            assert not following
            if fails is not None and self.say(command) == fails:
                following = self.rollout.handle(Failed(command=command, reason="broken"))
            else:
                following = self.rollout.handle(Done(command=command))
        self.commands = following
        return self

    def ends(self, state: State) -> None:
        assert self.commands == []
        assert self.rollout.state is state


DB = service("db", writes=True)
WEB = service("web", needs=("db",))
V1, V2 = release("1", DB, WEB), release("2", DB, WEB)
EMPTY = Observation(project="shop")


def both(version: Release) -> tuple[SetSpec, SetSpec]:
    return version.spec("db"), version.spec("web")


def test_the_first_apply_goes_wave_by_wave_and_each_service_serves_as_soon_as_it_is_proven() -> None:
    play = Play(planning.make(V1, EMPTY, revision=0))
    play.expect("Prepare").expect("StartSet new db").expect("AwaitReady new db").expect("Activate new db")
    play.expect("StartSet new web").expect("AwaitReady new web").expect("Activate new web")
    play.ends(State.DONE)


ASKED = (Hook(command=("ask",), blocking=True),)
POLICY = Policy(hooks=Hooks(post_validate=ASKED, pre_switch=ASKED, post_switch=(Hook(command=("tell",)),)))


def test_hooks_are_asked_before_the_rest_starts_and_each_time_before_the_traffic_moves() -> None:
    new = release("2", DB, service("web", needs=("db",), validate=CHECKS, replicas=2))
    plan = planning.make(new, observed(*both(V1)), revision=1, policy=POLICY)
    play = Play(plan).expect("Prepare").expect("StopSet old db")
    play.expect("StartSet new db").expect("AwaitReady new db").expect("CallHooks post_validate db")
    play.expect("CallHooks pre_switch db").expect("Activate new db").expect("Propose new web")
    play.expect("StartSet new web first 1").expect("AwaitReady new web first 1").expect("Validate new web")
    play.expect("CallHooks post_validate web").expect("StartSet new web").expect("AwaitReady new web")
    play.expect("CallHooks pre_switch web").expect("Activate new web")
    play.expect("Drain old web", "CallHooks post_switch db, web").ends(State.DONE)


@pytest.mark.parametrize("event", ["post_validate", "pre_switch"])
def test_a_hook_that_objects_reverts_before_anything_old_is_touched(event: str) -> None:
    only_web = Release(project="shop", services={"db": V1.services["db"], "web": V2.services["web"]})
    play = Play(planning.make(only_web, observed(*both(V1)), revision=1, policy=POLICY))
    play.expect("Prepare").expect("StartSet new web").expect("AwaitReady new web")
    if event == "pre_switch":
        play.expect("CallHooks post_validate web")
    play.expect(f"CallHooks {event} web", fails=f"CallHooks {event} web")
    play.expect("RemoveSet new web").ends(State.REVERTED)


def test_what_comes_back_is_not_vetted_again_but_announced() -> None:
    old = Release(project="shop", services={"db": V1.services["db"], "web": V2.services["web"]})
    kept = observed(*both(V1), old.spec("web"), active={"db": V1.spec("db").id, "web": old.spec("web").id})
    play = Play(planning.make(V1, kept, revision=2, keep=[old.spec("web").id], policy=POLICY))
    play.expect("Prepare").expect("StartSet new web").expect("AwaitReady new web")
    play.expect("CallHooks pre_switch web").expect("Activate new web")
    play.expect("Drain old web", "CallHooks post_switch web").ends(State.DONE)


def test_a_repair_moves_no_traffic_and_asks_nobody() -> None:
    spec = V1.spec("db")
    ended = SetObservation(
        spec=spec,
        replicas=(ReplicaObservation(service="db", set=spec.id, index=1, container="c", state="exited"),),
    )
    seen = Observation(project="shop", sets={spec.id: ended}, active={"db": spec.id})
    play = Play(planning.make(release("1", DB), seen, revision=1, policy=POLICY))
    play.expect("Prepare").expect("StartSet old db").expect("AwaitReady old db").expect("Activate old db")
    play.ends(State.DONE)


def test_a_changed_service_is_switched_only_when_its_new_set_is_proven() -> None:
    only_web = Release(project="shop", services={"db": V1.services["db"], "web": V2.services["web"]})
    play = Play(planning.make(only_web, observed(*both(V1)), revision=1))
    play.expect("Prepare").expect("StartSet new web").expect("AwaitReady new web")
    play.expect("Activate new web").expect("Drain old web").ends(State.DONE)


def test_several_services_switch_in_one_action() -> None:
    a1, a2 = (release(v, service("api"), service("web")) for v in "12")
    play = Play(planning.make(a2, observed(a1.spec("api"), a1.spec("web")), revision=1))
    play.expect("Prepare").expect("Propose new api, new web").expect("StartSet new api", "StartSet new web")
    play.expect("AwaitReady new api", "AwaitReady new web").expect("Activate new api, new web")
    play.expect("Drain old api", "Drain old web").ends(State.DONE)


def test_a_service_that_shares_its_state_gives_way_first() -> None:
    play = Play(planning.make(V2, observed(*both(V1)), revision=1))
    play.expect("Prepare").expect("StopSet old db").expect("StartSet new db").expect("AwaitReady new db")
    play.expect("Activate new db").expect("StartSet new web").expect("AwaitReady new web").expect("Activate new web")
    play.expect("Drain old web").ends(State.DONE)


def proven(version: str, **proof: object) -> Release:
    """``web``, three replicas with a validation, upon ``api`` that has none."""
    return release(version, service("api"), service("web", needs=("api",), replicas=3, validate=CHECKS, **proof))


def test_a_test_server_is_validated_among_its_own_candidates_before_the_rest_starts() -> None:
    old, new = proven("1"), proven("2")
    play = Play(planning.make(new, observed(old.spec("api"), old.spec("web")), revision=1))
    play.expect("Prepare").expect("StartSet new api").expect("AwaitReady new api")
    play.expect("Propose new api, new web").expect("StartSet new web first 1").expect("AwaitReady new web first 1")
    play.expect("Validate new web").expect("StartSet new web").expect("AwaitReady new web")
    play.expect("Activate new api, new web").expect("Drain old api", "Drain old web").ends(State.DONE)


def test_a_failed_validation_touches_nothing_old() -> None:
    old, new = proven("1"), proven("2")
    play = Play(planning.make(new, observed(old.spec("api"), old.spec("web")), revision=1))
    play.expect("Prepare").expect("StartSet new api").expect("AwaitReady new api").expect("Propose new api, new web")
    play.expect("StartSet new web first 1").expect("AwaitReady new web first 1")
    play.expect("Validate new web", fails="Validate new web")
    play.expect("RemoveSet new api", "RemoveSet new web").ends(State.REVERTED)


def test_what_served_before_is_not_validated_again() -> None:
    old, new = proven("1"), proven("2")
    there = observed(*(r.spec(n) for r in (old, new) for n in ("api", "web")), active=dict.fromkeys(("api", "web")))
    there.active.update({name: new.spec(name).id for name in ("api", "web")})
    play = Play(planning.make(old, there, revision=2, keep=[old.spec("api").id, old.spec("web").id]))
    play.expect("Prepare").expect("StartSet new api").expect("AwaitReady new api").expect("Propose new api, new web")
    play.expect("StartSet new web").expect("AwaitReady new web").expect("Activate new api, new web")


WATCHED = Watch(seconds=30, max_error_share=0.01)


def test_a_switch_is_watched_before_anything_is_removed() -> None:
    a1, a2, a3 = (release(v, service("web", watch=WATCHED)) for v in "123")
    there = observed(a1.spec("web"), a2.spec("web"), active={"web": a2.spec("web").id})
    play = Play(planning.make(a3, there, revision=2))
    play.expect("Prepare").expect("StartSet new web").expect("AwaitReady new web").expect("Activate new web")
    play.expect("Drain old web")
    (watch,) = play.commands
    assert (watch.seconds, watch.limits, watch.old) == (30, WATCHED.limits, a2.spec("web").id)
    assert play.rollout.handle(Cancelled(reason="interrupted")) == []
    play.expect("WatchSet new web").expect(f"RemoveSet {a1.spec('web').id}").ends(State.DONE)


def test_a_bad_watch_takes_the_whole_switch_back() -> None:
    old = release("1", service("api"), service("web", watch=WATCHED), service("gone"))
    new = release("2", service("api"), service("web", watch=WATCHED))
    play = Play(planning.make(new, observed(*(old.spec(name) for name in old.services)), revision=1))
    play.expect("Prepare").expect("Propose new api, new web").expect("StartSet new api", "StartSet new web")
    play.expect("AwaitReady new api", "AwaitReady new web").expect("Activate new api, new web")
    play.expect("Deactivate gone", "Drain old api", "Drain old web")
    play.expect("WatchSet new web", fails="WatchSet new web")
    play.expect("Activate old api, old web, old gone").expect("Drain new api", "Drain new web")
    play.expect("RemoveSet new api", "RemoveSet new web").ends(State.REVERTED)


def test_a_bad_watch_of_what_shares_its_state_brings_the_old_set_up_again() -> None:
    old, new = (release(v, service("db", writes=True, watch=WATCHED)) for v in "12")
    play = Play(planning.make(new, observed(old.spec("db")), revision=1))
    play.expect("Prepare").expect("StopSet old db").expect("StartSet new db").expect("AwaitReady new db")
    play.expect("Activate new db").expect("WatchSet new db", fails="WatchSet new db")
    play.expect("StopSet new db").expect("StartSet old db").expect("AwaitReady old db").expect("Activate old db")
    play.expect("RemoveSet new db").ends(State.REVERTED)


TRIED = Canary(seconds=60, percent=20, max_error_share=0.01)


def tried(version: str) -> Release:
    """Two services with a canary, one without, and one that cannot have any."""
    names = [service(name, canary=TRIED) for name in ("api", "web")]
    return release(version, *names, service("plain"), service("db", writes=True, canary=TRIED))


def at_the_canary() -> Play:
    old, new = tried("1"), tried("2")
    play = Play(planning.make(new, observed(*(old.spec(name) for name in old.services)), revision=1))
    every = ("api", "db", "plain", "web")
    play.expect("Prepare").expect("StopSet old db").expect("Propose new api, new web, new plain, new db")
    play.expect(*(f"StartSet new {name}" for name in every)).expect(*(f"AwaitReady new {name}" for name in every))
    play.expect("Activate new db")
    return play


def test_canaries_are_tried_together_before_everything_switches() -> None:
    play = at_the_canary()
    (trying,) = play.commands
    assert {trial.canary for trial in trying.trials} == {TRIED}
    assert [play.names[trial.old] for trial in trying.trials] == ["old api", "old web"]
    play.expect("TryCanaries new api, new web").expect("Activate new api, new web, new plain")
    play.expect("Drain old api", "Drain old plain", "Drain old web").ends(State.DONE)


def test_a_bad_canary_leaves_all_traffic_with_the_old_sets() -> None:
    play = at_the_canary()
    play.expect("TryCanaries new api, new web", fails="TryCanaries new api, new web")
    play.expect("StopSet new db").expect("StartSet old db").expect("AwaitReady old db")
    play.expect("Activate old api, old web, old db").expect("Drain new api", "Drain new web")
    play.expect(*(f"RemoveSet new {name}" for name in ("api", "db", "plain", "web"))).ends(State.REVERTED)


def test_whoever_served_before_is_not_tried_again() -> None:
    old, new = (release(v, service("web", canary=TRIED)) for v in "12")
    there = observed(old.spec("web"), new.spec("web"), active={"web": new.spec("web").id})
    play = Play(planning.make(old, there, revision=2, keep=[old.spec("web").id]))
    play.expect("Prepare").expect("StartSet new web").expect("AwaitReady new web").expect("Activate new web")
    play.expect("Drain old web").ends(State.DONE)


def test_the_first_set_of_a_service_has_nobody_beside_it_to_be_tried_with() -> None:
    play = Play(planning.make(release("1", service("web", canary=TRIED)), EMPTY, revision=0))
    play.expect("Prepare").expect("StartSet new web").expect("AwaitReady new web").expect("Activate new web")
    play.ends(State.DONE)


def test_an_interrupted_canary_goes_back() -> None:
    play = at_the_canary()
    assert play.rollout.handle(Cancelled(reason="interrupted")) == []
    play.expect("TryCanaries new api, new web", fails="TryCanaries new api, new web").expect("StopSet new db")


def test_when_a_later_service_fails_the_one_that_gave_way_comes_back() -> None:
    play = Play(planning.make(V2, observed(*both(V1)), revision=1))
    play.expect("Prepare").expect("StopSet old db").expect("StartSet new db").expect("AwaitReady new db")
    play.expect("Activate new db").expect("StartSet new web").expect("AwaitReady new web", fails="AwaitReady new web")
    play.expect("StopSet new db").expect("StartSet old db").expect("AwaitReady old db").expect("Activate old db")
    play.expect("RemoveSet new db", "RemoveSet new web").ends(State.REVERTED)
    assert [failure.reason for failure in play.rollout.failures] == ["broken"]


def test_a_failed_first_apply_leaves_nothing_that_serves() -> None:
    play = Play(planning.make(V1, EMPTY, revision=0))
    play.expect("Prepare").expect("StartSet new db").expect("AwaitReady new db").expect("Activate new db")
    play.expect("StartSet new web", fails="StartSet new web").expect("Deactivate db")
    play.expect("RemoveSet new db", "RemoveSet new web").ends(State.REVERTED)


def test_a_failure_after_the_commit_is_noted_and_the_rollout_goes_on() -> None:
    a1, a2 = (release(v, service("web")) for v in "12")
    play = Play(planning.make(a2, observed(a1.spec("web")), revision=1))
    play.expect("Prepare").expect("StartSet new web").expect("AwaitReady new web").expect("Activate new web")
    play.expect("Drain old web", fails="Drain old web").ends(State.DONE)
    assert len(play.rollout.notes) == 1
    assert not play.rollout.failures


def test_a_kept_set_that_does_not_come_up_is_stopped_and_not_removed() -> None:
    a1, a2 = (release(v, service("web")) for v in "12")
    there = observed(a1.spec("web"), a2.spec("web"), active={"web": a2.spec("web").id})
    play = Play(planning.make(a1, there, revision=2, keep=[a1.spec("web").id]))
    play.expect("Prepare").expect("StartSet new web").expect("AwaitReady new web", fails="AwaitReady new web")
    play.expect("StopSet new web").ends(State.REVERTED)


def test_a_removed_service_leaves_after_the_switch() -> None:
    without = Release(project="shop", services={"db": V1.services["db"]})
    play = Play(planning.make(without, observed(*both(V1)), revision=1))
    play.expect("Prepare").expect("Deactivate web").expect("StopSet old web").ends(State.DONE)


def test_sets_that_nothing_comes_back_to_are_removed_at_the_end() -> None:
    a1, a2, a3 = (release(v, service("web")) for v in "123")
    there = observed(a1.spec("web"), a2.spec("web"), active={"web": a2.spec("web").id})
    plan = planning.make(a3, there, revision=2)
    assert plan.prune == (a1.spec("web").id,)
    play = Play(plan)
    play.expect("Prepare").expect("StartSet new web").expect("AwaitReady new web").expect("Activate new web")
    play.expect("Drain old web").expect(f"RemoveSet {a1.spec('web').id}").ends(State.DONE)


def test_nothing_to_do_says_nothing() -> None:
    plan = planning.make(V1, observed(*both(V1)), revision=1)
    assert plan.is_empty
    Play(plan).ends(State.DONE)


def test_a_job_is_waited_for_to_its_end() -> None:
    jobs = release("1", service("migrate"), service("web", job_of=("migrate",)))
    rollout = Rollout(planning.make(jobs, EMPTY, revision=0))
    (prepare,) = rollout.begin()
    (start,) = rollout.handle(Done(command=prepare))
    (wait,) = rollout.handle(Done(command=start))
    assert wait.completed


def test_cancelling_before_the_commit_reverts_and_after_it_does_nothing() -> None:
    a1, a2 = (release(v, service("web")) for v in "12")
    play = Play(planning.make(a2, observed(a1.spec("web")), revision=1))
    play.expect("Prepare")
    assert play.rollout.handle(Cancelled(reason="interrupted")) == []
    play.expect("StartSet new web").expect("RemoveSet new web").ends(State.REVERTED)

    play = Play(planning.make(a2, observed(a1.spec("web")), revision=1))
    play.expect("Prepare").expect("StartSet new web").expect("AwaitReady new web").expect("Activate new web")
    assert play.rollout.handle(Cancelled(reason="interrupted")) == []
    play.expect("Drain old web").ends(State.DONE)


@pytest.mark.parametrize("steps", range(14))
@pytest.mark.parametrize("watched", [False, True])
def test_a_dead_rollout_is_taken_up_wherever_it_died(steps: int, watched: bool) -> None:
    """Run the plan on a model of an engine, stop, recover: exactly one active set a service, and no orphan."""
    proof = {"watch": WATCHED, "validate": CHECKS, "canary": TRIED} if watched else {}
    first, second = (
        release(version, service("db", writes=True), service("web", needs=("db",), replicas=2, **proof))
        for version in "12"
    )
    model = Model(observed(*both(first)))
    plan = planning.make(second, model.observe(), revision=1)
    rollout = Rollout(plan)
    commands = rollout.begin()
    for _ in range(steps):
        if rollout.is_final:
            break
        commands = model.answer(rollout, commands)
    again, commands = Rollout.recover(plan, model.observe())
    while not again.is_final:
        commands = model.answer(again, commands)
    ended = model.observe()
    committed = ended.active == plan.target
    assert again.state is (State.DONE if committed else State.REVERTED)
    assert ended.active in ({s.service.name: s.id for s in both(first)}, plan.target)
    assert all(model.running[name] for name in ended.active.values())
    assert model.shares == {}
    if not committed:
        assert set(ended.sets) == set(ended.active.values())


class Model:
    """An engine in memory, as far as a rollout can tell."""

    def __init__(self, start: Observation) -> None:
        self.specs = {name: found.spec for name, found in start.sets.items()}
        self.running = dict.fromkeys(start.sets, True)
        self.active = dict(start.active)
        self.shares: dict[str, str] = {}  # the canary of each service

    def observe(self) -> Observation:
        return observed(*self.specs.values(), active=dict(self.active))

    def answer(self, rollout: Rollout, commands: list) -> list:
        following: list = []
        for command in commands:
            self.execute(command)
            following = rollout.handle(Done(command=command))
        return following

    def execute(self, command: object) -> None:
        match type(command).__name__:
            case "StartSet":
                self.specs[command.spec.id] = command.spec
                self.running[command.spec.id] = True
            case "Propose":
                for spec in command.specs:
                    self.specs[spec.id] = spec
                    self.running.setdefault(spec.id, False)
            case "StopSet":
                self.running[command.set] = False
            case "AwaitReady":
                assert self.running[command.set]
            case "Activate":
                assert all(self.running[name] for name in command.sets.values())
                self.shares = {name: one for name, one in self.shares.items() if name not in command.sets}
                self.active |= command.sets
            case "TryCanaries":
                assert all(self.running[trial.set] for trial in command.trials)
                self.shares = {self.specs[trial.set].service.name: trial.set for trial in command.trials}
            case "Deactivate":
                for name in command.services:
                    self.active.pop(name, None)
            case "RemoveSet":
                assert command.set not in {*self.active.values(), *self.shares.values()}
                self.specs.pop(command.set, None)
                self.running.pop(command.set, None)


def with_snapshot(plan: planning.Plan, *, wave: int = 0, restore: bool = False) -> planning.Plan:
    cost = VolumeCost(volume="shop_data", method="copy", files=1, size_bytes=1, seconds=1.0)
    planned = PlannedSnapshot(volume="shop_data", wave=wave, consistency="stopped", cost=cost)
    return planning.with_data(
        plan,
        Data(leaving=1, restore={"shop_data": "s1"}, forget=("s0",))
        if restore
        else Data(leaving=1, snapshots=(planned,)),
    )


def test_a_volume_is_copied_ahead_and_snapshotted_while_its_writer_is_stopped() -> None:
    play = Play(with_snapshot(planning.make(V2, observed(*both(V1)), revision=1)))
    play.expect("Prepare").expect("SnapshotVolumes shop_data ahead").expect("StopSet old db")
    play.expect("SnapshotVolumes shop_data").expect("StartSet new db")
    play.expect("AwaitReady new db").expect("Activate new db")


def test_a_volume_is_snapshotted_in_its_own_wave() -> None:
    play = Play(with_snapshot(planning.make(V2, observed(*both(V1)), revision=1), wave=1))
    play.expect("Prepare").expect("SnapshotVolumes shop_data ahead").expect("StopSet old db")
    play.expect("StartSet new db").expect("AwaitReady new db")
    play.expect("Activate new db").expect("SnapshotVolumes shop_data")


def test_a_snapshot_that_fails_lets_writers_go_on_and_leaves_nothing() -> None:
    play = Play(with_snapshot(planning.make(V2, observed(*both(V1)), revision=1)))
    play.expect("Prepare").expect("SnapshotVolumes shop_data ahead").expect("StopSet old db")
    play.expect("SnapshotVolumes shop_data", fails="SnapshotVolumes shop_data").expect("ResumeWriters")
    play.expect("StartSet old db").expect("AwaitReady old db").expect("RemoveSnapshots taken").ends(State.REVERTED)


def test_data_go_back_while_everything_that_changes_is_stopped() -> None:
    play = Play(with_snapshot(planning.make(V2, observed(*both(V1)), revision=1), restore=True))
    play.expect("Prepare").expect("RestoreVolumes stage").expect("StopSet old db", "StopSet old web")
    play.expect("RestoreVolumes swap").expect("StartSet new db")
    play.expect("AwaitReady new db").expect("Activate new db")
    play.expect("StartSet new web").expect("AwaitReady new web").expect("Activate new web")
    play.expect("RemoveSnapshots s0").ends(State.DONE)


def test_a_warm_set_that_comes_back_begins_anew_where_data_go_back() -> None:
    only_web = Release(project="shop", services={"db": V1.services["db"], "web": V2.services["web"]})
    found = observed(*both(V1), only_web.spec("web"), active={"db": V1.spec("db").id, "web": only_web.spec("web").id})
    play = Play(with_snapshot(planning.make(V1, found, revision=2), restore=True))
    play.expect("Prepare").expect("RestoreVolumes stage").expect("StopSet old web", "StopSet new web")
    play.expect("RestoreVolumes swap").expect("StartSet new web").expect("AwaitReady new web")
    play.expect("Activate new web").expect("RemoveSnapshots s0").ends(State.DONE)


def test_data_that_went_back_come_again_before_the_old_code_does() -> None:
    play = Play(with_snapshot(planning.make(V2, observed(*both(V1)), revision=1), restore=True))
    play.expect("Prepare").expect("RestoreVolumes stage").expect("StopSet old db", "StopSet old web")
    play.expect("RestoreVolumes swap").expect("StartSet new db")
    play.expect("AwaitReady new db", fails="AwaitReady new db").expect("StopSet new db")
    play.expect("RestoreVolumes back").expect("StartSet old db", "StartSet old web")
    play.expect("AwaitReady old db", "AwaitReady old web").expect("RemoveSet new db").ends(State.REVERTED)


def test_data_that_cannot_come_again_leave_everything_stopped() -> None:
    play = Play(with_snapshot(planning.make(V2, observed(*both(V1)), revision=1), restore=True))
    play.expect("Prepare").expect("RestoreVolumes stage").expect("StopSet old db", "StopSet old web")
    play.expect("RestoreVolumes swap", fails="RestoreVolumes swap")
    play.expect("RestoreVolumes back", fails="RestoreVolumes back").ends(State.STUCK)


def test_a_dead_restore_is_taken_back() -> None:
    plan = with_snapshot(planning.make(V2, observed(*both(V1)), revision=1), restore=True)
    play = Play(plan)
    play.rollout, play.commands = Rollout.recover(plan, observed(*both(V1)))
    play.expect("RestoreVolumes back").expect("StartSet old db", "StartSet old web")
    play.expect("AwaitReady old db", "AwaitReady old web").ends(State.REVERTED)


def test_the_table_covers_every_state_and_every_way_ends() -> None:
    assert set(NEXT) | FINAL == set(State)
    for start in State:
        seen, todo = set(), [start]
        while todo:
            state = todo.pop()
            if state not in seen:
                seen.add(state)
                todo += NEXT.get(state, ())
        assert seen & FINAL
    assert State.DONE in COMMITTED
