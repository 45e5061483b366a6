"""Reprovisioning on an engine that only remembers: fresh sets, failed drills, who goes first, what the agent begins."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator, Mapping

import msgspec
import pytest

from bennu.compose.model import Service
from bennu.config import Settings
from bennu.deploy.drills import Drills
from bennu.deploy.history import History
from bennu.deploy.policy import Policy
from bennu.deploy.release import Release
from bennu.deploy.reprovisioning import GaveWay, Reprovisioning, check_same
from bennu.deploy.states import State
from bennu.deploy.upkeep import LOOK_SECONDS, Upkeep, outlook
from bennu.digest import Digest
from bennu.engine.actions import Action, AwaitReady
from bennu.engine.sets import SetSpec
from bennu.errors import Conflict, Failed, NotFound, Unavailable
from bennu.host import locks
from bennu.host.files import remove_tree
from bennu.store.database import Database
from tests.engine_memory import Behaviour
from tests.unit.deploy.fleets import PROJECT, image, release, service, shop
from tests.unit.deploy.test_apply import Engine, Fleet, Listener

DAY = 86400.0


class Desk(Fleet):
    """As the fleet of the driver's tests, with drills."""

    drills: Drills

    def work(self, rebuilder: object = None, *, author: str = "me", listener: Listener | None = None) -> Reprovisioning:
        return Reprovisioning(
            self.deployer(author),
            self.history,
            self.drills,
            listener or self.listener,
            rebuilder=rebuilder,  # type: ignore[arg-type]
        )


@pytest.fixture
def desk(root_settings: Settings) -> Iterator[Desk]:
    database = Database(root_settings.database)

    def behave(spec: SetSpec) -> Behaviour:
        return "done" if spec.service.name == "once" else "sick" if spec.image == image("web bad") else "good"

    made = Desk(root_settings, History(database), Engine(behave))
    made.drills = Drills(database)
    yield made
    database.close()
    remove_tree(root_settings.run)


class Builder:
    """Builds what it is told to, or fails."""

    def __init__(self, file: Release, built: Digest | None, error: Exception | None = None) -> None:
        self._file, self._built, self._error = file, built, error
        self.named: list[tuple[str, Digest]] = []

    def services(self) -> Mapping[str, Service]:
        return {name: each.service for name, each in self._file.services.items()}

    def build(self, service: str) -> Digest | None:
        if self._error is not None:
            raise self._error
        return self._built

    def name(self, service: str, image: Digest) -> None:
        self.named.append((service, image))


def test_a_service_is_made_again_beside_itself(desk: Desk):
    desk.apply(shop())
    before = desk.active()
    outcome = desk.work().run("web")
    assert (outcome.revision.kind, outcome.revision.origin, outcome.revision.state) == ("reprovision", 1, "active")
    after = desk.active()
    assert after == {"db": before["db"], "web": before["web"] + "-1"}
    assert set(desk.engine.observe(PROJECT).sets) == set(after.values())  # nothing comes back to the old one
    assert [(each.ok, each.rebuild, each.revision) for each in desk.drills.drills(PROJECT)] == [(True, False, 2)]
    assert desk.drills.proven(PROJECT) is None
    desk.work().run("web")
    assert desk.active()["web"] == before["web"] + "-2"
    desk.apply(shop("2"))
    assert desk.history.rollback_target(PROJECT).number == 1


def test_all_services_but_jobs_go_in_dependency_order(desk: Desk):
    job = service("once")
    web = service("web", needs={"db": "service_healthy", "once": "service_completed_successfully"})
    desk.apply(release(web, service("db"), job))
    assert desk.work().services(()) == ("db", "web")
    assert desk.work().services(("once", "web")) == ("once", "web")
    with pytest.raises(NotFound, match="service 'wbe' does not run"):
        desk.work().services(("wbe",))


def test_without_an_active_revision_there_is_nothing_to_make_again(desk: Desk):
    with pytest.raises(NotFound, match="has no active revision"):
        desk.work().services(())


def test_a_set_that_does_not_come_up_is_a_failed_drill_and_nothing_more(desk: Desk):
    desk.apply(shop())
    before = desk.active()

    def refuse(action: Action, _cancel: threading.Event) -> None:
        if isinstance(action, AwaitReady):
            raise Failed("it does not come up")

    desk.engine.before = refuse
    with pytest.raises(Failed, match="it does not come up; it was reverted"):
        desk.work().run("web")
    assert desk.active() == before
    (drill,) = desk.drills.drills(PROJECT)
    assert not drill.ok
    assert "does not come up" in str(drill.reason)
    assert desk.drills.attempts(PROJECT)["web"].failures == 1
    failed = desk.history.revision(PROJECT, 2)
    assert (failed.state, failed.bad) == ("failed", False)  # the release serves: it is not to blame
    desk.engine.before = lambda _action, _cancel: None
    desk.work().run("web")
    assert desk.drills.attempts(PROJECT)["web"].failures == 0


def test_an_image_from_scratch_is_proven_and_named(desk: Desk):
    desk.apply(shop())
    builder = Builder(shop(), image("web today"))
    outcome = desk.work(builder).run("web")
    assert outcome.revision.origin == 2  # a release of its own
    assert desk.history.release(outcome.revision.release).services["web"].image == image("web today")
    assert builder.named == [("web", image("web today"))]
    assert desk.drills.proven(PROJECT) is not None
    assert desk.history.rollback_target(PROJECT).number == 1


def test_a_dead_mirror_fails_the_drill_and_never_production(desk: Desk):
    desk.apply(shop())
    before = desk.active()
    dead = Unavailable("URL 'http://mirror/': no connection")
    with pytest.raises(Unavailable, match="no connection"):
        desk.work(Builder(shop(), None, dead)).run("web")
    assert desk.active() == before
    assert desk.states() == ["active"]
    (drill,) = desk.drills.drills(PROJECT)
    assert (drill.ok, drill.rebuild, drill.revision) == (False, True, None)
    desk.work(Builder(shop(), None, dead)).run("web", scheduled=True)  # nothing gets older for that
    assert desk.active()["web"] == before["web"] + "-1"
    assert [(each.rebuild, each.ok) for each in desk.drills.drills(PROJECT)] == [
        (False, True),
        (True, False),
        (True, False),
    ]
    assert desk.drills.attempts(PROJECT)["web"].failures == 0
    assert desk.drills.proven(PROJECT) is None


def test_an_image_that_fails_is_not_named_and_its_release_is_bad(desk: Desk):
    desk.apply(shop())
    builder = Builder(shop(), image("web bad"))
    with pytest.raises(Failed, match="did not become healthy"):
        desk.work(builder).run("web")
    assert builder.named == []
    assert desk.history.revision(PROJECT, 2).bad
    active = desk.history.active(PROJECT)
    assert active is not None
    assert active.number == 1


def test_to_rebuild_is_to_change_nothing_else(desk: Desk):
    desk.apply(shop())
    changed = shop(replicas=5)
    with pytest.raises(Conflict, match="'web': deploy in the fleet file is not what runs"):
        desk.work(Builder(changed, image("x"))).run("web")
    with pytest.raises(Conflict, match="no longer in the fleet file"):
        check_same(shop(), {}, "web")
    assert desk.states() == ["active"]
    assert desk.drills.drills(PROJECT) == ()
    desk.work(Builder(changed, image("x"))).run("web", scheduled=True)  # the agent goes on without, and says so
    assert [(each.rebuild, each.ok) for each in desk.drills.drills(PROJECT)] == [(False, True), (True, False)]
    assert "a fresh set comes from the image that runs" in desk.listener.lines[0]


class Waiter:
    """Says that it waits for the turn, as soon as the rollout is in a state."""

    def __init__(self, settings: Settings, state: State) -> None:
        self._queue = settings.locks / f"deploy-{PROJECT}.queue"
        self._state = state
        self._waits = locks.wanted(self._queue)

    def __call__(self, state: State) -> None:
        if state is self._state:
            self._waits.__enter__()


def test_a_person_goes_first(desk: Desk):
    desk.apply(shop())
    before = desk.active()
    listener = Listener(Waiter(desk.settings, State.PROVING))
    gone = threading.Event()
    desk.engine.before = lambda action, cancel: (
        gone.set() if isinstance(action, AwaitReady) and cancel.wait(20) else None
    )
    with pytest.raises(GaveWay, match="another deploy waits"):
        desk.work(listener=listener).run("web", scheduled=True)
    assert gone.is_set()
    assert desk.active() == before
    assert desk.drills.drills(PROJECT) == ()
    assert "another deploy waits: reverting" in listener.lines
    assert not desk.history.revision(PROJECT, 2).bad


def test_a_persons_own_reprovisioning_gives_no_way(desk: Desk):
    desk.apply(shop())
    desk.work(listener=Listener(Waiter(desk.settings, State.PROVING))).run("web")
    assert desk.states()[-1] == "active"


# what the agent begins


class Child:
    def __init__(self) -> None:
        self.status: int | None = None

    def poll(self) -> int | None:
        return self.status


class Office:
    """The agent's chore, whose commands are only noted."""

    def __init__(self, desk: Desk) -> None:
        self.begun: list[tuple[str, str, bool]] = []
        self.child = Child()
        self.chore = Upkeep(desk.engine, desk.history, desk.drills, self._begin)

    def _begin(self, project: str, service: str, rebuild: bool) -> subprocess.Popen[bytes]:
        self.begun.append((project, service, rebuild))
        self.child = Child()
        return self.child  # type: ignore[return-value]


def born(desk: Desk) -> float:
    return min(replica.created for each in desk.engine.observe(PROJECT).sets.values() for replica in each.replicas)


def test_the_agent_begins_what_is_due_one_at_a_time(desk: Desk):
    desk.apply(shop(), policy=Policy(max_age_seconds=7 * DAY, rebuild=True))
    office = Office(desk)
    now = born(desk)
    assert office.chore.round(now) == LOOK_SECONDS
    assert office.begun == []
    now += 7 * DAY + 60
    office.chore.round(now)
    office.chore.round(now + 1)
    assert len(office.begun) == 1
    assert office.begun[0][0::2] == (PROJECT, True)
    office.child.status = 0
    assert office.chore.round(now + 2) > 1  # not at once
    office.chore.round(now + 100)
    assert len(office.begun) == 2


def test_the_agent_begins_nothing_without_max_age_or_beside_a_rollout(desk: Desk):
    desk.apply(shop())
    office = Office(desk)
    office.chore.round(born(desk) + 4000 * DAY)
    assert office.begun == []


def test_the_outlook_is_what_status_shows(desk: Desk):
    assert outlook(desk.history, desk.drills, desk.engine.observe(PROJECT), 0.0).due == ()
    desk.apply(shop(), policy=Policy(max_age_seconds=7 * DAY))
    now = born(desk) + DAY
    view = outlook(desk.history, desk.drills, desk.engine.observe(PROJECT), now)
    assert {each.service for each in view.due} == {"db", "web"}
    assert all(each.at is not None and each.at - now <= 6 * DAY + 60 for each in view.due)
    desk.work(Builder(shop(), image("web today"))).run("web")
    view = outlook(desk.history, desk.drills, desk.engine.observe(PROJECT), now)
    assert view.proven is not None
    assert view.last is not None
    assert view.last.ok
    assert msgspec.json.encode(view)
