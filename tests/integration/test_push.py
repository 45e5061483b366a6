"""Push to deploy: a bare repository that deploys what is pushed, and a repository elsewhere that is followed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bennu.config import Settings
from bennu.wiring import Fleet
from tests.integration.fleet_world import PROJECT, FleetWorld, fleet_world, wait_for
from tests.integration.run_world import eventually

pytestmark = pytest.mark.root

IDENTITY = {
    "GIT_AUTHOR_NAME": "Ann", "GIT_AUTHOR_EMAIL": "ann@example.org", "GIT_COMMITTER_NAME": "Ann",
    "GIT_COMMITTER_EMAIL": "ann@example.org", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1",
}  # fmt: skip


@dataclass
class Desk:
    """A working tree with the fleet's file in it; ``page`` is what the service serves."""

    fleet: FleetWorld
    tree: Path
    bare: Path

    def git(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["git", *words], cwd=self.tree, env=self.environ, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0 or not check, done.stderr
        return done

    @property
    def environ(self) -> dict[str, str]:
        return {**self.fleet.world.environ, **IDENTITY}

    def commit(self, page: str, *, command: str | None = None) -> str:
        """A commit of another page; with ``command`` the service runs that."""
        self.fleet.write("v1", replicas=1, patience="2s", **({"command": command} if command else {}))
        text = (self.fleet.directory / "compose.yaml").read_text()
        text = text.replace("name: tiny\n", "").replace("    image: web:v1", "    image: made\n    build: .")
        (self.tree / "compose.yaml").write_text(text)
        (self.tree / "Dockerfile").write_text("FROM web:v1\nCOPY page /srv/index.html\n")
        (self.tree / "page").write_text(page)
        self.git("add", "-A")
        self.git("commit", "--quiet", "--message", page)
        return self.git("rev-parse", "HEAD").stdout.strip()

    def push(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.git("push", str(self.bare), *(words or ("main",)), check=False)

    def tip(self, branch: str = "main") -> str:
        done = self.git("ls-remote", str(self.bare), f"refs/heads/{branch}")
        return done.stdout.partition("\t")[0]


@pytest.fixture
def desk(root_settings: Settings, tmp_path: Path) -> Iterator[Desk]:
    with fleet_world(root_settings, tmp_path / "project", ["v1"]) as fleet:
        tree = tmp_path / "tree"
        tree.mkdir()
        made = Desk(fleet, tree, tmp_path / f"{PROJECT}.git")
        made.git("init", "--quiet", "--initial-branch=main")
        yield made


def origins(fleet: FleetWorld) -> list[tuple[str, str | None]]:
    """State and commit of each revision, oldest first."""
    with Fleet(fleet.settings) as inside:
        revisions = reversed(inside.history.revisions(PROJECT))
        return [(each.state, each.origin_of_release.commit if each.origin_of_release else None) for each in revisions]


def test_what_is_pushed_is_deployed_and_what_fails_is_refused(desk: Desk):
    fleet = desk.fleet
    fleet.succeed("git", "init", str(desk.bare))
    first = desk.commit("one")
    done = desk.push()
    assert done.returncode == 0, done.stderr
    for part in (f"remote: bennu: deploying {first[:10]} (one) of main", "remote: ==> starting", "is active"):
        assert part in done.stderr
    assert fleet.serves("one")
    assert desk.tip() == first
    bad = desk.commit("two", command='[sh, -c, "echo no such database; exit 3"]')
    done = desk.push()
    assert done.returncode == 1
    for part in ("exit status 3", "no such database", "it was reverted", "pre-receive hook declined"):
        assert part in done.stderr, done.stderr
    assert desk.tip() == first
    assert fleet.serves("one")
    (desk.tree / "compose.yaml").write_text("services: 5\n")
    desk.git("commit", "--quiet", "-am", "nonsense")
    done = desk.push()
    assert done.returncode == 1
    assert "compose.yaml:1:" in done.stderr
    third = desk.commit("three")
    assert desk.push().returncode == 0
    assert fleet.serves("three")
    assert origins(fleet) == [("superseded", first), ("failed", bad), ("active", third)]
    # the way back is a rollback, and it knows which commit that is
    fleet.succeed("rollback", "--yes", "-p", PROJECT)
    assert fleet.serves("one")
    assert origins(fleet)[-1] == ("active", first)
    kept = {path.name for path in fleet.settings.sources.glob("*/*")}
    assert {first, third} <= kept


def test_other_branches_are_kept_and_the_deployed_one_cannot_be_deleted(desk: Desk):
    desk.fleet.succeed("git", "init", "-b", "live", str(desk.bare))
    desk.commit("one")
    done = desk.push("main", "main:refs/tags/v1")
    assert done.returncode == 0
    assert "main is kept and not deployed; live is what is deployed" in done.stderr
    assert "v1 is kept and not deployed" in done.stderr
    assert origins(desk.fleet) == []
    assert desk.push("main:live").returncode == 0
    assert desk.fleet.serves("one")
    done = desk.push(":live")
    assert done.returncode == 1
    assert "stays" in done.stderr


def test_two_pushes_at_once_come_one_after_the_other(desk: Desk):
    desk.fleet.succeed("git", "init", str(desk.bare))
    desk.commit("one")
    assert desk.push().returncode == 0
    pushes = []
    for page in ("two", "three"):
        desk.git("checkout", "--quiet", "-B", page, "main")
        desk.commit(page)
        pushes.append(
            subprocess.Popen(
                ["git", "push", str(desk.bare), f"{page}:main"], cwd=desk.tree, env=desk.environ,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
        )  # fmt: skip
    ends = [wait_for(each) for each in pushes]
    assert sorted(status for status, _ in ends) == [0, 1], ends
    refused = next(said for status, said in ends if status)
    assert "fetch, merge, and push again" in refused
    won = "two" if ends[0][0] == 0 else "three"
    assert desk.fleet.serves(won)
    assert desk.tip() == desk.git("rev-parse", won).stdout.strip()


def test_after_the_push_nothing_is_refused(desk: Desk):
    desk.fleet.succeed("git", "init", "--after", str(desk.bare))
    desk.commit("one")
    assert desk.push().returncode == 0
    assert desk.fleet.serves("one")
    bad = desk.commit("two", command="[no-such-program]")
    done = desk.push()
    assert done.returncode == 0
    assert "no-such-program" in done.stderr
    assert desk.tip() == bad
    assert desk.fleet.serves("one")


def test_a_pusher_who_leaves_takes_nothing_along(desk: Desk):
    desk.fleet.succeed("git", "init", str(desk.bare))
    desk.commit("one")
    push = subprocess.Popen(
        ["git", "push", str(desk.bare), "main"], cwd=desk.tree, env=desk.environ, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert push.stderr is not None
    for line in push.stderr:
        if "==>" in line:
            break
    os.killpg(push.pid, 9)
    push.stderr.close()
    push.wait()
    # whatever became of it: the next push of the same commit ends with it deployed
    eventually(lambda: desk.push().returncode == 0, 60)
    assert desk.fleet.serves("one")
    assert [state for state, _ in origins(desk.fleet)].count("active") == 1


def test_a_repository_elsewhere_is_followed(desk: Desk):
    fleet, source = desk.fleet, f"file://{desk.tree}#main"
    first = desk.commit("one")

    def follow(*words: str) -> subprocess.CompletedProcess[str]:
        return fleet.bennu("follow", "--once", "-p", PROJECT, *words, source)

    done = follow()
    assert done.returncode == 0, done.stderr
    assert fleet.serves("one")
    assert f"{first[:10]} is deployed" in follow().stderr
    bad = desk.commit("two", command="[no-such-program]")
    done = follow()
    assert done.returncode == 1
    assert "no-such-program" in done.stderr
    before = origins(fleet)
    done = follow()
    assert done.returncode == 1
    assert f"{bad[:10]} has failed and is not tried again" in done.stderr
    assert origins(fleet) == before
    assert fleet.serves("one")
    running = fleet.spawn("follow", "--interval", "100ms", "-p", PROJECT, source)
    try:
        desk.commit("three")
        eventually(lambda: fleet.serves("three"), 60)
        desk.commit("four")
        eventually(lambda: fleet.serves("four"), 60)
    finally:
        running.terminate()
        running.communicate(timeout=20)
    assert [state for state, _ in origins(fleet)].count("failed") == 1
    assert follow().returncode == 0
