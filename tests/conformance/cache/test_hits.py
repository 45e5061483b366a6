"""The step cache runs again what Docker runs again, edit by edit; where it does not, the reason stands in ``OURS``."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bennu.build.progress import Started
from bennu.build.request import BuildRequest
from bennu.build.secrets import Grants, SecretSource
from bennu.config import Settings
from bennu.errors import Failed
from bennu.host.files import remove_tree
from tests.conformance.cache.cases import BOX, CASES, Build, Case, apply, arranged
from tests.integration.build_world import Builds, Told
from tests.integration.run_world import World, world
from tests.quick_runs import QuickRuntime

pytestmark = pytest.mark.root

RECORDED = json.loads(Path(__file__).with_name("recorded.json").read_text())
STEP = re.compile(r"\[[^\]]*\d+/\d+\] (?!FROM)")
USERS = "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33:www-data:/var/www:/bin/sh\n"
GROUPS = "root:x:0:\nwww-data:x:33:\n"

OURS: dict[str, tuple[str, list[list[str]]]] = {
    "context: another mode of a directory in the source": (
        "Docker does not look at a directory's mode again when nothing else changed, and keeps a tree with the old one",
        [["[5/6] COPY dir /dir/", "[6/6] RUN ls /dir"]],
    ),
    "context: a source moved, its name and destination the same": (
        "Docker orders the contents of several sources by their paths; the tree is the same",
        [[]],
    ),
    "link: what it stands on changed": (
        "the recorded Docker's storage merges no layers, so --link does nothing there; in BuildKit the layer stays",
        [["[4/6] RUN echo more; cat /in/a.txt", "[6/6] RUN ls /dir"]],
    ),
    "link: what it stands on edited": (
        "the recorded Docker's storage merges no layers, so --link does nothing there; in BuildKit the layer stays",
        [["[3/6] COPY a.txt b.txt /in/", "[4/6] RUN cat /in/a.txt", "[6/6] RUN ls /dir"]],
    ),
}
"""By case: why the steps that run again differ from Docker's, and which they are."""


@pytest.fixture(scope="module")
def box() -> Iterator[World]:
    with tempfile.TemporaryDirectory() as base:
        with world(Settings.from_environ({"BENNU_ROOT": f"{base}/root"}), QuickRuntime) as made:
            files = {"etc/passwd": USERS, "etc/group": GROUPS}
            made.image(f"{BOX}:latest", files=files)
            builds = Builds(made.runtime, Path(base) / "context")
            builds.build(f"FROM {BOX}\nLABEL other=1\n", name=f"{BOX}:relabelled")
            builds.build(f"FROM {BOX}\nENV OTHER=1\n", name=f"{BOX}:environment")
            builds.build(f"FROM {BOX}\nCOPY <<E /etc/other\nother\nE\n", name=f"{BOX}:other")
            yield made
        remove_tree(Path(base) / "root")


def test_every_case_is_recorded():
    assert [case.name for case in CASES] == list(RECORDED)


@pytest.mark.parametrize("number", range(len(CASES)), ids=[case.name for case in CASES])
def test_what_runs_again_is_what_docker_runs_again(box, tmp_path, number):
    case = CASES[number]
    expected = OURS[case.name][1] if case.name in OURS else RECORDED[case.name]
    assert ran_again(box, case, tmp_path / "context", f"mark{number}x") == expected


def ran_again(box: World, case: Case, context: Path, mark: str) -> list[list[str]]:
    arranged(context, case.files)
    text, args = case.text, dict(case.first.args or {})
    build(box, context, text, args, case.first, mark)
    ran = []
    for each in case.builds:
        for old, new in each.text:
            text = text.replace(old, new)
        for op in each.context:
            if op == ("move",):
                context = context.rename(context.with_name("moved"))
            else:
                apply(context, op)
        args = args if each.args is None else dict(each.args)
        ran.append(build(box, context, text, args, each, mark))
    return ran


def build(box: World, context: Path, text: str, args: dict[str, str], asked: Build, mark: str) -> list[str]:
    (context / "Dockerfile").write_bytes(text.replace("mark", mark).encode())
    told = Told()
    request = BuildRequest(
        context=context,
        build_args=args,
        target=asked.target,
        use_cache=not asked.no_cache,
        epoch=asked.epoch,
        network="none",
        grants=Grants({"s": SecretSource("s", env="SECRET")} if asked.secret else {}, environ={"SECRET": asked.secret}),
    )
    try:
        box.runtime.builder.build(request, told)
    except Failed:
        assert asked.fails
    else:
        assert not asked.fails
    return sorted(
        event.label.replace(mark, "mark")
        for event in told.events
        if isinstance(event, Started) and STEP.match(event.label)
    )
