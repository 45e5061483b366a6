"""The records of holds and their journal, and what the agent does by them, over an engine that only remembers."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from bennu.deploy.hold import records
from bennu.deploy.hold.keeper import HoldKeeper
from bennu.deploy.hold.lease import DAY, HOUR, Hold, Moment, begun
from bennu.deploy.hold.records import Holds, Line
from bennu.engine.actions import Activate, EndHold, Prepare, StartSet
from bennu.errors import Conflict, Invalid, NotFound
from bennu.store.database import Database
from tests.engine_world import PROJECT, MemoryWorld

NOW = Moment(1_800_000_000.0, "boot", 100.0)


class Quiet:
    """A deployer and a reporter that do nothing but know their project, and remember what was said."""

    project, author = PROJECT, "root@host"

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, line: str) -> None:
        self.said.append(line)

    def exclusive(self, reporter: object, *, wait_seconds: float | None = 0) -> threading.Lock:
        return threading.Lock()


@pytest.fixture
def holds(tmp_path: Path) -> Holds:
    return Holds(Database(tmp_path / "bennu.db"))


def new(index: int = 2, project: str = PROJECT) -> Hold:
    return begun(project, "web", index, seconds=7 * DAY, reason="leaks", author="root@host", in_traffic=False, now=NOW)


def test_one_hold_of_a_name_lives(holds: Holds):
    first = holds.add(new())
    with pytest.raises(Conflict, match=r"web\.2 of project 'shop' is held already"):
        holds.add(new())
    holds.add(new(3))
    holds.add(new(2, "other"))
    assert [one.name for one in holds.living(PROJECT)] == ["web.2", "web.3"]
    assert len(holds.living()) == 3
    assert holds.find(PROJECT, "web", 2) == first
    assert holds.end(first, "released", 5.0)
    assert not holds.end(first, "again", 6.0)
    with pytest.raises(NotFound, match="is not held"):
        holds.find(PROJECT, "web", 2)
    assert holds.latest(PROJECT, "web", 2).outcome == "released"
    second = holds.add(new())
    assert second.id != first.id
    assert holds.latest(PROJECT, "web", 2).id == second.id
    assert len(holds.all(PROJECT)) == 3
    holds.end_all(PROJECT, "down", 7.0)
    assert [one.project for one in holds.living()] == ["other"]


def test_only_the_newest_that_ended_are_remembered(holds: Holds, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(records, "ENDED_KEPT", 3)
    for number in range(6):
        hold = holds.add(new())
        holds.note(hold, [Line(kind="event", what="held")], 1.0)
        holds.end(hold, f"number {number}", float(number))
    assert [one.outcome for one in holds.all(PROJECT)] == ["number 5", "number 4", "number 3"]


def test_a_change_of_one_that_has_ended_is_none(holds: Holds):
    hold = holds.add(new())
    assert holds.change(hold, lambda found: found) == hold
    holds.end(hold, "released", 5.0)
    assert holds.change(hold, lambda found: found) is None


def test_a_thing_is_one_line_however_often_it_changes(holds: Holds, monkeypatch: pytest.MonkeyPatch):
    hold = holds.add(new())
    holds.note(hold, [Line(kind="file", what="/a", detail="added"), Line(kind="package", what="vim", detail="1")], 10.0)
    holds.note(hold, [Line(kind="file", what="/a", detail="changed")], 20.0)
    holds.note(hold, [Line(kind="file", what="/a", detail="gone again")], 30.0)
    assert holds.journal(hold) == (
        Line(kind="file", what="/a", detail="gone again", first=10.0, last=30.0, count=3),
        Line(kind="package", what="vim", detail="1", first=10.0, last=10.0),
    )
    monkeypatch.setattr(records, "MOST_LINES", 4)
    holds.note(hold, [Line(kind="file", what=f"/{number}") for number in range(9)], 40.0)
    lines = holds.journal(hold)
    assert len(lines) == 5
    assert lines[-1] == Line(
        kind="more", what="", detail="more changes than are journalled", first=40.0, last=40.0, count=7
    )
    assert holds.last_look(hold) is None
    holds.put_look(hold, {"file /a": "added 1"})
    assert holds.last_look(hold) == {"file /a": "added 1"}
    holds.end(hold, "released", 50.0)
    assert holds.last_look(hold) is None
    assert len(holds.journal(hold)) == 5
    holds.forget(hold)
    holds.note(hold, [Line(kind="file", what="/late")], 60.0)
    assert holds.journal(hold) == ()


# carried out


class Told(list[tuple[str, str]]):
    def __call__(self, hold: Hold, step: str, text: str, left: float) -> None:
        self.append((hold.name, step))


@pytest.fixture
def world() -> MemoryWorld:
    made = MemoryWorld()
    spec = made.spec(replicas=3)
    made.do(Prepare(project=PROJECT, services={"web": spec.service}, volumes={}))
    made.do(StartSet(spec=spec))
    made.do(Activate(project=PROJECT, sets={"web": spec.id}))
    return made


class Clock:
    def __init__(self) -> None:
        self.at = NOW

    def __call__(self) -> Moment:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at = Moment(self.at.wall + seconds, self.at.boot, self.at.uptime + seconds)


def begin(keeper: HoldKeeper, index: int = 2, seconds: float = 7 * DAY, **more: object) -> Hold:
    quiet = Quiet()
    return keeper.begin(quiet, "web", index, quiet, seconds=seconds, reason="leaks", **more)  # type: ignore[arg-type]


def test_a_hold_from_its_beginning_to_its_end(holds: Holds, world: MemoryWorld):
    clock, told, said = Clock(), Told(), Quiet()
    keeper = HoldKeeper(world.engine, holds, moment=clock)
    hold = begin(keeper)
    assert (hold.stage, hold.set) == ("held", world.observe().active["web"])
    assert [one.name for one in world.observe().holds] == ["web.2"]
    with pytest.raises(Conflict, match="is held already"):
        begin(keeper)

    def keep() -> bool:
        return keeper.keep(hold, said.say, told, threading.Event())

    assert keep()
    assert told == []
    clock.sleep(6 * DAY)
    assert keep()
    assert keep()
    assert told == [("web.2", "day")]
    clock.sleep(DAY - HOUR / 2)
    assert keep()
    assert told[1:] == [("web.2", "hour")]
    assert "30m more" in said.said[-1]
    renewed = keeper.renew(PROJECT, "web", 2, 2 * DAY)
    assert (renewed.renewals, renewed.warned) == (1, ())
    assert keep()
    clock.sleep(2 * DAY)
    with pytest.raises(Conflict, match="is over"):
        keeper.renew(PROJECT, "web", 2, DAY)
    assert not keep()
    assert world.observe().holds == ()
    assert holds.latest(PROJECT, "web", 2).outcome == "its time was up"
    assert not keep()
    assert len([one for one in world.memory.done if isinstance(one, EndHold)]) == 1
    assert [line.what for line in holds.journal(hold)] == ["one day left", "one hour left", "renewal 1"]


def test_what_comes_to_nothing_leaves_nothing(holds: Holds, world: MemoryWorld):
    keeper = HoldKeeper(world.engine, holds, moment=Clock())
    with pytest.raises(NotFound):
        begin(keeper, 9)
    with pytest.raises(Invalid):
        begin(keeper, seconds=31 * DAY)
    assert holds.all(PROJECT) == ()


def test_who_died_over_a_beginning_is_taken_up(holds: Holds, world: MemoryWorld):
    keeper = HoldKeeper(world.engine, holds, moment=Clock())
    half = holds.add(new())
    hold = begin(keeper)  # by the same command
    assert hold.id != half.id
    assert [one.stage for one in holds.living()] == ["held"]
    other = holds.add(new(3))
    quiet = Quiet()
    keeper.complete(other, quiet, quiet)  # type: ignore[arg-type]
    keeper.complete(other, quiet, quiet)  # type: ignore[arg-type]
    assert [one.stage for one in holds.living()] == ["held", "held"]
    assert [one.name for one in world.observe().holds] == ["web.2", "web.3"]


def test_who_died_over_an_end_is_taken_up(holds: Holds, world: MemoryWorld):
    keeper = HoldKeeper(world.engine, holds, moment=Clock())
    hold = begin(keeper)
    import msgspec

    ending = holds.change(hold, lambda found: msgspec.structs.replace(found, stage="ending", outcome="released"))
    assert ending is not None
    assert keeper.next_seconds(ending) == 0.0
    assert not keeper.keep(ending, Quiet().say, Told(), threading.Event())
    assert world.observe().holds == ()
    assert holds.latest(PROJECT, "web", 2).outcome == "released"


def test_one_that_somebody_removed_is_lost(holds: Holds, world: MemoryWorld):
    keeper = HoldKeeper(world.engine, holds, moment=Clock())
    hold = begin(keeper)
    assert not keeper.is_lost(hold, Quiet().say)
    world.do(EndHold(project=PROJECT, service="web", index=2))
    assert keeper.is_lost(hold, Quiet().say)
    assert holds.living() == ()
