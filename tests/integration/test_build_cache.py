"""What builds reuse, with real trees: same digests, no wrong hits, and builds that are killed or interrupted."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bennu.config import Settings
from bennu.errors import Failed
from bennu.host import cgroups, mounts
from bennu.host.files import remove_tree
from bennu.runtime.places import cgroup_prefix
from bennu.wiring import Runtime
from tests.integration.build_world import Builds, Told
from tests.integration.run_world import World, eventually, processes_of, world

pytestmark = pytest.mark.root

EPOCH = 1_600_000_000
STAGES = """FROM box AS make
COPY src /src/
RUN cat /src/* > /program
FROM box
ENV A=1
RUN mkdir -p /srv/www && echo x > /srv/x
COPY --from=make /program /srv/
WORKDIR /srv/www
COPY site/ .
RUN ls /srv > /list
"""


@pytest.fixture
def box(root_settings: Settings) -> Iterator[World]:
    with world(root_settings) as made:
        yield made


@pytest.fixture
def builds(box: World, tmp_path: Path) -> Builds:
    made = Builds.of(box, tmp_path / "context")
    made.write({"src/a.c": "a", "src/b.c": "b", "site/index.html": "hello", "site/deep/page.html": "page"})
    return made


def test_a_build_without_changes_is_the_same_image_and_runs_nothing(builds):
    first = builds.build(STAGES, name="made:1")
    told = Told()
    second = builds.build(STAGES, told, name="made:1")
    assert second.image.manifest == first.image.manifest
    assert told.ran == []
    assert len(told.cached) == len(set(told.cached)) >= 8


@pytest.mark.parametrize(
    ("change", "runs"),
    [
        ({"site/index.html": "bye"}, ["COPY site/ .", "RUN ls /srv > /list"]),
        ({"site/new": ""}, ["COPY site/ .", "RUN ls /srv > /list"]),
        ({"unused": "x"}, []),
        ({"src/b.c": "c"}, 6),
        ({"src/c.c": ""}, ["COPY src /src/", "RUN cat /src/* > /program"]),  # the program comes out the same
    ],
)
def test_a_change_runs_what_depends_on_it_and_nothing_else(builds, change, runs):
    builds.build(STAGES)
    builds.write(change)
    told = Told()
    builds.build(STAGES, told)
    assert len(told.ran) == runs if isinstance(runs, int) else sorted(told.ran) == sorted(runs)


def test_neither_times_nor_the_checkout_matter(builds, tmp_path):
    builds.build(STAGES)
    for path in builds.context.rglob("*"):
        os.utime(path, (1, 1))
    shutil.copytree(builds.context, tmp_path / "elsewhere")
    told = Told()
    Builds(builds.runtime, tmp_path / "elsewhere").build(STAGES, told)
    assert told.ran == []


def test_an_edit_reads_one_file(builds):
    builds.write({f"site/p{number}": str(number) for number in range(30)})
    time.sleep(0.1)  # what changed within the last tick of the clock is read again
    builds.build(STAGES)
    builds.write({"site/p7": "edited"})
    assert builds.build(STAGES).hashed == 1


def test_two_stores_two_checkouts_two_times_one_digest(box, builds, tmp_path):
    first = builds.build(STAGES, epoch=EPOCH).image
    shutil.copytree(builds.context, tmp_path / "elsewhere")
    for path in (tmp_path / "elsewhere").rglob("*"):
        os.utime(path, (EPOCH // 2, EPOCH // 2))
    settings = Settings.from_environ({"BENNU_ROOT": str(tmp_path / "store")})
    try:
        with Runtime(settings) as other:
            archive = tmp_path / "box.tar"
            assert box.bennu("save", "-o", str(archive), "box").returncode == 0
            subprocess.run(
                [*box.argv("load", "-q", "-i", str(archive))],
                env={**box.environ, "BENNU_ROOT": str(settings.root)},
                check=True,
                capture_output=True,
            )
            time.sleep(1.1)  # into another second
            second = Builds(other, tmp_path / "elsewhere").build(STAGES, epoch=EPOCH).image
    finally:
        remove_tree(settings.run)
    assert second.id == first.id
    assert second.manifest == first.manifest


def test_two_builds_at_once_run_each_step_once(builds):
    told = [Told(), Told()]
    dockerfile = STAGES.replace("RUN cat", "RUN sleep 0.5; cat")
    with ThreadPoolExecutor(2) as pool:
        images = list(pool.map(lambda each: builds.build(dockerfile, each).image.manifest, told))
    assert images[0] == images[1]
    ran = told[0].ran + told[1].ran
    assert sorted(set(ran)) == sorted(ran)


def test_whatever_is_edited_a_build_upon_the_cache_equals_one_from_clean(builds):
    chance = random.Random(7)
    for _ in range(12):
        dockerfile = edited(builds, chance)
        upon_cache = builds.build(dockerfile).image
        clean = builds.build(dockerfile, use_cache=False).image
        assert builds.look(upon_cache) == builds.look(clean)
        assert upon_cache.config.config == clean.config.config


def edited(builds: Builds, chance: random.Random) -> str:
    """One random edit of the context, and a Dockerfile with random arguments."""
    name = chance.choice(("src/a.c", "src/b.c", "site/index.html", "site/deep/page.html", "site/other"))
    path = builds.context / name
    match chance.randrange(5):
        case 0 if name != "src/a.c":
            path.unlink(missing_ok=True)
        case 1 if path.exists():
            path.chmod(chance.choice((0o600, 0o644, 0o755)))
        case _:
            builds.write({name: chance.choice(("one", "two", "three"))})
    dockerfile = STAGES.replace("A=1", f"A={chance.randrange(2)}")
    return dockerfile.replace("ls /srv", chance.choice(("ls /srv", "ls -R /srv", "cat /srv/program; echo $A; ls /srv")))


# interrupted and killed


LONG = "FROM box\nRUN echo half > /half; echo started; sleep 1000\n"


def start(box: World, builds: Builds, *options: str) -> subprocess.Popen[str]:
    """A build whose RUN has begun."""
    (builds.context / "Dockerfile").write_text(LONG)
    build = box.spawn("build", *options, str(builds.context), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert build.stderr is not None
    for line in build.stderr:
        if line.endswith("started\n"):
            return build
    raise AssertionError(f"the build ended with {build.wait()}")


def left(settings: Settings) -> list[str]:
    """What a build may leave on the host or in the store while nobody builds."""
    with Runtime(settings) as runtime:
        active = runtime.database.query("SELECT id FROM snapshots WHERE state = 'active'")
        owners = [f"network of {owner}" for owner in runtime.containers.networks.owners()]
    trees = settings.run / "trees"
    return [
        *(f"active snapshot {row['id']}" for row in active),
        *owners,
        *(f"mount {each}" for each in (*mounts.mounted_below(settings.root), *mounts.mounted_below(settings.run))),
        *(f"cgroup {each}" for each in cgroups.named(cgroup_prefix(settings))),
        *(f"process {each}" for each in processes_of(settings)),
        *(f"directory {each}" for each in (os.listdir(trees) if trees.exists() else ())),
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_build_leaves_nothing(box, builds, number):
    build = start(box, builds)
    build.send_signal(number)
    assert build.wait(20) == 128 + number
    assert build.stderr is not None
    build.stderr.close()
    assert left(box.settings) == []


def test_what_a_killed_build_leaves_is_swept_by_the_next_one(box, builds):
    build = start(box, builds)
    build.kill()
    build.wait()
    assert build.stderr is not None
    build.stderr.close()
    eventually(lambda: not processes_of(box.settings))
    kinds = {each.split(" ")[0] for each in left(box.settings)}
    assert kinds >= {"active", "network"}  # a network namespace is held by a mount of its own
    assert not mounts.mounted_below(box.settings.root)
    builds.build("FROM box\nRUN echo again\n", network="default")
    assert left(box.settings) == []


def test_a_failed_build_leaves_nothing_and_keeps_what_succeeded(box, builds):
    dockerfile = "FROM box\nRUN echo good > /good\nRUN echo half > /half; exit 1\n"
    with pytest.raises(Failed):
        builds.build(dockerfile)
    assert left(box.settings) == []
    told = Told()
    builds.build(dockerfile.replace("exit 1", "exit 0"), told)
    assert "RUN echo good > /good" in told.cached


def test_a_build_out_of_the_cache_imports_nothing_that_only_a_run_needs(box, builds):
    (builds.context / "Dockerfile").write_text(STAGES)
    program = (
        "import sys; from bennu.cli.main import main\n"
        "status = main(['build', '-q', sys.argv[1]], dict(__import__('os').environ))\n"
        "dear = ('runtime', 'build.running', 'build.copying', 'host.network', 'registry', 'switch')\n"
        "print(status, sorted(m for m in sys.modules if m.startswith(tuple('bennu.' + d for d in dear))))\n"
        "dear = 'asyncio rich urllib3 yaml concurrent.futures ctypes hashlib json queue tarfile'.split()\n"
        "print([m for m in dear if m in sys.modules])\n"
    )
    for _ in range(2):
        words = [box.argv()[0], "-c", program, str(builds.context)]
        done = subprocess.run(words, env=box.environ, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[1:] == ["0 []", "[]"]
