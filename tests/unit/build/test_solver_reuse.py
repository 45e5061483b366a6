"""What runs, what is reused, what happens at a failure: the solver over steps in memory and the real records."""

from __future__ import annotations

import random
import threading

import pytest

from bennu.build.progress import Broken, Cached, Finished, Output, Started
from bennu.errors import Failed, NotFound
from tests.unit.build.memory_steps import World, lower_text

CHAIN = "FROM debian\nENV A=1\nRUN one\nCOPY src /src/\nRUN two\n"
TWO_STAGES = """\
FROM debian AS make
COPY src /src/
RUN compile
FROM alpine
RUN prepare
COPY --from=make /ran/compile /app
RUN finish
"""


@pytest.fixture
def world(tmp_path):
    found = World(tmp_path / "root")
    yield found
    found.database.close()


def kinds(world):
    return [type(event).__name__ for event in world.events]


class TestReuse:
    def test_everything_runs_once_and_then_nothing(self, world):
        first = world.build(CHAIN, {"src/a": "1"})
        assert world.ran == ["COPY src /src/", "RUN one", "RUN two"]
        assert world.build(CHAIN, {"src/a": "1"}) == first
        assert world.ran == []
        assert kinds(world) == ["Cached"] * 4

    def test_an_edit_runs_what_reads_it_and_what_stands_on_that(self, world):
        world.build(CHAIN, {"src/a": "1"})
        world.build(CHAIN, {"src/a": "2"})
        assert world.ran == ["COPY src /src/", "RUN two"]

    def test_a_file_that_nobody_copies_is_no_edit(self, world):
        world.build(CHAIN, {"src/a": "1"})
        world.build(CHAIN, {"src/a": "1", "README": "new"})
        assert world.ran == []

    @pytest.mark.parametrize(
        "line",
        ["LABEL a=b", "CMD a", "EXPOSE 80", 'ENTRYPOINT ["a"]', "VOLUME /v", "HEALTHCHECK CMD a", "STOPSIGNAL 9"],
    )
    def test_settings_do_not_run_what_follows_again(self, world, line):
        world.build(CHAIN, {"src/a": "1"})
        world.build(CHAIN.replace("RUN one", f"{line}\nRUN one"), {"src/a": "1"})
        assert world.ran == []

    @pytest.mark.parametrize("line", ["ENV B=2", "USER web", 'SHELL ["/bin/bash", "-c"]', "ARG B=2"])
    def test_what_a_process_sees_runs_it_again(self, world, line):
        world.build(CHAIN, {"src/a": "1"})
        world.build(CHAIN.replace("RUN two", f"{line}\nRUN two"), {"src/a": "1"})
        assert world.ran == ["RUN two"]

    def test_an_argument_counts_from_where_it_is_declared(self, world):
        text = "FROM debian\nRUN one\nARG V\nRUN two\n"
        world.build(text, build_args={"V": "1"})
        world.build(text, build_args={"V": "2"})
        assert world.ran == ["RUN two"]

    def test_a_proxy_counts_for_nothing(self, world):
        world.build(CHAIN, {"src/a": "1"}, build_args={"HTTP_PROXY": "http://one"})
        world.build(CHAIN, {"src/a": "1"}, build_args={"HTTP_PROXY": "http://two"})
        assert world.ran == []

    def test_equal_stages_are_built_once(self, world):
        text = "FROM debian AS a\nRUN one\nFROM debian AS b\nRUN one\nFROM alpine\nCOPY --from=a /ran/one /a/\n"
        world.build(text + "COPY --from=b /ran/one /b/\n")
        assert world.ran.count("RUN one") == 1

    def test_what_the_target_does_not_need_is_not_built(self, world):
        world.build("FROM debian AS a\nRUN one\nFROM debian AS b\nRUN two\n", target="a")
        assert world.ran == ["RUN one"]

    def test_a_copy_from_a_stage_needs_neither_its_tree_nor_its_content_when_nothing_changed(self, world):
        world.build(TWO_STAGES, {"src/a": "1"})
        world.build(TWO_STAGES, {"src/a": "1"})
        assert (world.ran, world.executor.read) == ([], {"context": 1})

    def test_a_stage_with_the_same_outcome_changes_nothing_behind_the_copy_from_it(self, world):
        text = "FROM debian AS a\nRUN one\nCOPY out /out/\n"
        text += "FROM alpine\nCOPY --from=a /out /x/\nRUN two\n"
        world.build(text, {"out/f": "same"})
        world.build(text.replace("RUN one", "RUN other"), {"out/f": "same"})
        assert world.ran == ["COPY out /out/", "RUN other"]
        world.build(text.replace("RUN one", "RUN other"), {"out/f": "same"})
        assert (world.ran, world.executor.read["stage"]) == ([], 0), "the other way to the same content is remembered"

    def test_without_the_cache_everything_runs_and_supersedes(self, world):
        text = "FROM debian\nRUN date\nRUN two\n"
        first = world.build(text)
        second = world.build(text, use_cache=False)
        assert world.ran == ["RUN date", "RUN two"]
        assert second != first
        assert world.build(text) == second
        assert world.ran == []

    def test_a_result_whose_tree_is_gone_is_made_again(self, world):
        first = world.build(CHAIN, {"src/a": "1"})
        for snapshot in reversed(list(world.snapshots.walk())):
            world.snapshots.remove(snapshot)
        assert world.build(CHAIN, {"src/a": "1"}) == first
        assert world.ran == ["COPY src /src/", "RUN one", "RUN two"]


class TestEvents:
    def test_a_step_that_runs(self, world):
        world.build("FROM debian\nRUN one\n")
        assert [type(event) for event in world.events] == [Cached, Started, Output, Finished]
        assert world.events[1].label == "[2/2] RUN one"

    def test_numbers_follow_the_order_of_the_graph(self, world):
        world.build(CHAIN, {"src/a": "1"})
        numbers = [event.number for event in world.events if isinstance(event, Started)]
        assert numbers == sorted(numbers)


class TestAtOnce:
    def test_independent_stages_run_beside_each_other(self, world):
        both = threading.Barrier(2, timeout=20)
        executor = world.new_executor({"src/a": "1"})
        executor.during = lambda step, _: both.wait() if step.arguments[-1] in {"compile", "prepare"} else None
        world.build(TWO_STAGES, executor=executor)

    def test_stages_that_only_meet_in_the_last_one_too(self, world):
        together = threading.Barrier(3, timeout=20)
        stages = "".join(f"FROM debian AS {name}\nRUN {name}\n" for name in "abc")
        copies = "".join(f"COPY --from={name} /ran /{name}/\n" for name in "abc")
        executor = world.new_executor({})
        executor.during = lambda _step, _cancel: together.wait()
        world.build(f"{stages}FROM alpine\n{copies}", executor=executor)

    def test_a_stage_whose_copy_is_found_is_not_built_beside_the_others(self, world):
        text = "FROM debian AS a\nRUN a\nFROM debian AS b\nRUN b\nFROM alpine\nCOPY --from=a /ran /a/\n"
        world.build(f"{text}COPY --from=b /ran /b/\n")
        world.build(f"{text}COPY --from=b /ran /b/\nRUN more\n")
        assert world.ran == ["RUN more"]

    def test_two_builds_share_what_both_need(self, world):
        lowered = lower_text(CHAIN, {})
        executors = [world.new_executor({"src/a": "1"}) for _ in range(2)]
        meet = threading.Barrier(2, timeout=20)

        def build(executor):
            solver = world.solver(lowered, executor)
            meet.wait()
            solver.solve(lowered.result)

        threads = [threading.Thread(target=build, args=(executor,)) for executor in executors]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert sorted((executors[0].ran + executors[1].ran).values()) == [1, 1, 1]


class TestFailure:
    def test_the_first_one_is_raised_and_nothing_is_recorded(self, world):
        executor = world.new_executor({"src/a": "1"})
        executor.fail = "two"
        with pytest.raises(Failed, match="exit status 3"):
            world.build(CHAIN, executor=executor)
        assert isinstance(world.events[-1], Broken)
        world.build(CHAIN, {"src/a": "1"})
        assert world.ran == ["RUN two"], "what had run before is not lost"

    def test_it_cancels_what_runs_beside_it(self, world):
        executor = world.new_executor({"src/a": "1"})
        executor.fail = "compile"
        running = threading.Event()
        ended = []

        def during(step, cancel):
            if step.arguments[-1] == "prepare":
                running.set()
                ended.append(cancel.wait(20))
            elif step.arguments[-1] == "compile":
                running.wait(20)

        executor.during = during
        with pytest.raises(Failed, match="exit status 3"):
            world.build(TWO_STAGES, executor=executor)
        assert ended == [True]
        assert {event.cancelled for event in world.events if isinstance(event, Broken)} == {False, True}


LINES = (
    "RUN {w}", "RUN {w}", "COPY {d} /{w}/", "COPY {d} /{w}/", "ENV {w}={n}", "ARG {w}={n}", "ARG P", "WORKDIR {w}",
    "USER {w}", "LABEL {w}={n}", "COPY --chown={n} {d} /c/", 'SHELL ["{w}"]', "COPY --from={s} /ran /from/",
    "COPY --from={s} /d /from/{w}/", "COPY <<F /{w}/\n{n}\nF",
)  # fmt: skip


def outcome(world, text, context, args, **options):
    try:
        return world.build(text, context, build_args=args, **options)
    except NotFound as error:
        return str(error)


class TestWrongHits:
    """The same edits built into one store with all its records, and each from nothing: the trees must be equal."""

    def line(self, pick: random.Random, stage: int) -> str:
        line = pick.choice(LINES if stage else LINES[:12])
        return line.format(
            w=pick.choice("abc"),
            n=pick.randrange(3),
            d=pick.choice(["d1", "d2"]),
            s=f"s{pick.randrange(max(stage, 1))}",
        )

    def edited(self, pick: random.Random, stages: list[list[str]], context: dict[str, str]) -> None:
        stage = pick.randrange(len(stages))
        lines = stages[stage]
        what = pick.randrange(6)
        if what == 0:
            lines.insert(pick.randrange(1, len(lines) + 1), self.line(pick, stage))
        elif what == 1 and len(lines) > 2:
            del lines[pick.randrange(1, len(lines))]
        elif what == 2:
            at = pick.randrange(1, len(lines))
            lines[at] = self.line(pick, stage)
        elif what == 3 and len(lines) > 3:
            at = pick.randrange(1, len(lines) - 1)
            lines[at], lines[at + 1] = lines[at + 1], lines[at]
        elif what == 4:
            lines[0] = f"FROM {pick.choice(['debian', 'alpine', *(f's{n}' for n in range(stage))])} AS s{stage}"
        else:
            context[f"{pick.choice(['d1', 'd2'])}/{pick.choice('xy')}"] = str(pick.randrange(3))

    @pytest.mark.parametrize("seed", range(3))
    def test_none_over_random_edits(self, world, tmp_path, seed):
        pick = random.Random(seed)
        context = {"d1/x": "0", "d2/x": "0"}
        stages = [[f"FROM debian AS s{stage}", "COPY d1 /d/", "RUN a"] for stage in range(3)]
        reused = 0
        clean = World(tmp_path / "clean")
        for _ in range(40):
            self.edited(pick, stages, context)
            text = "\n".join(line for lines in stages for line in lines) + "\n"
            args = {"P": str(pick.randrange(2))}
            incremental = outcome(world, text, context, args)
            reused += sum(isinstance(event, Cached) for event in world.events)
            assert incremental == outcome(clean, text, context, args, use_cache=False), text
        clean.database.close()
        assert reused > 40, "the comparison means something only where records are used"
