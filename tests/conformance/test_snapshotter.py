"""The contract of ``store.base.Snapshotter``, over overlay's upper directories and over plain copies."""

import os
import time
from contextlib import contextmanager

import pytest
from msgspec.structs import replace

from bennu.config import Settings
from bennu.errors import Conflict, NotFound
from bennu.host.mounts import FREE, Bind, attached
from bennu.store.base import Snapshotter
from bennu.store.database import Database
from bennu.store.snapshots import Snapshots
from tests.plain_snapshots import PlainSnapshots


class World:
    """A snapshotter, and a way to be in its trees."""

    def __init__(self, snapshots: Snapshotter, place):
        self.snapshots = snapshots
        self._place = place

    @contextmanager
    def inside(self, mount):
        if isinstance(self.snapshots, PlainSnapshots):
            assert isinstance(mount, Bind)
            yield mount.source
            return
        self._place.mkdir(exist_ok=True)
        with attached(mount, self._place):
            yield self._place

    def make(self, parent=None, **files):
        """A committed snapshot with these files over ``parent``; content None removes one."""
        active = self.snapshots.prepare(parent)
        with self.inside(self.snapshots.mounts(active)) as tree:
            for name, content in files.items():
                (tree / name).unlink() if content is None else (tree / name).write_text(content)
        return self.snapshots.commit(active)

    def read(self, snapshot):
        with self.inside(self.snapshots.mounts(snapshot)) as tree:
            return {path.name: path.read_text() for path in tree.iterdir()}


@pytest.fixture(params=[pytest.param("overlay", marks=pytest.mark.root), "plain"])
def world(request, tmp_path):
    if request.param == "plain":
        yield World(PlainSnapshots(tmp_path / "plain"), tmp_path / "mnt")
        return
    settings = Settings(tmp_path / "root", tmp_path / "run")
    with Database(settings.database) as database:
        yield World(Snapshots(settings, database), tmp_path / "mnt")


def test_a_tree_holds_what_was_written_over_its_parent(world):
    base = world.make(a="1", b="2")
    top = world.make(base, a="3", c="4", b=None)
    assert world.read(base) == {"a": "1", "b": "2"}
    assert world.read(top) == {"a": "3", "c": "4"}
    assert top.parents == (base.id,)
    assert top.chain == (top.id, base.id)


def test_two_children_do_not_see_each_other(world):
    base = world.make(a="1")
    left, right = world.make(base, b="l"), world.make(base, b="r")
    assert world.read(left) == {"a": "1", "b": "l"}
    assert world.read(right) == {"a": "1", "b": "r"}


def test_an_active_one_is_written_through_several_mounts(world):
    snapshots = world.snapshots
    active = snapshots.prepare(world.make(a="1"))
    for name in "bcd":
        with world.inside(snapshots.mounts(active)) as tree:
            (tree / name).write_text(name)
    assert world.read(snapshots.commit(active)) == {"a": "1", "b": "b", "c": "c", "d": "d"}


def test_its_own_directory_may_be_written_directly(world):
    snapshots = world.snapshots
    active = snapshots.prepare(world.make(a="1"))
    (snapshots.directory(active) / "b").write_text("2")
    assert world.read(snapshots.commit(active)) == {"a": "1", "b": "2"}


@pytest.mark.parametrize("chain", [1, 2, 5])
def test_a_long_chain_reads_like_one_tree(world, chain):
    top = None
    for number in range(chain):
        top = world.make(top, **{f"f{number}": str(number), "last": str(number)})
    assert len(top.chain) == chain
    assert world.read(top) == {f"f{n}": str(n) for n in range(chain)} | {"last": str(chain - 1)}


def test_the_root_directory_keeps_its_looks_through_the_chain(world):
    active = world.snapshots.prepare(None)
    with world.inside(world.snapshots.mounts(active)) as tree:
        assert tree.stat().st_mode & 0o7777 == 0o755
        tree.chmod(0o2751)
    top = world.make(world.snapshots.commit(active), a="1")
    with world.inside(world.snapshots.mounts(top)) as tree:
        assert tree.stat().st_mode & 0o7777 == 0o2751


def test_a_new_root_directory_is_0755_whatever_the_umask(world):
    old = os.umask(0o077)
    try:
        active = world.snapshots.prepare(None)
    finally:
        os.umask(old)
    assert world.snapshots.directory(active).stat().st_mode & 0o7777 == 0o755


def test_commit_happens_once(world):
    active = world.snapshots.prepare(None)
    world.snapshots.commit(active)
    with pytest.raises(Conflict, match="not active"):
        world.snapshots.commit(active)
    world.snapshots.discard(active)
    assert world.snapshots.stat(active.id) is not None


def test_a_discarded_one_is_gone_with_its_files(world):
    active = world.snapshots.prepare(world.make(a="1"))
    directory = world.snapshots.directory(active)
    assert directory.is_dir()
    world.snapshots.discard(active)
    world.snapshots.discard(active)
    assert not directory.exists()
    assert world.snapshots.stat(active.id) is None
    with pytest.raises(Conflict):
        world.snapshots.commit(active)


def test_an_active_one_is_no_committed_one(world):
    active = world.snapshots.prepare(None)
    assert world.snapshots.stat(active.id) is None
    assert list(world.snapshots.walk()) == []
    assert world.snapshots.sweep() == 0
    assert world.snapshots.stat(world.snapshots.commit(active).id) is not None


def test_stat_and_walk_give_what_commit_gave_parents_first(world):
    made = [world.make(a="1")]
    made += [world.make(made[0], b="2"), world.make(made[0], c="3")]
    made += [world.make(made[1], d="4")]
    assert [world.snapshots.stat(each.id) for each in made] == made
    walked = list(world.snapshots.walk())
    assert sorted(each.id for each in walked) == sorted(each.id for each in made)
    seen = set()
    for each in walked:
        assert set(each.parents) <= seen
        seen.add(each.id)
    assert world.snapshots.stat("nothing") is None


def test_one_that_others_stand_on_is_not_removed(world):
    base = world.make(a="1")
    top = world.make(base, b="2")
    active = world.snapshots.prepare(top)
    for each in (base, top):
        with pytest.raises(Conflict, match="standing on it"):
            world.snapshots.remove(each)
    world.snapshots.discard(active)
    world.snapshots.remove(top)
    world.snapshots.remove(base)
    world.snapshots.remove(base)
    assert list(world.snapshots.walk()) == []
    with pytest.raises(NotFound, match="does not exist any more"):
        world.snapshots.prepare(base)


def test_what_was_used_since_is_recent_and_not_removed(world):
    base = world.make(a="1")
    time.sleep(0.01)
    since = time.time()
    assert list(world.snapshots.recent(since)) == []
    world.snapshots.touch(base)
    assert list(world.snapshots.recent(since)) == [base]
    with pytest.raises(Conflict, match="just been used"):
        world.snapshots.remove(base, unused_since=since)
    world.snapshots.remove(base, unused_since=time.time() + 1)
    assert world.snapshots.stat(base.id) is None


def test_a_replica_writes_beside_the_committed_tree(world, tmp_path):
    base = world.make(a="1")
    upper, work = tmp_path / "upper", tmp_path / "work"
    upper.mkdir()
    work.mkdir()
    mount = world.snapshots.writable(base, str(upper), str(work))
    with world.inside(replace(mount, access=FREE)) as tree:
        (tree / "b").write_text("2")
    assert (upper / "b").read_text() == "2"
    assert world.read(base) == {"a": "1"}


def test_sync_takes_nothing_away(world):
    base = world.make(a="1")
    world.snapshots.sync()
    world.snapshots.sync()
    assert world.snapshots.stat(base.id) == base
    assert world.read(base) == {"a": "1"}
