"""Overlay snapshots where it hurts: killed at every line, several processes at once, a reboot in between."""

import os
import random
import shutil
import sys
from contextlib import suppress
from pathlib import Path

import pytest

import bennu.store.database
import bennu.store.snapshots
from bennu.config import Settings
from bennu.errors import BennuError, Conflict, NotFound
from bennu.host.mounts import attached
from bennu.store.database import Database
from bennu.store.layers import Layers
from bennu.store.snapshots import Snapshots

pytestmark = pytest.mark.root

WATCHED = {bennu.store.database.__file__, bennu.store.snapshots.__file__}


@pytest.fixture
def settings(tmp_path):
    return Settings(tmp_path / "root", tmp_path / "run")


@pytest.fixture
def database(settings):
    with Database(settings.database) as database:
        yield database


def write(snapshots, parent, **files):
    active = snapshots.prepare(parent)
    for name, content in files.items():
        (snapshots.directory(active) / name).write_text(content)
    return active


def in_child(function):
    """Run a function in a forked child that ends without clearing up; its exit status."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = function() or 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def killed_at(line, function):
    """Run a function in a child that dies at its n-th line in the store's modules; whether it got to its end."""

    def traced():
        left = line

        def trace(frame, event, _):
            nonlocal left
            if frame.f_code.co_filename not in WATCHED:
                return None
            if event == "line":
                left -= 1
                if left == 0:
                    os._exit(9)
            return trace

        sys.settrace(trace)
        function()

    return in_child(traced) == 0


def check_invariants(settings, database):
    """Every row has its directory, every directory its row, nothing is half-committed."""
    snapshots = Snapshots(settings, database)
    rows = {row["id"]: row["state"] for row in database.query("SELECT id, state FROM snapshots")}
    present = set(os.listdir(settings.snapshots)) if settings.snapshots.exists() else set()
    assert present == set(rows)
    committed = list(snapshots.walk())
    assert {each.id for each in committed} == {name for name, state in rows.items() if state == "committed"}
    for each in committed:
        assert sorted(os.listdir(settings.snapshots / each.id)) == ["fs"]
    assert not settings.temporary.exists() or os.listdir(settings.temporary) == []
    return committed


@pytest.mark.parametrize("what", ["prepare and commit", "discard", "remove"])
def test_a_kill_at_any_line_leaves_nothing_that_sweep_does_not_take(settings, database, what):
    snapshots = Snapshots(settings, database)
    base = snapshots.commit(write(snapshots, None, a="1"))
    database.close()

    def work():
        with Database(settings.database) as own:
            mine = Snapshots(settings, own)
            if what == "prepare and commit":
                mine.commit(write(mine, base, b="2"))
            elif what == "discard":
                mine.discard(write(mine, base, b="2"))
            else:
                mine.remove(mine.commit(write(mine, base, b="2")))

    for line in range(1, 1000):
        ended = killed_at(line, work)
        snapshots.sweep()
        for grave in settings.temporary.glob("*"):  # gc's business
            shutil.rmtree(grave)
        committed = check_invariants(settings, database)
        assert base in committed
        for each in committed:
            assert (snapshots.directory(each) / ("a" if each == base else "b")).exists()
            if each != base:
                snapshots.remove(each)
        if ended:
            break
    assert line > 20
    assert ended


def test_an_active_one_of_a_dead_process_is_swept_and_of_a_living_one_is_not(settings, database):
    snapshots = Snapshots(settings, database)
    mine = write(snapshots, None, a="1")
    database.close()

    def die():
        write(Snapshots(settings, Database(settings.database)), None, b="2")

    assert in_child(die) == 0
    assert len(os.listdir(settings.snapshots)) == 2
    assert snapshots.sweep() == 1
    assert os.listdir(settings.snapshots) == [mine.id]
    snapshots.commit(mine)


def test_stray_directories_are_swept(settings, database):
    snapshots = Snapshots(settings, database)
    kept = snapshots.commit(write(snapshots, None, a="1"))
    (settings.snapshots / "0123" / "fs" / "deep").mkdir(parents=True)
    assert snapshots.sweep() == 1
    assert os.listdir(settings.snapshots) == [kept.id]


def test_many_processes_at_once(settings, database):
    snapshots = Snapshots(settings, database)
    base = snapshots.commit(write(snapshots, None, a="1"))
    database.close()

    def work(seed):
        chance = random.Random(seed)
        with Database(settings.database) as own:
            mine = Snapshots(settings, own)
            for number in range(30):
                parent = chance.choice([base, None, *mine.walk()])
                try:
                    active = write(mine, parent, **{f"f{seed}-{number}": "x"})
                except NotFound:
                    continue
                match chance.randrange(4):
                    case 0:
                        mine.discard(active)
                    case _:
                        mine.commit(active)
                if chance.random() < 0.4:
                    with suppress(Conflict):
                        victim = chance.choice(list(mine.walk()))
                        if victim != base:
                            mine.remove(victim)
                if chance.random() < 0.2:
                    mine.sweep()
                    mine.sync()
            check = list(mine.walk())
            assert base in check

    children = []
    for seed in range(4):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                work(seed)
                status = 0
            finally:
                os._exit(status)
        children.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0] * 4
    assert snapshots.sweep() == 0
    check_invariants(settings, database)


def test_no_other_user_of_the_host_comes_near_the_files(settings, database):
    snapshots = Snapshots(settings, database)
    snapshots.commit(write(snapshots, None, a="1"))
    assert settings.snapshots.stat().st_mode & 0o077 == 0


class TestAfterAnotherBoot:
    """What was committed but not synced counts only if its files still are the layer that was recorded."""

    @pytest.fixture
    def later(self, settings, database):
        return Snapshots(settings, database, boot="another boot")

    def test_what_was_synced_is_there(self, settings, database, later):
        snapshots = Snapshots(settings, database)
        base = snapshots.commit(write(snapshots, None, a="1"))
        snapshots.sync()
        assert later.stat(base.id) == base

    def test_what_nobody_knows_anything_about_is_not(self, settings, database, later):
        snapshots = Snapshots(settings, database)
        base = snapshots.commit(write(snapshots, None, a="1"))
        snapshots.sync()
        top = snapshots.commit(write(snapshots, base, b="2"))
        assert later.stat(top.id) is None
        assert list(later.walk()) == [base]
        assert later.sweep() == 1
        assert os.listdir(settings.snapshots) == [base.id]

    def test_what_still_is_its_recorded_layer_is_there_and_is_not_read_again(self, settings, database, later):
        snapshots = Snapshots(settings, database)
        base = snapshots.commit(write(snapshots, None, a="1"))
        top = snapshots.commit(write(snapshots, base, b="2"))
        Layers(settings, database, snapshots).info(top)
        assert later.stat(top.id) == top
        (later.directory(top) / "b").write_text("changed after it was found whole")
        assert later.stat(top.id) == top

    def test_what_the_crash_cut_off_is_not(self, settings, database, later):
        snapshots = Snapshots(settings, database)
        base = snapshots.commit(write(snapshots, None, a="1"))
        top = snapshots.commit(write(snapshots, base, b="2"))
        Layers(settings, database, snapshots).info(top)
        (snapshots.directory(base) / "a").write_text("")
        assert later.stat(top.id) is None
        assert later.sweep() == 2
        assert os.listdir(settings.snapshots) == []
        assert database.query("SELECT * FROM layers") == []

    def test_what_lost_its_directory_is_not(self, settings, database, later):
        snapshots = Snapshots(settings, database)
        base = snapshots.commit(write(snapshots, None, a="1"))
        Layers(settings, database, snapshots).info(base)
        shutil.rmtree(settings.snapshots / base.id)
        assert later.stat(base.id) is None

    def test_an_active_one_is_swept_though_a_process_of_that_number_lives(self, settings, database, later):
        active = write(Snapshots(settings, database), None, a="1")
        assert later.sweep() == 1
        with pytest.raises(Conflict):
            later.commit(active)


def test_a_snapshot_of_sixty_layers_is_seen(settings, database, tmp_path):
    snapshots = Snapshots(settings, database)
    top = None
    for number in range(60):
        top = snapshots.commit(write(snapshots, top, **{f"f{number}": ""}))
    place = tmp_path / "mnt"
    place.mkdir()
    with attached(snapshots.mounts(top), place):
        assert len(os.listdir(place)) == 60
        with pytest.raises(OSError, match="Read-only"):
            (place / "new").touch()


def test_sync_marks_only_what_was_committed_before_it(settings, database, monkeypatch):
    snapshots = Snapshots(settings, database)
    first = snapshots.commit(write(snapshots, None, a="1"))
    late = []

    def slow(path: Path):
        late.append(snapshots.commit(write(snapshots, None, b="2")))

    monkeypatch.setattr("bennu.store.snapshots.sync_file_system", slow)
    snapshots.sync()
    later = Snapshots(settings, database, boot="another boot")
    assert later.stat(first.id) == first
    assert later.stat(late[0].id) is None


def test_a_failing_prepare_leaves_nothing(settings, database):
    snapshots = Snapshots(settings, database)
    base = snapshots.commit(write(snapshots, None, a="1"))
    shutil.rmtree(snapshots.directory(base))
    with pytest.raises((OSError, BennuError)):
        snapshots.prepare(base)
    assert os.listdir(settings.snapshots) == [base.id]
