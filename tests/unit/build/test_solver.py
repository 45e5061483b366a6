"""The solver over steps in memory: what runs, what does not, in which company, and what a failure does to the rest."""

from __future__ import annotations

import _thread
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from bennu.build.cache import StepCache
from bennu.build.graph import Base, Copy, Graph, Local, MakeDirectory, Run, Source, reads_of
from bennu.build.keys import SCRATCH, step_key
from bennu.build.progress import Broken, Cached, Event, Finished, Started, Waiting
from bennu.build.solver import LOCK_BUCKET_DIGITS, Solver
from bennu.config import Settings
from bennu.digest import digest_of, encoded
from bennu.errors import Failed, NotFound
from bennu.host import locks
from bennu.store.base import CommittedSnapshot
from bennu.store.database import Database
from bennu.store.snapshots import Snapshots

PATIENCE_SECONDS = 20
STEPS = 340


class Store:
    """A root with snapshots that are never mounted: a tree is the text in one file."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings = settings
        self.snapshots = Snapshots(settings, database)
        self.cache = StepCache(database, self.snapshots)

    def text(self, tree: CommittedSnapshot | None) -> str:
        return "" if tree is None else (self.snapshots.directory(tree) / "text").read_text()

    def tree(self, parent: CommittedSnapshot | None, text: str) -> CommittedSnapshot:
        active = self.snapshots.prepare(parent)
        (self.snapshots.directory(active) / "text").write_text(text)
        return self.snapshots.commit(active)


class Steps:
    """Runs steps by putting texts together. ``outcomes`` may replace what a command writes, or raise."""

    def __init__(self, store: Store, context: str = "files") -> None:
        self.store = store
        self.context = context
        self.outcomes: dict[str, object] = {}
        self.ran: Counter[str] = Counter()
        self.looked_at = 0

    def base(self, step: Base) -> CommittedSnapshot:
        return self.store.tree(None, f"base {step.chain}")

    def content(self, step: Copy, vertex: int, tree: CommittedSnapshot | None):
        self.looked_at += 1
        outcome = self.outcomes.get("content")
        if isinstance(outcome, Exception):
            raise outcome
        return digest_of((self.context if tree is None else self.store.text(tree)).encode())

    def run(self, vertex, trees, emit, cancel) -> CommittedSnapshot:
        step = vertex.step
        name = " ".join(step.arguments) if isinstance(step, Run) else type(step).__name__
        self.ran[name] += 1
        parent = None if step.parent is None else trees[step.parent]
        outcome = self.outcomes.get(name, f"{self.store.text(parent)}+{name}")
        if callable(outcome):
            outcome = outcome(cancel)
        if isinstance(outcome, BaseException):
            raise outcome
        if isinstance(step, Copy):
            taken = [self.store.text(trees[each]) if each in trees else self.context for each in reads_of(step)]
            outcome = f"{outcome}({', '.join(taken)})"
        emit("stdout", b"done\n")
        return self.store.tree(parent, str(outcome))

    def dated(self, tree, steps, epoch) -> CommittedSnapshot:
        return tree


@pytest.fixture
def store(root_settings: Settings) -> Iterator[Store]:
    with Database(root_settings.database) as database:
        yield Store(root_settings, database)


class Build:
    """A graph under construction and what came of solving it."""

    def __init__(self) -> None:
        self.graph = Graph()
        self.events: list[Event] = []

    def run(self, command: str, parent: int | None = None) -> int:
        return self.graph.add(Run(parent, (command,), ()), command)

    def copy(self, parent: int | None, *sources: int | None) -> int:
        """A COPY from each source: a vertex, or None for the context."""
        context = self.graph.add(Local(), "context") if None in sources else -1
        found = tuple(Source(context if each is None else each, "a") for each in sources)
        return self.graph.add(Copy(parent, found, "/x"), "copy")

    def solve(self, store: Store, steps: Steps, result: int, **options: object) -> str:
        solver = Solver(self.graph, steps, store.cache, store.settings, self.events.append, **options)
        return store.text(solver.solve(result))

    def told(self, kind: type[Event]) -> list[str]:
        return [event.label for event in self.events if isinstance(event, kind)]


def chain(*commands: str) -> tuple[Build, int]:
    build = Build()
    tip = None
    for command in commands:
        tip = build.run(command, tip)
    assert tip is not None
    return build, tip


def test_steps_run_in_order_and_the_second_time_none_does(store):
    build, tip = chain("a", "b", "c")
    steps = Steps(store)
    assert build.solve(store, steps, tip) == "+a+b+c"
    assert steps.ran == {"a": 1, "b": 1, "c": 1}
    assert build.told(Finished) == ["a", "b", "c"]

    build, tip = chain("a", "b", "c")
    again = Steps(store)
    assert build.solve(store, again, tip) == "+a+b+c"
    assert not again.ran
    assert build.told(Cached) == ["a", "b", "c"]
    assert build.told(Started) == []


def test_what_follows_a_change_runs_again_and_nothing_else(store):
    build, tip = chain("a", "b", "c")
    build.solve(store, Steps(store), tip)
    build, tip = chain("a", "x", "c")
    steps = Steps(store)
    assert build.solve(store, steps, tip) == "+a+x+c"
    assert steps.ran == {"x": 1, "c": 1}
    assert build.told(Cached) == ["a"]


def test_a_step_that_two_need_runs_once(store):
    build = Build()
    shared = build.run("shared")
    result = build.copy(build.run("left", shared), build.run("right", shared))
    steps = Steps(store)
    build.solve(store, steps, result)
    assert steps.ran == {"shared": 1, "left": 1, "right": 1, "Copy": 1}


def test_independent_stages_run_at_once(store):
    meeting = threading.Barrier(2)

    def meet(cancel: threading.Event) -> str:
        meeting.wait(PATIENCE_SECONDS)  # broken, and so a failure, unless the other one comes
        return "met"

    build = Build()
    result = build.copy(build.run("left"), build.run("right"))
    steps = Steps(store)
    steps.outcomes = {"left": meet, "right": meet}
    assert build.solve(store, steps, result) == "met+Copy(met)"


def test_the_context_counts_by_its_content(store):
    for context, expected in (("one", 1), ("one", 0), ("two", 1), ("one", 0)):
        build = Build()
        steps = Steps(store, context)
        assert build.solve(store, steps, build.copy(None, None)) == f"+Copy({context})"
        assert steps.ran["Copy"] == expected


def copy_from_stage(command: str) -> tuple[Build, int]:
    build = Build()
    return build, build.run("after", build.copy(build.run("base"), build.run(command)))


def test_a_stage_with_the_same_outcome_hits_downstream(store):
    steps = Steps(store)
    steps.outcomes = {"make": "program", "make again": "program"}
    build, result = copy_from_stage("make")
    build.solve(store, steps, result)
    build, result = copy_from_stage("make again")
    build.solve(store, steps, result)
    assert steps.ran == {"base": 1, "make": 1, "Copy": 1, "after": 1, "make again": 1}
    looked_at = steps.looked_at
    build, result = copy_from_stage("make again")  # known by its definition by now
    build.solve(store, steps, result)
    assert (steps.ran["make again"], steps.looked_at) == (1, looked_at)


def test_a_stage_with_another_outcome_does_not(store):
    steps = Steps(store)
    for command in ("make", "make again"):
        build, result = copy_from_stage(command)
        build.solve(store, steps, result)
    assert (steps.ran["Copy"], steps.ran["after"]) == (2, 2)


def test_a_failure_is_raised_ends_the_others_and_is_told(store):
    begun = threading.Event()

    def until_cancelled(cancel: threading.Event) -> object:
        begun.set()
        return Failed("cancelled", status=137) if cancel.wait(PATIENCE_SECONDS) else "never"

    def once_both_run(_: threading.Event) -> object:
        assert begun.wait(PATIENCE_SECONDS)
        return Failed("it is bad", status=3)

    build = Build()
    result = build.copy(build.run("long"), build.run("bad"))
    steps = Steps(store)
    steps.outcomes = {"long": until_cancelled, "bad": once_both_run}
    with pytest.raises(Failed, match="it is bad"):
        build.solve(store, steps, result)
    broken = {event.label: event for event in build.events if isinstance(event, Broken)}
    assert broken["bad"].reason == "exit status 3"
    assert broken["long"].cancelled
    assert steps.ran == {"long": 1, "bad": 1}


def test_an_error_of_a_look_up_ends_the_others_too(store):
    cancelled = threading.Event()

    def until_cancelled(cancel: threading.Event) -> object:
        assert cancel.wait(PATIENCE_SECONDS)
        cancelled.set()
        return Failed("cancelled", status=137)

    build = Build()
    inner = build.copy(build.run("quick"), None)
    result = build.copy(build.run("long"), build.run("after", inner))
    steps = Steps(store)
    steps.outcomes = {"long": until_cancelled, "content": NotFound("'/missing' is not there")}
    with pytest.raises(NotFound, match="missing"):
        build.solve(store, steps, result)
    assert cancelled.is_set() or not steps.ran["long"]


def test_a_failure_ends_the_wait_for_another_builds_step_too(store):
    waited_for = step_key(Run(None, ("waits",), ()), SCRATCH).digest
    build = Build()
    result = build.copy(build.run("waits"), build.run("bad"))
    steps = Steps(store)
    steps.outcomes = {"bad": Failed("it is bad", status=3)}
    lock = store.settings.locks / f"step-{encoded(waited_for)[:LOCK_BUCKET_DIGITS]}.lock"
    with locks.held(lock), pytest.raises(Failed, match="it is bad"):
        build.solve(store, steps, result)
    assert steps.ran == {"bad": 1}


def test_what_failed_is_not_remembered(store):
    build, tip = chain("a", "b")
    steps = Steps(store)
    steps.outcomes = {"b": Failed("no", status=1)}
    with pytest.raises(Failed):
        build.solve(store, steps, tip)
    steps.outcomes = {}
    assert chain("a", "b")[0].solve(store, steps, tip) == "+a+b"
    assert steps.ran == {"a": 1, "b": 2}


def test_no_cache_runs_everything_and_supersedes_what_there_was(store):
    steps = Steps(store)
    build, result = copy_from_stage("make")
    build.solve(store, steps, result)
    steps.outcomes = {"make": "newer"}
    fresh, result = copy_from_stage("make")
    assert "newer" in fresh.solve(store, steps, result, use_cache=False)
    assert set(steps.ran.values()) == {2}
    again, result = copy_from_stage("make")
    assert "newer" in again.solve(store, steps, result)
    assert set(steps.ran.values()) == {2}


def test_only_what_shall_be_fresh_runs_again_and_what_stands_on_it(store):
    steps = Steps(store)
    build, tip = chain("a", "b", "c")
    build.solve(store, steps, tip)
    build, tip = chain("a", "b", "c")
    assert build.solve(store, steps, tip, fresh={1}) == "+a+b+c"
    assert steps.ran == {"a": 1, "b": 2, "c": 2}
    assert build.told(Cached) == ["a"]


def test_of_two_fresh_builds_with_one_nonce_the_second_takes_what_the_first_made(store):
    steps = Steps(store)
    for nonce, ran in ((b"one", 1), (b"one", 1), (b"two", 2)):
        build, tip = chain("a", "b")
        build.solve(store, steps, tip, use_cache=False, nonce=nonce)
        assert steps.ran == {"a": ran, "b": ran}


def test_a_build_that_waits_for_another_ones_step_says_for_whom(store):
    steps = Steps(store)
    build, tip = chain("slow")
    other, _ = chain("slow")
    begun, waits = threading.Event(), threading.Event()

    def slow(cancel: threading.Event) -> str:
        begun.set()
        assert waits.wait(PATIENCE_SECONDS)
        return "slow"

    def listen(event: Event) -> None:
        other.events.append(event)
        if isinstance(event, Waiting):
            waits.set()

    steps.outcomes = {"slow": slow}
    thread = threading.Thread(target=build.solve, args=(store, steps, tip), kwargs={"name": "build of here"})
    thread.start()
    assert begun.wait(PATIENCE_SECONDS)
    Solver(other.graph, steps, store.cache, store.settings, listen, name="build of there").solve(tip)
    thread.join()
    waiting, cached = other.events
    assert isinstance(waiting, Waiting)
    assert waiting.holder == "the build of here of this command"
    assert isinstance(cached, Cached)


def test_a_build_is_ended_from_outside(store):
    build, tip = chain("slow")
    steps = Steps(store)
    cancel = threading.Event()

    def slow(cancelled: threading.Event) -> Failed:
        cancel.set()
        assert cancelled.wait(PATIENCE_SECONDS)
        return Failed("cancelled", status=137)

    steps.outcomes = {"slow": slow}
    with pytest.raises(Failed, match="cancelled"):
        build.solve(store, steps, tip, cancel=cancel)
    assert build.told(Broken) == ["slow"]


def test_a_stage_that_was_built_again_alone_is_what_others_copy_from(store):
    steps = Steps(store)
    build, result = copy_from_stage("make")
    build.solve(store, steps, result)
    steps.outcomes = {"make": "newer"}
    alone, tip = chain("make")
    alone.solve(store, steps, tip, use_cache=False)
    build, result = copy_from_stage("make")
    assert "(newer)" in build.solve(store, steps, result)


def test_a_record_without_its_tree_is_forgotten_and_the_step_runs(store):
    build, tip = chain("a", "b")
    steps = Steps(store)
    build.solve(store, steps, tip)
    for snapshot in reversed(list(store.snapshots.walk())):
        store.snapshots.remove(snapshot)
    build, tip = chain("a", "b")
    assert build.solve(store, steps, tip) == "+a+b"
    assert steps.ran == {"a": 2, "b": 2}


def test_two_builds_at_once_do_a_step_once(store):
    steps = Steps(store)
    results: list[str] = []
    begun, go_on = threading.Event(), threading.Event()

    def slow(cancel: threading.Event) -> str:
        begun.set()
        assert go_on.wait(PATIENCE_SECONDS)
        return "slow"

    steps.outcomes = {"slow": slow}

    def one() -> None:
        build, tip = chain("slow", "b")
        results.append(build.solve(store, steps, tip))

    threads = [threading.Thread(target=one) for _ in range(2)]
    threads[0].start()
    assert begun.wait(PATIENCE_SECONDS)
    threads[1].start()
    go_on.set()
    for thread in threads:
        thread.join()
    assert results == ["slow+b", "slow+b"]
    assert steps.ran == {"slow": 1, "b": 1}


def test_the_epoch_is_part_of_what_is_remembered(store):
    steps = Steps(store)
    for epoch, expected in ((None, 1), (5, 2), (5, 2), (None, 2)):
        build = Build()
        build.solve(store, steps, build.graph.add(MakeDirectory(None, "/a"), "mkdir"), epoch=epoch)
        assert steps.ran["MakeDirectory"] == expected


def test_a_base_is_known_by_its_layers(store):
    steps = Steps(store)
    for manifest in (b"one", b"two"):
        build = Build()
        base = build.graph.add(Base(digest_of(b"chain"), digest_of(manifest)), "FROM")
        build.solve(store, steps, build.run("a", base))
    assert steps.ran == {"a": 1}


def test_hundreds_of_steps_in_a_row(store):
    # as many calls within each other as Python's own limit would not allow
    build, tip = chain(*(str(number) for number in range(STEPS)))
    steps = Steps(store)
    steps.outcomes = {str(number): "short" for number in range(STEPS)}
    build.solve(store, steps, tip)
    assert len(steps.ran) == STEPS


def test_an_interrupt_ends_the_running_step_first(store):
    ended = threading.Event()

    def interrupt(cancel: threading.Event) -> object:
        _thread.interrupt_main()
        assert cancel.wait(PATIENCE_SECONDS)
        time.sleep(0.3)  # longer than anybody would look away
        ended.set()
        return Failed("cancelled", status=137)

    build, tip = chain("long")
    steps = Steps(store)
    steps.outcomes = {"long": interrupt}
    with pytest.raises(KeyboardInterrupt):
        build.solve(store, steps, tip)
    assert ended.is_set()


def test_another_interrupt_does_not_cut_the_clearing_up_short(store):
    ended = threading.Event()

    def interrupt(cancel: threading.Event) -> object:
        _thread.interrupt_main()
        assert cancel.wait(PATIENCE_SECONDS)
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.05)
        ended.set()
        return Failed("cancelled", status=137)

    build, tip = chain("long")
    steps = Steps(store)
    steps.outcomes = {"long": interrupt}
    with pytest.raises(KeyboardInterrupt):
        build.solve(store, steps, tip)
    assert ended.is_set()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_path_of_a_root_may_be_anything(tmp_path: Path):
    settings = Settings.from_environ({"BENNU_ROOT": str(tmp_path / "a b/c")})
    with Database(settings.database) as database:
        store = Store(settings, database)
        build, tip = chain("a")
        assert build.solve(store, Steps(store), tip) == "+a"
