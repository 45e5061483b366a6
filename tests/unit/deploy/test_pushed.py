"""Commits that are deployed: the bare repository, what was tried, and the directories of their files."""

from __future__ import annotations

import io
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bennu.cli.patient import Patient
from bennu.config import Settings
from bennu.deploy import bare, checkouts
from bennu.deploy.bare import Bare
from bennu.deploy.commits import Commits
from bennu.deploy.history import History
from bennu.deploy.planning.plan import make
from bennu.deploy.policy import Origin, Policy
from bennu.errors import AlreadyExists, Invalid
from bennu.store.database import Database
from bennu.store.migrations import MIGRATIONS
from tests.unit.deploy.fleets import PROJECT, observation, shop

HOOK = ["/opt/a b/python", "-m", "bennu", "git", "receive"]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def history(root_settings: Settings) -> Iterator[History]:
    database = Database(root_settings.database)
    yield History(database)
    database.close()


def git(where: Path, *words: str) -> str:
    identity = ["-c", "user.name=Ann", "-c", "user.email=a@b"]
    done = subprocess.run(["git", *identity, *words], cwd=where, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


def test_a_bare_repository_is_made_and_set_up_anew(tmp_path: Path):
    made = bare.init(tmp_path / "shop.git", HOOK, project="store", file="live/compose.yaml")
    assert (made.branch, made.name, made.setting("project"), made.setting("file")) == (
        "main", "shop", "store", "live/compose.yaml",
    )  # fmt: skip
    assert made.deploys_before
    assert made.tip() is None
    for name in ("pre-receive", "post-receive"):
        hook = made.directory / "hooks" / name
        assert hook.stat().st_mode & 0o777 == 0o755
        assert hook.read_text().splitlines()[-1] == f"exec '/opt/a b/python' -m bennu git receive {name}"
    again = bare.init(tmp_path / "shop.git", HOOK, branch="live", after=True)
    assert (again.branch, again.setting("project"), again.deploys_before) == ("live", "", False)
    assert (again.directory / "HEAD").read_text() == "ref: refs/heads/live\n"


def test_what_is_somebody_elses_is_left_alone(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(AlreadyExists, match="is not empty"):
        bare.init(tmp_path, HOOK)
    git(tmp_path, "init", "--quiet", "--bare", "other.git")
    with pytest.raises(AlreadyExists):
        bare.init(tmp_path / "other.git", HOOK)
    with pytest.raises(Invalid, match="cannot be the name of a branch"):
        bare.init(tmp_path / "new.git", HOOK, branch="a..b")
    assert not (tmp_path / "new.git").exists()


def test_a_commit_is_written_out_with_links_and_modes(tmp_path: Path):
    tree = tmp_path / "tree"
    tree.mkdir()
    git(tree, "init", "--quiet", "--initial-branch=main")
    (tree / "run.sh").write_text("#!/bin/sh\n")
    (tree / "run.sh").chmod(0o755)
    (tree / "link").symlink_to("run.sh")
    (tree / "below").mkdir()
    (tree / "below" / "file").write_text("1")
    git(tree, "add", "-A")
    git(tree, "commit", "--quiet", "-m", "all of it")
    commit = git(tree, "rev-parse", "HEAD")
    repository = Bare(tree / ".git")
    assert repository.tip() == commit == repository.commit_of("main")
    assert repository.about(commit) == ("Ann", "all of it")
    where = tmp_path / "out"
    where.mkdir()
    repository.write_out(commit, where)
    assert (where / "run.sh").stat().st_mode & 0o111
    assert (where / "link").readlink() == Path("run.sh")
    assert (where / "below" / "file").read_text() == "1"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "tree"]


def test_what_was_tried_is_remembered(root_settings: Settings, history: History):
    database = Database(root_settings.database)
    commits = Commits(database)
    commits.begin("a#main", "c1", 1.0)
    commits.end("a#main", "c1", "failed", "no such file")
    commits.begin("a#main", "c2", 2.0, parent="c1")
    commits.end("a#main", "c2", "deployed")
    commits.begin("b#main", "c1", 3.0)
    last, first = commits.last("a#main"), commits.get("a#main", "c1")
    assert last is not None
    assert (last.commit, last.state, last.parent) == ("c2", "deployed", "c1")
    assert first is not None
    assert (first.state, first.reason) == ("failed", "no such file")
    commits.forget("a#main", "c1")
    assert commits.get("a#main", "c1") is None
    assert commits.get("b#main", "c1") is not None
    database.close()


def test_a_checkout_is_whole_or_not_there(root_settings: Settings):
    where = checkouts.place(root_settings, "/srv/shop.git", COMMIT, "shop")

    def fail(directory: Path) -> None:
        (directory / "half").touch()
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        checkouts.ensure(where, fail, root_settings.temporary)
    assert not where.exists()
    checkouts.ensure(where, lambda directory: (directory / "file").touch(), root_settings.temporary)
    assert (where / "file").exists()
    checkouts.ensure(where, fail, root_settings.temporary)  # it is there already
    assert list(root_settings.temporary.iterdir()) == []


def test_checkouts_stay_as_long_as_somebody_can_come_back_to_them(root_settings: Settings, history: History):
    places = [checkouts.place(root_settings, "r", f"{number}" * 40, "shop") for number in range(6)]
    for place in places:
        place.mkdir(parents=True)
    for number, place in enumerate(places[:4]):  # keep=1: of four the last two
        wanted = shop(str(number), keep=1)
        policy = Policy(directory=str(place), origin=Origin(directory=str(place)))
        plan = make(wanted, observation(), revision=history.last_number(PROJECT), policy=policy)
        revision = history.begin(wanted, plan, kind="apply", origin=None, author="me", now=float(number))
        history.finish(revision, "active", now=float(number), phases={}, reason=None)
    gone = checkouts.sweep(root_settings, history, besides=[places[5]])
    left = {place for place in places if place.exists()}
    assert {places[2], places[3], places[5]} <= left
    assert places[4] not in left
    assert all(not path.exists() for path in gone)


def test_a_reader_who_leaves_takes_only_the_words_along():
    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    stream = Patient(Broken())
    assert stream.write("lost\n") == 5
    stream.flush()
    heard = io.StringIO()
    Patient(heard).write("heard\n")
    assert heard.getvalue() == "heard\n"
    assert not stream.isatty()


def test_revisions_of_before_reprovisioning_survive(tmp_path: Path):
    """The table is made again for a third kind; what is in it, and what it forbids, stays."""
    at = next(number for number, each in enumerate(MIGRATIONS) if "revisions_with_reprovision" in each)
    path = tmp_path / "bennu.db"
    old = Database(path, MIGRATIONS[:at])
    with old.transaction() as rows:
        rows.execute("INSERT INTO releases (digest, project, body, created) VALUES ('d', 'shop', '{}', 1)")
        for number, state in ((1, "superseded"), (2, "active")):
            rows.execute(
                "INSERT INTO revisions (project, number, kind, release, origin, sets, state, plan, author, started)"
                " VALUES ('shop', ?, 'apply', 'd', ?, '{}', ?, '{}', 'me', 1.5)",
                (number, number, state),
            )
    old.close()
    new = Database(path)
    assert [(each.number, each.state, each.started) for each in History(new).revisions("shop")] == [
        (2, "active", 1.5), (1, "superseded", 1.5),
    ]  # fmt: skip
    with pytest.raises(sqlite3.IntegrityError), new.transaction() as rows:
        rows.execute("UPDATE revisions SET state = 'active' WHERE number = 1")
    with pytest.raises(sqlite3.IntegrityError), new.transaction() as rows:
        rows.execute("UPDATE revisions SET kind = 'other' WHERE number = 1")
    new.close()
