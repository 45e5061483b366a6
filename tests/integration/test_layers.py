"""Layers: found again by their digests, unpacked once, made again as streams that vouch for themselves."""

import io
import os
import tarfile
import threading
import time
from contextlib import contextmanager

import pytest

from bennu.config import Settings
from bennu.digest import Digest, digest_of
from bennu.errors import Corrupt, NotFound
from bennu.host.mounts import attached
from bennu.store.base import CommittedSnapshot
from bennu.store.database import Database
from bennu.store.layers import Layers
from bennu.store.snapshots import Snapshots

pytestmark = pytest.mark.root


class World:
    def __init__(self, base):
        self.settings = Settings(base / "root", base / "run")
        self.database = Database(self.settings.database)
        self.snapshots = Snapshots(self.settings, self.database)
        self.layers = Layers(self.settings, self.database, self.snapshots)
        self.place = base / "mnt"
        self.place.mkdir(parents=True)

    def make(self, parent=None, **files):
        active = self.snapshots.prepare(parent)
        for name, content in files.items():
            (self.snapshots.directory(active) / name).write_bytes(content)
        return self.snapshots.commit(active)

    def see(self, snapshot):
        with attached(self.snapshots.mounts(snapshot), self.place):
            return {path.name: path.read_bytes() for path in self.place.iterdir()}

    def ids(self, snapshot):
        chain = snapshot.chain
        snapshots = [CommittedSnapshot(chain[at], chain[at + 1 :]) for at in reversed(range(len(chain)))]
        return [self.layers.info(each).diff_id for each in snapshots]


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path / "here")
    yield world
    world.database.close()


@pytest.fixture
def other(tmp_path):
    world = World(tmp_path / "there")
    yield world
    world.database.close()


def foreign(**files):
    """A layer as somebody else writes it: the same content, other bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo("./" + name)
            info.size, info.uname = len(content), "root"
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def test_a_layer_is_found_once_and_remembered(world, monkeypatch):
    top = world.make(world.make(a=b"1"), b=b"2")
    info = world.layers.info(top)
    monkeypatch.setattr(world.layers._differ, "diff", None)
    assert world.layers.info(top) == info
    assert Layers(world.settings, world.database, world.snapshots).info(top) == info
    assert world.layers.snapshot_of(world.ids(top)) == top
    assert world.layers.snapshot_of(world.ids(top)[:1]).chain == top.parents
    assert world.layers.snapshot_of(list(reversed(world.ids(top)))) is None
    assert world.layers.snapshot_of([]) is None


def test_a_stream_is_the_layer(world):
    top = world.make(world.make(a=b"1"), b=os.urandom(5 << 20))
    info = world.layers.info(top)
    with world.layers.open(info.diff_id) as stream:
        data = stream.read()
    assert (digest_of(data), len(data)) == (info.diff_id, info.size_bytes)


def test_a_stream_that_is_left_early_leaves_no_thread(world):
    info = world.layers.info(world.make(a=os.urandom(20 << 20)))
    with world.layers.open(info.diff_id) as stream:
        assert len(stream.read(1000)) == 1000
    assert [each.name for each in threading.enumerate() if each.name.startswith("bennu")] == []


def test_a_damaged_snapshot_is_found_at_the_end_of_its_stream(world):
    top = world.make(a=b"1" * 100)
    info = world.layers.info(top)
    (world.snapshots.directory(top) / "a").write_bytes(b"2" * 100)
    with (
        world.layers.open(info.diff_id) as stream,
        pytest.raises(Corrupt, match=f"layer {info.diff_id} is damaged in the store"),
    ):
        while stream.read(64 << 10):
            pass
    (world.snapshots.directory(top) / ".wh.x").touch()
    with world.layers.open(info.diff_id) as stream, pytest.raises(Exception, match=r"'\.wh\.x' cannot be in a layer"):
        stream.read()


def test_what_is_not_there_is_not_found(world):
    missing = Digest("sha256:" + "0" * 64)
    with pytest.raises(NotFound, match=missing), world.layers.open(missing):
        pass


def test_layers_move_between_stores(world, other):
    top = world.make(world.make(world.make(a=b"1"), b=b"2"), a=b"3")
    ids = world.ids(top)
    copy = other.layers.ensure(ids, world.layers.open)
    assert other.see(copy) == {"a": b"3", "b": b"2"}
    assert other.ids(copy) == ids
    assert all(other.layers.is_canonical(each) for each in other.snapshots.walk())
    with other.layers.open(ids[-1]) as stream:
        assert digest_of(stream.read()) == ids[-1]
    assert other.layers.ensure(ids, None) == copy  # nothing is missing, so nothing is opened
    assert other.layers.ensure([], None) is None


def test_a_foreign_layer_keeps_its_diff_id_but_is_not_made_again(world):
    data = foreign(a=b"1")
    snapshot = world.layers.unpack(io.BytesIO(data), None, digest_of(data))
    assert world.see(snapshot) == {"a": b"1"}
    assert world.layers.info(snapshot).diff_id == digest_of(data)
    assert world.layers.snapshot_of([digest_of(data)]) == snapshot
    assert not world.layers.is_canonical(snapshot)
    with pytest.raises(NotFound), world.layers.open(digest_of(data)):
        pass


@pytest.mark.parametrize(
    "data", [foreign(a=b"2"), b"no tar at all" * 100, foreign(a=b"1" * 3000)[:2000], foreign(**{"../a": b"1"})]
)
def test_nothing_is_left_of_a_layer_that_is_wrong(world, data):
    with pytest.raises(Corrupt):
        world.layers.unpack(io.BytesIO(data), None, digest_of(foreign(a=b"1")))
    assert list(world.snapshots.walk()) == []
    assert os.listdir(world.settings.snapshots) == []
    assert world.snapshots.sweep() == 0


def test_a_sha512_layer_is_checked_as_one(world):
    import hashlib

    data = foreign(a=b"1")
    expected = Digest("sha512:" + hashlib.sha512(data).hexdigest())
    assert world.layers.info(world.layers.unpack(io.BytesIO(data), None, expected)).diff_id == expected


def test_two_who_want_the_same_layer_unpack_it_once(world):
    """Two threads with databases of their own stand for two processes."""
    data = foreign(a=b"1")

    class Slow(io.BytesIO):
        def read(self, size=-1):
            time.sleep(0.05)
            return super().read(size)

    found = []

    def unpack():
        with Database(world.settings.database) as database:
            snapshots = Snapshots(world.settings, database)
            layers = Layers(world.settings, database, snapshots)
            found.append(layers.unpack(Slow(data), None, digest_of(data)))

    threads = [threading.Thread(target=unpack) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    assert len(set(found)) == 1
    assert len(list(world.snapshots.walk())) == 1


def test_a_layer_whose_snapshot_went_is_unpacked_again(world):
    data = foreign(a=b"1")
    first = world.layers.unpack(io.BytesIO(data), None, digest_of(data))
    world.snapshots.remove(first)
    assert world.layers.snapshot_of([digest_of(data)]) is None
    second = world.layers.unpack(io.BytesIO(data), None, digest_of(data))
    assert second.id != first.id
    assert world.see(second) == {"a": b"1"}


def test_ensure_unpacks_only_what_is_missing(world, other):
    ids = world.ids(world.make(world.make(world.make(a=b"1"), b=b"2"), c=b"3"))
    other.layers.ensure(ids[:2], world.layers.open)
    opened = []

    @contextmanager
    def opening(diff_id):
        opened.append(diff_id)
        with world.layers.open(diff_id) as stream:
            yield stream

    other.layers.ensure(ids, opening)
    assert opened == ids[2:]


def test_asking_for_a_layer_counts_as_using_it(world):
    snapshot = world.make(a=b"1")
    world.layers.info(snapshot)
    time.sleep(0.01)
    since = time.time()
    assert list(world.snapshots.recent(since)) == []
    world.layers.info(snapshot)
    assert list(world.snapshots.recent(since)) == [snapshot]
