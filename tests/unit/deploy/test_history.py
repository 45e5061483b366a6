"""The history: which revision is which, where a rollback goes, what is kept for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bennu.config import Settings
from bennu.deploy.history import SAVED_SECONDS, History, Revision
from bennu.deploy.planning import plan as planning
from bennu.deploy.release import Release
from bennu.digest import digest_of
from bennu.engine.sets import Observation
from bennu.errors import Conflict, NotFound
from bennu.store.database import Database
from tests.unit.deploy.fleets import PROJECT, release, service


def version(number: str) -> Release:
    return release(service("web"), version=number)


class Book:
    """A history that is written with one call a rollout; times count up."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.now = 100.0
        self.step = 1.0

    def begin(self, of: str, *, origin: int | None = None) -> Revision:
        self.now += self.step
        plan = planning.make(version(of), Observation(project=PROJECT), revision=self.history.last_number(PROJECT))
        return self.history.begin(
            version(of), plan, kind="rollback" if origin else "apply", origin=origin, author="me", now=self.now
        )

    def write(self, *entries: str) -> Book:
        """``1``: version 1 becomes active; ``2!``: version 2 fails; ``2?``: it is interrupted; ``<3``: a rollback to
        revision 3; ``-``: down.
        """
        for entry in entries:
            if entry == "-":
                self.history.end(PROJECT)
                continue
            origin = int(entry[1:]) if entry.startswith("<") else None
            digest = self.history.revision(PROJECT, origin).release if origin else None
            of = next(v for v in "123456789" if version(v).digest == digest) if digest else entry[0]
            revision = self.begin(of, origin=origin)
            state = "failed" if entry[-1] in "!?" else "active"
            bad = entry.endswith("!")
            reason = "it fell over" if bad else None
            self.history.finish(revision, state, now=self.now + 0.5, phases={"starting": 0.5}, reason=reason, bad=bad)
        return self

    def back(self, number: int | None = None) -> int:
        return self.history.rollback_target(PROJECT, number).number


@pytest.fixture
def book(root_settings: Settings) -> Iterator[Book]:
    database = Database(root_settings.database)
    yield Book(History(database))
    database.close()


def test_a_project_without_a_history(book: Book):
    assert book.history.last_number(PROJECT) == 0
    assert book.history.active(PROJECT) is None
    assert book.history.rolling(PROJECT) is None
    assert book.history.kept_sets(PROJECT, 3) == frozenset()
    assert book.history.projects() == ()
    with pytest.raises(NotFound, match="no active revision"):
        book.back()
    with pytest.raises(NotFound, match="revision 7"):
        book.back(7)


def test_a_revision_rolls_then_is_active_then_superseded(book: Book):
    first = book.begin("1")
    assert first.state == "rolling"
    revision, plan = book.history.rolling(PROJECT)
    assert revision == first
    assert plan.target == first.sets
    with pytest.raises(Conflict, match="rollout under way"):
        book.begin("2")
    book.history.finish(first, "active", now=200.0, phases={"starting": 1.5}, reason=None)
    done = book.history.active(PROJECT)
    assert (done.number, done.finished, done.phases, done.author) == (1, 200.0, {"starting": 1.5}, "me")
    assert book.history.release(done.release) == version("1")
    book.write("2")
    assert [(each.number, each.state) for each in book.history.revisions(PROJECT)] == [(2, "active"), (1, "superseded")]


@pytest.mark.parametrize(
    ("entries", "target"),
    [
        ("1 2", 1),
        ("1 2 3", 2),
        ("1 2! 3", 1),  # a failed one is never picked
        ("1 2 3!", 1),  # nor does it count as what runs
        ("1 2 3 <2", 1),  # a second rollback goes further back
        ("1 2 <1 3", 1),  # what served before 3 was 1 again
        ("1 1 2 2", 1),  # the same release is nowhere to go back to
    ],
)
def test_where_a_rollback_goes(book: Book, entries: str, target: int):
    book.write(*entries.split())
    expected = book.history.revision(PROJECT, target).release
    assert book.history.revision(PROJECT, book.back()).release == expected


@pytest.mark.parametrize("entries", ["1", "1 2 <1", "1! 2", "1 1"])
def test_where_there_is_nothing_to_go_back_to(book: Book, entries: str):
    book.write(*entries.split())
    with pytest.raises(NotFound, match="no earlier revision"):
        book.back()


def test_a_named_revision(book: Book):
    book.write("1", "2", "3!", "4", "<2")
    assert book.back(1) == 1
    assert book.back(4) == 4
    with pytest.raises(Conflict, match="never served"):
        book.back(3)
    for runs_now in (2, 5):
        with pytest.raises(Conflict, match="what runs now"):
            book.back(runs_now)
    book.write("1", "-")
    assert book.history.active(PROJECT) is None
    assert book.back(6) == 6


def test_what_failed_last_is_picked_by_nobody_but_can_be_named(book: Book):
    book.write("1", "2", "3", "2!")
    assert book.back() == 1
    assert book.back(2) == 2  # it has served before
    assert book.back(4) == 4  # which is the same release
    book.write("1!")
    with pytest.raises(NotFound, match=r"release of revision 2 failed as revision 4 \(it fell over\)") as caught:
        book.back()
    assert "`bennu rollback 2`" in str(caught.value.hint)
    book.write("2?")  # an interruption is no verdict
    with pytest.raises(NotFound, match="no good earlier"):
        book.back()
    book.write("2", "3")
    assert book.history.revision(PROJECT, book.back()).release == version("2").digest


def test_a_bad_one_that_never_served_is_refused(book: Book):
    book.write("1", "2!")
    with pytest.raises(Conflict, match=r"revision 2 .*is bad and never served \(it fell over\)"):
        book.back(2)


def test_saved_plans_keep_their_images_until_they_are_void(book: Book):
    book.write("1")
    plan = planning.make(version("2"), Observation(project=PROJECT), revision=1)
    digest, images = digest_of(b"plan"), [version("2").services["web"].image]
    book.history.save_plan(digest, plan, images, now=1000.0)
    assert book.history.saved_images(1001.0) == {digest: tuple(images)}
    assert book.history.saved_images(1000.0 + SAVED_SECONDS + 1) == {}
    book.write("3")
    assert book.history.saved_images(1001.0) == {}


def test_a_rollback_to_a_rollback_names_the_first(book: Book):
    book.write("1", "2", "<1", "3")
    assert book.back(3) == 1


def names(*versions: str) -> set[str]:
    return {version(each).spec("web").id for each in versions}


def test_kept_sets(book: Book):
    book.write("1", "2", "3!", "4", "5")
    assert book.history.kept_sets(PROJECT, 0) == set()
    assert book.history.kept_sets(PROJECT, 1) == names("4")
    assert book.history.kept_sets(PROJECT, 2) == names("4", "2")
    assert book.history.kept_sets(PROJECT, 9) == names("4", "2", "1")
    book.write("<2")  # 2 is active now and does not count; 5 is the newest that served before it
    assert book.history.kept_sets(PROJECT, 2) == names("5", "4")


def test_images_of_revisions(book: Book):
    book.write("1", "2")
    wanted = {version(each).services["web"].image for each in "12"}
    assert book.history.images(book.history.revisions(PROJECT)) == wanted


def test_down_ends_what_is_rolling_too(book: Book):
    book.write("1")
    book.begin("2")
    book.history.end(PROJECT)
    assert {each.state for each in book.history.revisions(PROJECT)} == {"ended"}
    book.write("3")
    assert book.history.active(PROJECT).number == 3


@pytest.mark.parametrize("step", [1.0, -50.0, 0.0])
def test_what_came_last_is_no_matter_of_the_clock(book: Book, step: float):
    book.step = step
    book.write("1", "2", "3!", "4", "<2")
    assert [each.number for each in book.history.revisions(PROJECT)] == [5, 4, 3, 2, 1]
    active = book.history.active(PROJECT)
    assert active is not None
    assert (active.number, active.release) == (5, version("2").digest)
    assert book.back() == 1
    assert all((each.seconds or 0) >= 0 for each in book.history.revisions(PROJECT))
