"""A RUN that failed: what is told, what is kept of it, and a shell in it; parallel steps that are interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bennu.build.failures import KEPT
from bennu.config import Settings
from bennu.errors import Failed
from bennu.host import cgroups, mounts
from bennu.runtime.places import cgroup_prefix
from tests.integration.build_world import Builds
from tests.integration.run_world import World, eventually, world

pytestmark = pytest.mark.root

FAILING = """FROM box AS other
RUN echo from other > /data
FROM box
ENV A="one two"
WORKDIR /work
USER web
RUN --mount=type=bind,from=other,source=/data,target=/mnt/data \\
    --mount=type=tmpfs,target=/scratch \\
    echo done > /tmp/done; \\
    cat /nothing
RUN echo never
"""


@pytest.fixture
def box(root_settings: Settings) -> Iterator[World]:
    with world(root_settings) as made:
        yield made


@pytest.fixture
def builds(box: World, tmp_path: Path) -> Builds:
    return Builds.of(box, tmp_path / "context")


def failing(builds: Builds, box: World, dockerfile: str = FAILING) -> subprocess.CompletedProcess[str]:
    (builds.context / "Dockerfile").write_text(dockerfile)
    return box.bennu("build", "--network", "none", str(builds.context))


def test_the_report_shows_the_source_the_last_lines_and_what_to_do(builds, box):
    said = failing(builds, box, "FROM box\nRUN echo out; \\\n    exit 7\n")
    assert said.returncode == 1
    lines = said.stderr.splitlines()
    at = next(number for number, line in enumerate(lines) if "error:" in line)
    assert lines[at].endswith("[2/2] RUN echo out; exit 7 ended with exit status 7")
    assert lines[at + 1 : at + 4] == ["  2 | RUN echo out; \\", "  3 |     exit 7", "  | out"]
    hint = lines[at + 4]
    assert "`bennu shell --failed`" in hint
    assert Path(hint.rpartition(" ")[2]).read_bytes() == b"out\n"


def test_a_command_where_it_failed_has_all_that_the_step_had(builds, box):
    failing(builds, box, FAILING.replace("/tmp/done", "/work/done").replace("USER web", "RUN chmod 777 .\nUSER web"))
    said = box.bennu("shell", "--failed", "-c", "id -u; pwd; echo $A; cat done /mnt/data; ls -d /scratch; exit 9")
    assert (said.returncode, said.stderr) == (9, "")
    assert said.stdout == "33\n/work\none two\ndone\nfrom other\n/scratch\n"


def test_without_a_terminal_commands_come_from_standard_input_and_nothing_stays(builds, box):
    failing(builds, box, "FROM box\nRUN exit 1\n")
    said = box.bennu("shell", "--failed", typed="touch /new; echo typed; exit 4\n")
    assert (said.returncode, said.stdout) == (4, "typed\n")
    assert box.bennu("shell", "--failed", "-c", "ls /new").returncode == 1


def test_a_shell_in_an_image_leaves_no_container(builds, box):
    said = box.bennu("shell", "box", "-c", "echo here; exit 3")
    assert (said.returncode, said.stdout) == (3, "here\n")
    assert not box.containers.list()


def test_only_the_last_few_failures_are_kept(builds, box):
    for number in range(KEPT + 2):
        with pytest.raises(Failed):
            builds.build(f"FROM box\nRUN echo {number} > /n; false\n")
    kept = builds.runtime.failures.walk()
    assert len(kept) == KEPT
    assert len(list(builds.settings.failures.iterdir())) == KEPT
    first = builds.runtime.snapshots.stat(kept[-1].id)
    assert (builds.runtime.snapshots.directory(first) / "n").read_text() == f"{2}\n"
    builds.runtime.garbage.collect()
    assert len(builds.runtime.failures.walk()) == KEPT
    time.sleep(0.05)
    builds.runtime.build_storage.prune()
    assert builds.runtime.failures.walk() == []
    assert list(builds.settings.failures.iterdir()) == []


def test_parallel_steps_that_are_interrupted_leave_nothing(builds, box):
    stages = "".join(f"FROM box AS s{n}\nRUN echo begun{n}; sleep 1000\n" for n in range(4))
    copies = "".join(f"COPY --from=s{n} /etc /e{n}\n" for n in range(4))
    (builds.context / "Dockerfile").write_text(f"{stages}FROM box\n{copies}")
    argv = box.argv("build", "--progress", "plain", str(builds.context))
    child = subprocess.Popen(argv, env=box.environ, stderr=subprocess.PIPE, text=True, start_new_session=True)
    seen = 0
    for line in child.stderr:
        seen += " begun" in line and not line.split(" ", 1)[1].startswith("[")
        if seen == 4:
            break
    for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM):
        os.kill(child.pid, number)
    child.stderr.read()
    assert child.wait() == 130
    child.stderr.close()
    eventually(lambda: not cgroups.named(cgroup_prefix(box.settings)))
    assert not mounts.mounted_below(box.settings.run)
    assert not list((box.settings.run / "trees").iterdir())
    assert not list((box.settings.run / "oneshot").iterdir())
    assert not box.settings.failures.exists()
