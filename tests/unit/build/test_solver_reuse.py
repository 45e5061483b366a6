"""Dockerfiles and their edits, solved over steps in memory and real records: what runs again and what does not."""

from __future__ import annotations

import random
import threading

import pytest

from bennu.build.progress import Cached
from bennu.errors import NotFound
from tests.unit.build.memory_steps import World

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


class TestReuse:
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
