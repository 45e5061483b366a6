import subprocess
import sys
import time

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bennu.config import Settings
from bennu.digest import digest_of
from bennu.errors import Conflict, NotFound
from bennu.oci.image_config import ContainerConfig, empty_config
from bennu.oci.platform import Platform
from bennu.oci.reference import parse_name
from bennu.store.blobs import FileBlobs, MemoryBlobs
from bennu.store.database import Database
from bennu.store.gc import Garbage, Root
from bennu.store.images import Images
from bennu.store.operations import Operations
from tests.unit.store.fakes import MemoryLayers

CONFIG = empty_config(Platform("amd64", "linux"))


class World:
    def __init__(self, path, blobs=None):
        self.settings = Settings(root=path, run=path / "run")
        self.database = Database(self.settings.database)
        self.layers = MemoryLayers()
        self.images = Images(self.database, blobs or FileBlobs(self.settings), self.layers, self.layers)
        self.operations = Operations(self.database)
        self.roots = []
        self.garbage = Garbage(self.settings, self.images, self.operations, [lambda: self.roots])

    def make(self, *contents, names=(), **config):
        top = None
        for content in contents:
            top = self.layers.snapshot_of([digest_of(each) for each in contents[: contents.index(content) + 1]]) or (
                self.layers.make(content, top)
            )
        replaced = msgspec.structs.replace(CONFIG, config=ContainerConfig(**config))
        return self.images.create(replaced, top, names=[parse_name(name) for name in names])

    def age(self):
        """Nothing that is there counts as new any more."""
        time.sleep(0.12)


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    made.database.close()


def test_what_has_a_name_or_a_root_stays_and_the_rest_goes(world):
    named = world.make(b"base", b"named", names=["app"])
    rooted = world.make(b"base", b"rooted", user="1")
    loose = world.make(b"base", b"loose", user="2")
    lone = world.layers.make(b"lone")
    cached = world.layers.make(b"cached", lone)
    stray = world.images.blobs.write(b"stray").digest
    world.roots = [Root("container c", images=(rooted.manifest,)), Root("build cache", snapshots=(cached.id,))]
    world.age()
    planned = world.garbage.collect(dry_run=True)
    assert len(world.images.walk()) == 3
    swept = world.garbage.collect()
    assert msgspec.structs.replace(swept, leftovers=0) == planned
    assert swept.images == (loose.manifest,)
    assert set(swept.blobs) == {loose.manifest, loose.id, stray}
    assert [world.layers.info(each).diff_id for each in world.layers.walk()] == [
        digest_of(each) for each in (b"base", b"named", b"rooted", b"lone", b"cached")
    ]
    assert {image.manifest for image in world.images.walk()} == {named.manifest, rooted.manifest}
    assert world.garbage.collect().blobs == ()


def test_what_work_under_way_has_made_is_spared_until_it_is_over(world):
    with world.operations.under_way("build"):
        blob = world.images.blobs.write(b"half").digest
        snapshot = world.layers.make(b"half")
        world.age()
        swept = world.garbage.collect()
        assert (swept.blobs, swept.snapshots) == ((), ())
    world.age()
    swept = world.garbage.collect()
    assert (swept.blobs, swept.snapshots) == ((blob,), (snapshot.id,))


def test_work_of_a_dead_process_counts_for_nothing(world):
    program = (
        "import os, sys; from pathlib import Path\n"
        "from bennu.store.database import Database; from bennu.store.operations import Operations\n"
        "database = Database(Path(sys.argv[1]))\n"
        "with Operations(database).under_way('build'): os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", program, world.settings.database], check=False).returncode == -9
    assert world.database.one("SELECT count(*) FROM operations")[0] == 1
    assert world.operations.walk() == []
    assert world.database.one("SELECT count(*) FROM operations")[0] == 0


def test_temporary_files_of_the_dead_go_and_those_of_the_living_stay(world):
    dead = subprocess.Popen(["true"])
    dead.wait()
    living = world.settings.temporary / f"blob-{__import__('os').getpid()}-{'a' * 12}"
    gone = world.settings.temporary / f"build-{dead.pid}-{'a' * 12}"
    world.settings.temporary.mkdir(parents=True)
    living.touch()
    (gone / "deep").mkdir(parents=True)
    assert world.garbage.collect().leftovers == 1
    assert living.exists()
    assert not gone.exists()


def test_a_layers_bytes_stay_while_an_image_stands_on_it(world):
    base = world.make(b"foreign", names=["base"])
    world.images.blobs.write(b"foreign")
    world.images.put(
        world.images.manifest_bytes(base), [world.layers.info(world.layers.snapshot_of(base.config.diff_ids))]
    )
    derived = world.make(b"foreign", b"top", names=["app"])
    world.layers.foreign.add("s1")
    world.age()
    assert world.garbage.remove_image("base").deleted == base.id
    with world.images.open_layer(derived.layers[0]) as stream:
        assert stream.read() == b"foreign"
    world.age()
    world.garbage.remove_image("app")
    assert world.images.blobs.stat(digest_of(b"foreign")) is None
    assert list(world.images.blobs.walk()) == []


def test_removing_by_name_and_by_id(world):
    image = world.make(b"x", names=["one", "two"])
    with pytest.raises(Conflict, match="2 names: one:latest, two:latest"):
        world.garbage.remove_image(image.id[7:19])
    removed = world.garbage.remove_image("one")
    assert (removed.untagged, removed.deleted) == (("docker.io/library/one:latest",), None)
    world.age()
    assert world.garbage.remove_image(image.id[7:19]).deleted == image.id
    assert list(world.layers.walk()) == []
    with pytest.raises(NotFound):
        world.garbage.remove_image("two")
    both = world.make(b"x", names=["one", "two"])
    world.age()
    assert len(world.garbage.remove_image(both.id, force=True).untagged) == 2
    assert world.images.walk() == []


def test_an_image_in_use_is_kept(world):
    image = world.make(b"x", names=["app"])
    world.roots = [Root("container web", images=(image.manifest,))]
    with pytest.raises(Conflict, match="used by container web"):
        world.garbage.remove_image("app")
    assert world.images.resolve("app") == image
    assert world.garbage.remove_image("app", force=True).deleted is None
    assert world.images.get(image.manifest).names == ()
    world.images.tag(image.manifest, parse_name("a"))
    world.images.tag(image.manifest, parse_name("b"))
    assert world.garbage.remove_image("a").deleted is None


def test_removing_one_image_leaves_others_without_a_name(world):
    loose = world.make(b"loose", user="1")
    world.make(b"x", names=["app"])
    world.age()
    world.garbage.remove_image("app")
    assert [image.manifest for image in world.images.walk()] == [loose.manifest]
    assert world.images.snapshot(loose) is not None


_LAYERS = st.lists(st.sampled_from([b"a", b"b", b"c"]), min_size=1, max_size=3, unique=True)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(_LAYERS, st.booleans(), st.booleans()), max_size=6), st.booleans())
def test_nothing_reachable_is_ever_lost(tmp_path_factory, plan, untagged):
    world = World(tmp_path_factory.mktemp("gc"), MemoryBlobs())
    kept = []
    for number, (contents, is_named, is_rooted) in enumerate(plan):
        image = world.make(*contents, names=[f"n{number}"] if is_named else [], user=str(number))
        if is_rooted:
            world.roots.append(Root("r", images=(image.manifest,)))
        if is_named or is_rooted or not untagged:
            kept.append(image.manifest)
    world.age()
    world.garbage.collect(untagged=untagged)
    assert {image.manifest for image in world.images.walk()} == set(kept)
    for manifest in kept:
        image = world.images.get(manifest)
        assert world.images.manifest_bytes(image)
        assert world.images.snapshot(image) is not None
        for layer in image.layers:
            with world.images.open_layer(layer) as stream:
                assert digest_of(stream.read()) == layer.diff_id
    if not kept:
        assert list(world.images.blobs.walk()) == []
        assert list(world.layers.walk()) == []
    world.database.close()
