"""The driver over an engine that only remembers: failures, interrupts, locks, and rollouts whose process died."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from bennu.compose.extension import Canary, Expectation, Hook, Hooks, Validation, Watch, XBennu
from bennu.config import Settings
from bennu.deploy import agent as agent_module
from bennu.deploy.agent import Agent
from bennu.deploy.apply import Deployer, Outcome
from bennu.deploy.history import History
from bennu.deploy.policy import Policy
from bennu.deploy.release import Release
from bennu.deploy.states import FINAL, NEXT, State
from bennu.deploy.turn import AGENT
from bennu.engine.actions import (
    Action,
    Activate,
    AwaitReady,
    Drain,
    Receipt,
    RemoveSet,
    SnapshotVolumes,
    StartSet,
    TryCanaries,
)
from bennu.engine.base import Report
from bennu.engine.sets import SetSpec
from bennu.errors import BennuError, Conflict, Failed, NotFound
from bennu.host import locks
from bennu.host.files import remove_tree
from bennu.store.database import Database
from tests.engine_memory import Behaviour, MemoryEngine
from tests.unit.deploy.fleets import PROJECT, image, shop

BAD = {image("web bad"), image("db bad")}
ILL = image("web ill")


class Died(BaseException):
    """The process is gone: nothing of it may go on."""


class Listener:
    """A reporter that remembers, and does something when a state is entered."""

    def __init__(self, on_state: Callable[[State], None] = lambda _: None) -> None:
        self.states: list[State] = []
        self.lines: list[str] = []
        self.failures: list[str] = []
        self._on_state = on_state

    def state(self, state: State) -> None:
        self.states.append(state)
        self._on_state(state)

    def progress(self, action: Action, line: str) -> None:
        pass

    def done(self, action: Action, receipt: Receipt, seconds: float) -> None:
        pass

    def failed(self, action: Action, error: BennuError) -> None:
        self.failures.append(error.message)

    def say(self, line: str) -> None:
        self.lines.append(line)


class Engine(MemoryEngine):
    """``before`` is called with every action before it is done, in its own thread."""

    def __init__(self, behave: Callable[[SetSpec], Behaviour]) -> None:
        super().__init__(behave)
        self.before: Callable[[Action, threading.Event], None] = lambda _action, _cancel: None

    def execute(self, action: Action, report: Report, cancel: threading.Event) -> Receipt:
        self.before(action, cancel)
        return super().execute(action, report, cancel)


@dataclass
class Fleet:
    settings: Settings
    history: History
    engine: Engine
    listener: Listener = field(default_factory=Listener)

    def deployer(self, author: str = "me") -> Deployer:
        return Deployer(self.engine, self.history, self.settings.locks, project=PROJECT, author=author)

    def apply(
        self,
        release: Release,
        listener: Listener | None = None,
        policy: Policy | None = None,
        restore: dict[str, str] | None = None,
    ) -> Outcome:
        deployer, listener = self.deployer(), listener or self.listener
        with deployer.exclusive(listener):
            return deployer.carry_out(deployer.plan(release, policy=policy, restore=restore), release, listener)

    @property
    def data(self) -> dict[str, str]:
        """What the volumes hold."""
        return self.engine.data.texts

    def active(self) -> dict[str, str]:
        return dict(self.engine.observe(PROJECT).active)

    def states(self) -> list[str]:
        return [each.state for each in reversed(self.history.revisions(PROJECT))]

    def runs(self, release: Release) -> bool:
        found = self.engine.observe(PROJECT)
        return found.active == {name: release.spec(name).id for name in release.services} and all(
            found.sets[name].is_ready for name in found.active.values()
        )


@pytest.fixture
def fleet(root_settings: Settings) -> Iterator[Fleet]:
    database = Database(root_settings.database)

    def behave(spec: SetSpec) -> Behaviour:
        return "sick" if spec.image in BAD else "ill" if spec.image == ILL else "good"

    yield Fleet(root_settings, History(database), Engine(behave))
    database.close()
    remove_tree(root_settings.run)


def test_a_rollout_that_goes_through(fleet: Fleet):
    outcome = fleet.apply(shop())
    assert fleet.runs(shop())
    assert outcome.revision.state == "active"
    assert outcome.notes == ()
    assert outcome.revision.phases.keys() == {"preparing", "starting", "proving", "adopting"}
    fleet.listener.states.clear()
    fleet.apply(shop("2"))
    assert fleet.runs(shop("2"))
    assert fleet.listener.states == [
        State.PREPARING, State.STARTING, State.PROVING, State.SWITCHING, State.DRAINING,
    ]  # fmt: skip
    assert fleet.states() == ["superseded", "active"]


def test_an_image_that_has_gone_is_missed_before_anything_is_touched(fleet: Fleet):
    fleet.apply(shop())
    deployer = Deployer(
        fleet.engine, fleet.history, fleet.settings.locks, project=PROJECT, author="me",
        has_image=lambda digest: digest != image("web 2"),
    )  # fmt: skip
    with pytest.raises(NotFound, match=r"service 'web': image 'web' \(\w{12}\) is no longer in the store"):
        deployer.carry_out(deployer.plan(shop("2")), shop("2"), fleet.listener)
    assert fleet.states() == ["active"]
    deployer.carry_out(deployer.plan(shop("3")), shop("3"), fleet.listener)


def test_only_so_many_sets_are_kept(fleet: Fleet):
    for version in "12345":
        fleet.apply(shop(version, keep=2))
        kept = [name for name in fleet.engine.observe(PROJECT).sets if name.startswith("web")]
        assert len(kept) == min(int(version), 3)
    assert set(fleet.engine.observe(PROJECT).sets) == {
        shop().spec("db").id, *(shop(version).spec("web").id for version in "345"),
    }  # fmt: skip


@pytest.mark.parametrize("bad", [{"version": "bad"}, {"version": "2", "db": "bad"}])
def test_a_set_that_is_never_ready_reverts_and_is_named(fleet: Fleet, bad: dict[str, str]):
    fleet.apply(shop())
    broken = shop(**bad)
    with pytest.raises(Failed) as caught:
        fleet.apply(broken)
    name = "web" if bad["version"] == "bad" else "db"
    assert caught.value.message.startswith(f"revision 2 failed: replica {name}.1 of set {broken.spec(name).id} did not")
    assert "probe 'is-ready' ended with 1" in caught.value.message
    assert caught.value.message.endswith("it was reverted")
    assert (caught.value.status, caught.value.command) == (1, ("CMD", "is-ready"))
    assert caught.value.tail == (f"{name}.1 | its last words",)
    step, *became = caught.value.notes
    assert step == "step: waiting until ready"
    old, new = shop().spec(name).id, broken.spec(name).id
    assert f"reverted: set {new} was removed" in became
    if name == "db":  # it had to stop first: that is not untouched
        assert f"reverted: set {old} of db was stopped, and serves again" in became
        assert became[-1] == f"untouched: web ({shop().spec('web').id})"
    else:
        assert became[-1] == f"untouched: db ({shop().spec('db').id}), web ({old})"
    assert fleet.runs(shop())
    assert set(fleet.engine.observe(PROJECT).sets) == set(fleet.active().values())
    assert fleet.states() == ["active", "failed"]
    assert "did not become healthy" in fleet.history.revision(PROJECT, 2).reason
    fleet.apply(shop("3"))
    assert fleet.history.rollback_target(PROJECT).number == 1


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), sqlite3.OperationalError("disk is full")])
def test_trouble_of_the_host_reverts_too(fleet: Fleet, error: Exception):
    fleet.apply(shop())

    def refuse(action: Action, _cancel: threading.Event) -> None:
        if isinstance(action, StartSet):
            raise error

    fleet.engine.before = refuse
    with pytest.raises(Failed, match=r"revision 2 failed: StartSet: .*(No space left|disk is full).*reverted"):
        fleet.apply(shop("2"))
    assert fleet.runs(shop())
    assert fleet.states() == ["active", "failed"]


def test_what_fails_after_the_switch_is_a_note(fleet: Fleet):
    for version in "12":
        fleet.apply(shop(version, keep=1))

    def refuse(action: Action, _cancel: threading.Event) -> None:
        if isinstance(action, (Drain, RemoveSet)):
            raise Failed("no")

    fleet.engine.before = refuse
    outcome = fleet.apply(shop("3", keep=1))
    assert set(outcome.notes) == {"no"}
    assert fleet.runs(shop("3"))


def test_what_cannot_be_reverted_is_stuck_and_says_so(fleet: Fleet):
    fleet.apply(shop())
    old = shop().spec("db")

    def refuse(action: Action, _cancel: threading.Event) -> None:
        if isinstance(action, StartSet) and action.spec.id == old.id:
            raise Failed("the disk is gone")

    fleet.engine.before = refuse
    with pytest.raises(Failed, match=r"revision 2 failed: .*could not be reverted \(the disk is gone\)") as caught:
        fleet.apply(shop(db="bad"))
    assert "bennu status" in caught.value.hint
    assert fleet.states() == ["active", "stuck"]
    fleet.engine.before = lambda _action, _cancel: None
    fleet.apply(shop("2"))  # the next one puts it right: the old database comes back
    assert fleet.runs(shop("2"))


def interrupt() -> None:
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)


def test_an_interrupt_reverts(fleet: Fleet):
    fleet.apply(shop())

    def wait(action: Action, cancel: threading.Event) -> None:
        if isinstance(action, AwaitReady) and action.set == shop("2").spec("web").id:
            interrupt()
            assert cancel.wait(20)
            raise Failed("cancelled while waiting")

    fleet.engine.before = wait
    with pytest.raises(Failed, match="it was reverted"):
        fleet.apply(shop("2"))
    assert any(line.startswith("interrupted: reverting") for line in fleet.listener.lines)
    assert fleet.runs(shop())
    assert fleet.states() == ["active", "failed"]
    assert fleet.history.revision(PROJECT, 2).reason == "interrupted"


def test_an_interrupt_after_the_switch_only_ends_the_waiting(fleet: Fleet):
    fleet.apply(shop())

    def wait(action: Action, cancel: threading.Event) -> None:
        if isinstance(action, Drain):
            interrupt()
            assert cancel.wait(20)

    fleet.engine.before = wait
    assert fleet.apply(shop("2")).revision.state == "active"
    assert fleet.runs(shop("2"))


def test_a_second_interrupt_leaves_the_rest_to_the_next_command(fleet: Fleet):
    fleet.apply(shop())

    def wait(action: Action, cancel: threading.Event) -> None:
        if isinstance(action, AwaitReady):
            interrupt()
            assert cancel.wait(20)
            interrupt()
            left.wait(20)
            raise Failed("cancelled")

    left = threading.Event()
    fleet.engine.before = wait
    fleet.listener.say = lambda _line: None
    timer = threading.Timer(0.5, left.set)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        fleet.apply(shop("2"))
    timer.join()
    assert fleet.states() == ["active", "rolling"]
    fleet.engine.before = lambda _action, _cancel: None
    fleet.apply(shop("3"))
    assert fleet.runs(shop("3"))
    assert fleet.states() == ["superseded", "failed", "active"]


HOLD = """
import sys
from pathlib import Path
from bennu.host import locks
with locks.held(Path(sys.argv[1]), owner=sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def held(fleet: Fleet) -> Iterator[Callable[[str], Callable[[], None]]]:
    """Has another process hold the deploy lock; returns what ends that."""
    children: list[subprocess.Popen[bytes]] = []

    def end() -> None:
        for child in children:
            child.stdin.close()
            child.wait()

    def take(owner: str) -> Callable[[], None]:
        path = fleet.settings.locks / f"deploy-{PROJECT}.lock"
        argv = [sys.executable, "-c", HOLD, str(path), owner]
        children.append(subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        assert children[-1].stdout.readline() == b"held\n"
        return end

    yield take
    end()
    for child in children:
        child.stdout.close()


def test_a_deploy_at_a_time_and_the_other_is_named(fleet: Fleet, held):
    end = held("ann@host, pid 4711 (bennu apply)")
    with pytest.raises(Conflict, match=r"project 'shop' is locked by ann@host, pid 4711 \(bennu apply\)"):
        fleet.apply(shop())
    assert fleet.states() == []

    def stop_it(line: str) -> None:
        fleet.listener.lines.append(line)
        end()

    fleet.listener.say = stop_it
    with fleet.deployer().exclusive(fleet.listener, wait_seconds=20):
        assert fleet.listener.lines == ["waiting for ann@host, pid 4711 (bennu apply)"]


def test_the_agent_is_waited_for(fleet: Fleet, held):
    end = held(f"root@host, pid 12 ({AGENT})")
    fleet.listener.say = lambda _line: end()
    fleet.apply(shop())
    assert fleet.runs(shop())


def test_a_plan_is_void_when_something_has_moved(fleet: Fleet):
    fleet.apply(shop())
    deployer = fleet.deployer()
    plan = deployer.plan(shop("2"))
    fleet.apply(shop("3"))
    with pytest.raises(Conflict, match="made at revision 1"):
        deployer.carry_out(plan, shop("2"), fleet.listener)
    plan = deployer.plan(shop("2"))
    fleet.engine.lose(PROJECT, "web", 1)
    with pytest.raises(Conflict, match="has changed since"):
        deployer.carry_out(plan, shop("2"), fleet.listener)
    assert fleet.states() == ["superseded", "active"]


# rollouts whose process died

STATES = [state for state in NEXT if state is not State.NEW and state not in FINAL]
COMMITTED_STATES = {State.DRAINING, State.WATCHING, State.RETIRING}
PROOF = XBennu(validate=(Validation(http=Expectation(port=80)),), canary=Canary(seconds=1), watch=Watch(seconds=1))

ASKED = (Hook(command=("true",), blocking=True),)
POLICY = Policy(hooks=Hooks(post_validate=ASKED, pre_switch=ASKED))


def die_at(fleet: Fleet, state: State) -> Release:
    """Roll out a change of both services, or one that fails, and die on entering the state; what was wanted."""

    def die(entered: State) -> None:
        if entered is state:
            raise Died

    reverting = "ill" if state is State.REVERT_DRAINING else "bad" if state.name.startswith("REVERT") else None
    wanted = shop(reverting or "3", db="3", keep=1, proof=PROOF, snapshot=("data",))
    restore = {"shop_data": fleet.engine.snapshots(PROJECT)[0].id} if state.name.endswith("RESTORING") else None
    with pytest.raises(Died):
        fleet.apply(wanted, Listener(die), POLICY, restore)
    assert fleet.history.rolling(PROJECT) is not None
    return wanted


@pytest.fixture
def two(fleet: Fleet) -> Fleet:
    """Two releases have been rolled out: the third has something to prune."""
    fleet.apply(shop("1", keep=1, snapshot=("data",)))
    fleet.data["shop_data"] = "of 1"
    fleet.apply(shop("2", keep=1, snapshot=("data",)))
    fleet.data["shop_data"] = "of 2"
    return fleet


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.name)
def test_a_dead_rollout_is_taken_up(two: Fleet, state: State):
    wanted = die_at(two, state)
    with two.deployer("you").exclusive(two.listener):
        pass
    committed = state in COMMITTED_STATES
    assert two.runs(wanted if committed else shop("2"))
    assert two.states()[-1] == ("active" if committed else "failed")
    assert two.states().count("active") == 1
    assert "revision 3 was left unfinished by me; taking it up" in two.listener.lines
    assert two.listener.lines[-1] == f"revision 3 is {'active' if committed else 'reverted'}"
    assert two.data == {"shop_data": "of 2"}
    two.apply(shop("4", keep=1))
    assert two.runs(shop("4"))
    found = two.engine.observe(PROJECT)
    assert len([name for name in found.sets if name.startswith("web")]) == 2  # the active one and the one that is kept


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.name)
def test_dying_again_while_taking_it_up_changes_nothing(two: Fleet, state: State):
    wanted = die_at(two, state)
    for _ in range(2):

        def refuse(entered: State) -> None:
            raise Died

        with pytest.raises(Died), two.deployer("you").exclusive(Listener(refuse)):
            pass
    with two.deployer("they").exclusive(two.listener):
        pass
    assert two.runs(wanted if state in COMMITTED_STATES else shop("2"))


def test_a_process_that_died_during_a_canary_leaves_no_share_behind(two: Fleet):
    """The new set has its share, and nobody looks any more."""

    def die(action: Action, cancel: threading.Event) -> None:
        if isinstance(action, TryCanaries):
            MemoryEngine.execute(two.engine, action, lambda _line: None, cancel)
            raise Died

    two.engine.before = die
    wanted = shop("3", keep=1, proof=PROOF)
    with pytest.raises(Died):
        two.apply(wanted)
    assert two.engine.observe(PROJECT).sets[wanted.spec("web").id].share == 10
    assert two.active()["web"] == shop("2").spec("web").id
    two.engine.before = lambda _action, _cancel: None
    with two.deployer().exclusive(two.listener):
        pass
    assert two.runs(shop("2"))
    assert {found.share for found in two.engine.observe(PROJECT).sets.values()} == {0}


def test_a_bad_canary_marks_the_revision_bad(fleet: Fleet):
    fleet.apply(shop("1"))
    with pytest.raises(Failed, match=r"fell ill as a canary; it was reverted"):
        fleet.apply(shop("ill", proof=XBennu(canary=Canary(seconds=1))))
    assert fleet.runs(shop("1"))
    assert fleet.states() == ["active", "failed"]
    with pytest.raises(Conflict, match="never served"):
        fleet.history.rollback_target(PROJECT, 2)


# data of volumes


def snapshots(fleet: Fleet) -> list[tuple[int, str, str]]:
    """Whose data there are, how they were taken, and what they hold."""
    found = fleet.engine.snapshots(PROJECT)
    return [(one.revision, one.consistency, fleet.engine.data.kept[one.id]) for one in found]


def test_each_switch_snapshots_what_the_old_code_leaves(two: Fleet):
    assert snapshots(two) == [(1, "paused", "of 1")]
    two.apply(shop("2", db="2", keep=1, snapshot=("data",)))
    assert snapshots(two) == [(2, "stopped", "of 2")]  # that of revision 1 went with its release


def test_a_release_without_snapshots_is_left_with_one(two: Fleet):
    two.apply(shop("3", keep=3))
    assert [revision for revision, *_ in snapshots(two)] == [1, 2]
    two.apply(shop("4", keep=3))
    assert [revision for revision, *_ in snapshots(two)] == [1, 2]


def test_code_and_data_go_back_together_and_forth_again(two: Fleet):
    first = two.engine.snapshots(PROJECT)[0]
    old = two.active()["db"]
    two.apply(shop("1", keep=1, snapshot=("data",)), restore={"shop_data": first.id})
    assert two.data == {"shop_data": "of 1"}
    assert two.active() == {"web": shop("1").spec("web").id, "db": f"{old}-1"}
    two.data["shop_data"] = "of 3"
    assert (2, "stopped", "of 2") in snapshots(two)
    back = next(one for one in two.engine.snapshots(PROJECT) if one.revision == 2)
    two.apply(shop("2", keep=1, snapshot=("data",)), restore={"shop_data": back.id})
    assert two.data == {"shop_data": "of 2"}
    assert (3, "stopped", "of 3") in snapshots(two)


def test_a_rollback_with_data_that_fails_takes_the_data_back(two: Fleet):
    first = two.engine.snapshots(PROJECT)[0]
    with pytest.raises(Failed, match="reverted"):
        two.apply(shop("bad", keep=1, snapshot=("data",)), restore={"shop_data": first.id})
    assert two.data == {"shop_data": "of 2"}
    assert two.runs(shop("2"))
    assert snapshots(two) == [(1, "paused", "of 1")]


def test_a_snapshot_stays_when_new_code_has_run_and_failed(two: Fleet):
    with pytest.raises(Failed):
        two.apply(shop("bad", keep=1, snapshot=("data",)))
    assert snapshots(two) == [(1, "paused", "of 1"), (2, "paused", "of 2")]


def test_a_snapshot_that_fails_stops_everything(two: Fleet):
    def refuse(action: Action, _cancel: threading.Event) -> None:
        if isinstance(action, SnapshotVolumes) and not action.ahead:
            raise Failed("the disk is full")

    two.engine.before = refuse
    with pytest.raises(Failed, match="the disk is full"):
        two.apply(shop("3", db="3", keep=1, snapshot=("data",)))
    assert two.runs(shop("2"))
    assert not any(isinstance(each, StartSet) and each.spec.image == image("web 3") for each in two.engine.done)


def test_down_does_not_take_up_what_it_removes(two: Fleet):
    die_at(two, State.PROVING)
    with two.deployer().exclusive(two.listener, recover=False):
        assert two.history.rolling(PROJECT) is not None
    assert two.listener.lines == []


def test_a_process_that_died_between_the_commit_and_its_answer(two: Fleet):
    """The engine has switched; the machine never heard of it."""

    def die(action: Action, cancel: threading.Event) -> None:
        if isinstance(action, Activate) and action.sets.get("web") == shop("3").spec("web").id:
            MemoryEngine.execute(two.engine, action, lambda _line: None, cancel)
            raise Died

    two.engine.before = die
    with pytest.raises(Died):
        two.apply(shop("3", keep=1))
    two.engine.before = lambda _action, _cancel: None
    with two.deployer().exclusive(two.listener):
        pass
    assert two.runs(shop("3"))
    assert two.states()[-1] == "active"


# the agent


class Watched(Engine):
    """Stops the agent after a number of rounds."""

    agent: Agent
    rounds = 3

    def watch(self, timeout_seconds: float, wake: int) -> None:
        self.rounds -= 1
        if self.rounds == 0:
            self.agent.stop()


@pytest.fixture
def tended(fleet: Fleet) -> Fleet:
    fleet.engine = Watched(fleet.engine.behave)
    return fleet


def run_agent(fleet: Fleet, *, rounds: int = 3, until_idle: bool = False) -> Listener:
    listener = Listener()
    agent = Agent(
        fleet.settings,
        fleet.engine,
        fleet.history,
        lambda project: Deployer(fleet.engine, fleet.history, fleet.settings.locks, project=project, author=AGENT),
        listener,
        until_idle=until_idle,
    )
    fleet.engine.agent, fleet.engine.rounds = agent, rounds
    agent.run()
    return listener


def test_the_agent_brings_back_what_ended(tended: Fleet):
    tended.apply(shop())
    tended.engine.crash(PROJECT, "web", 2)
    assert not tended.runs(shop())
    run_agent(tended)
    assert tended.runs(shop())


def test_the_agent_freezes_the_newest_kept_set_when_its_time_is_over_and_stops_older_ones(tended: Fleet):
    tended.apply(shop("1", keep_warm_seconds=600))
    tended.apply(shop("2", keep_warm_seconds=600))
    kept = shop("1").spec("web").id
    run_agent(tended)
    assert tended.engine.observe(PROJECT).sets[kept].temperature == "warm"
    tended.engine.deployed[PROJECT].sets[kept].released -= 601
    listener = run_agent(tended)
    assert tended.engine.observe(PROJECT).sets[kept].temperature == "frozen"
    assert listener.lines == [f"shop: set {kept} was kept warm long enough and is frozen"]
    tended.apply(shop("3", keep_warm_seconds=600))
    tended.engine.deployed[PROJECT].sets[kept].released -= 601
    newer = shop("2").spec("web").id
    assert run_agent(tended).lines == [f"shop: set {kept} was kept running long enough and is stopped"]
    assert [tended.engine.observe(PROJECT).sets[name].temperature for name in (kept, newer)] == ["stopped", "warm"]
    assert tended.runs(shop("3"))


def test_a_frozen_set_is_thawed_by_a_rollback(tended: Fleet):
    tended.apply(shop("1", keep_warm_seconds=0))
    tended.apply(shop("2", keep_warm_seconds=0))
    run_agent(tended)
    assert tended.engine.observe(PROJECT).sets[shop("1").spec("web").id].temperature == "frozen"
    tended.apply(shop("1", keep_warm_seconds=0))
    assert tended.runs(shop("1"))


def test_the_agent_leaves_kept_sets_to_a_deploy_that_is_under_way(tended: Fleet, held):
    tended.apply(shop("1", keep_warm_seconds=0))
    tended.apply(shop("2", keep_warm_seconds=0))
    held("ann (bennu rollback)")
    run_agent(tended)
    assert tended.engine.observe(PROJECT).sets[shop("1").spec("web").id].temperature == "warm"


def test_the_agent_takes_up_a_dead_rollout(tended: Fleet):
    tended.apply(shop("1", keep=1))
    tended.apply(shop("2", keep=1))
    die_at(tended, State.PROVING)
    run_agent(tended)
    assert tended.runs(shop("2"))
    assert tended.states()[-1] == "failed"


@pytest.mark.parametrize("error", [Failed("its disk is gone"), OSError("its disk is gone")])
def test_one_projects_trouble_is_said_once_and_does_not_stop_the_others(tended: Fleet, error: Exception):
    tended.apply(shop())
    tended.engine.deployed["ailing"] = tended.engine.deployed[PROJECT]
    tend = tended.engine.tend

    def failing(project: str, now: float) -> float:
        if project == "ailing":
            raise error
        return tend(project, now)

    tended.engine.tend = failing
    tended.engine.crash(PROJECT, "web", 1)
    listener = run_agent(tended, rounds=4)
    assert listener.lines == ["ailing: its disk is gone"]
    assert tended.runs(shop())


def test_the_agent_outlives_trouble_with_the_whole_engine(tended: Fleet, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(agent_module, "PAUSE_SECONDS", 0.0)
    tended.apply(shop())
    tended.engine.crash(PROJECT, "web", 1)
    projects, calls = tended.engine.projects, iter(range(100))

    def failing() -> tuple[str, ...]:
        if next(calls) < 4:
            raise sqlite3.OperationalError("database is locked")
        return projects()

    tended.engine.projects = failing
    assert run_agent(tended).lines == ["database is locked"]
    assert tended.runs(shop())


def test_an_agent_at_a_time(tended: Fleet):
    with (
        locks.held(tended.settings.locks / "agent.lock", owner="agent pid 7"),
        pytest.raises(Conflict, match="the agent is locked by agent pid 7"),
    ):
        run_agent(tended)


def test_the_agent_ends_when_nothing_is_left(tended: Fleet):
    tended.apply(shop())
    tended.engine.deployed.clear()
    run_agent(tended, rounds=100, until_idle=True)
    assert tended.engine.rounds > 90
