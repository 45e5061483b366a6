"""Images for several platforms under one name: found, kept, removed, written and read again."""

from __future__ import annotations

import io
import json
import tarfile
import time

import msgspec
import pytest

from bennu.config import Settings
from bennu.errors import Conflict, NotFound
from bennu.oci.image_config import empty_config
from bennu.oci.platform import Platform
from bennu.oci.reference import parse_name
from bennu.store.archive_loader import Loader
from bennu.store.archive_writer import Selection, write_archive
from bennu.store.blobs import FileBlobs
from bennu.store.database import Database
from bennu.store.gc import Garbage, Root
from bennu.store.images import Images
from bennu.store.operations import Operations
from tests.unit.store.fakes import MemoryLayers

AMD64 = Platform("amd64", "linux")
ARM64 = Platform("arm64", "linux")
RISCV = Platform("riscv64", "linux")


class World:
    def __init__(self, path):
        self.settings = Settings(root=path, run=path / "run")
        self.database = Database(self.settings.database)
        self.layers = MemoryLayers()
        self.images = Images(self.database, FileBlobs(self.settings), self.layers, self.layers)
        operations = Operations(self.database)
        self.roots = []
        self.garbage = Garbage(self.settings, self.images, operations, [lambda: self.roots])
        self.loader = Loader(self.images, operations, self.settings.temporary)

    def image(self, platform, *contents, names=()):
        top = None
        for content in contents:
            top = self.layers.make(content, top)
        return self.images.create(empty_config(platform), top, names=[parse_name(name) for name in names])

    def index(self, *platforms, names=()):
        images = [self.image(each, str(each).encode()) for each in platforms]
        descriptors = [self.images.indexes.describe(image) for image in images]
        return self.images.indexes.create(descriptors, AMD64, names=[parse_name(name) for name in names])

    def archive(self, text, **options):
        image = self.images.resolve(text)
        index = self.images.find_index(text)
        group = None if index is None else self.images.indexes.group(index)
        selection = Selection(image, (parse_name(text),), group)
        sink = io.BytesIO()
        write_archive(self.images, [selection], sink, **options)
        return sink.getvalue()


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path / "here")
    yield made
    made.database.close()


@pytest.fixture
def other(tmp_path):
    made = World(tmp_path / "there")
    yield made
    made.database.close()


def test_a_name_means_the_image_that_the_host_runs_or_the_one_asked_for(world):
    index = world.index(ARM64, AMD64, names=["app"])
    images = world.images
    assert images.find("app").config.platform == AMD64
    assert images.find("app", ARM64).config.platform == ARM64
    assert images.find_index("app") == images.find_index(str(index.digest)) == index.digest
    assert images.find(f"app@{index.digest}", ARM64).config.platform == ARM64
    assert images.find(index.digest[7:19]).config.platform == AMD64
    with pytest.raises(NotFound, match=r"no image for linux/riscv64; it has linux/amd64, linux/arm64"):
        images.find("app", RISCV)
    assert images.find("app").indexed == {"docker.io/library/app:latest": index.digest}


def test_without_an_image_for_the_host_the_first_one_stands_for_the_index(world):
    world.index(RISCV, ARM64, names=["app"])
    assert world.images.find("app").config.platform == RISCV


def test_a_name_that_moves_to_an_image_leaves_the_index(world):
    index = world.index(ARM64, AMD64, names=["app"])
    image = world.image(AMD64, b"new", names=["app"])
    assert world.images.find("app").manifest == image.manifest
    assert world.images.find_index("app") is None
    assert world.images.indexes.get(index.digest).names == ()


def test_its_images_are_hidden_behind_the_one_that_runs(world):
    named = world.index(ARM64, AMD64, names=["app"])
    loose = world.index(RISCV, ARM64)
    hidden = world.images.indexes.hidden()
    assert set(named.images) <= hidden | {named.preferred}
    assert loose.preferred not in hidden
    assert {each.platform.architecture for each in map(config_of(world), hidden)} >= {"arm64"}


def config_of(world):
    return lambda manifest: world.images.get(manifest).config


def test_images_of_an_index_stay_as_long_as_it_does(world):
    index = world.index(ARM64, AMD64, names=["app"])
    time.sleep(0.12)
    world.garbage.collect()
    assert {image.manifest for image in world.images.walk()} == set(index.images)
    with pytest.raises(Conflict, match="is part of an index"):
        world.images.forget(index.images[0])
    world.images.untag(parse_name("app"))
    planned = world.garbage.collect(dry_run=True)
    assert set(planned.images) == set(index.images)
    assert len(world.images.walk()) == 2
    world.garbage.collect()
    assert world.images.walk() == []
    assert world.images.indexes.walk() == []


def test_what_is_used_of_it_keeps_all_of_it(world):
    index = world.index(ARM64, AMD64)
    world.roots = [Root("container c", images=(index.preferred,))]
    time.sleep(0.12)
    world.garbage.collect()
    assert len(world.images.walk()) == 2


def test_removing_its_last_name_removes_its_images(world):
    index = world.index(ARM64, AMD64, names=["app", "app:2"])
    assert world.garbage.remove_image("app").deleted is None
    assert world.images.find("app:2", ARM64) is not None
    time.sleep(0.12)
    removed = world.garbage.remove_image("app:2")
    assert removed.untagged == ("docker.io/library/app:2",)
    assert removed.deleted is not None
    assert world.images.walk() == []
    assert world.images.blobs.stat(index.digest) is None


def test_an_image_with_a_name_of_its_own_survives_the_index(world):
    index = world.index(ARM64, AMD64, names=["app"])
    arm = world.images.find("app", ARM64)
    world.images.tag(arm.manifest, parse_name("arm"))
    world.garbage.remove_image("app")
    assert [image.manifest for image in world.images.walk()] == [arm.manifest]
    assert index.digest not in {each.digest for each in world.images.indexes.walk()}


@pytest.mark.parametrize("docker", [True, False])
def test_an_archive_has_the_whole_of_it_and_gives_it_again(world, other, docker):
    index = world.index(ARM64, AMD64, names=["app:1"])
    data = world.archive("app:1", docker=docker)
    assert data == world.archive("app:1", docker=docker)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert ("manifest.json" in tar.getnames()) == docker
        (listed,) = json.load(tar.extractfile("index.json"))["manifests"]
        assert listed["digest"] == index.digest
        assert listed["mediaType"] == "application/vnd.oci.image.index.v1+json"
    ((image, found),) = other.loader.load(io.BytesIO(data), AMD64)
    assert image.config.platform == AMD64
    assert [name.familiar for name in found.names] == ["app:1"]
    assert other.images.find_index("app:1") == index.digest
    assert other.images.find("app:1", ARM64).config.platform == ARM64


def test_one_of_several_can_be_taken_out_of_an_archive(world, other):
    world.index(ARM64, AMD64, names=["app"])
    ((image, _),) = other.loader.load(io.BytesIO(world.archive("app")), AMD64, only=ARM64)
    assert image.config.platform == ARM64
    assert other.images.find_index("app") is None
    assert other.images.find("app").manifest == image.manifest


def test_an_index_with_one_image_that_is_there_is_that_image(world, other):
    index = world.index(ARM64, AMD64, names=["app"])
    missing = world.images.find("app", ARM64)
    with tarfile.open(fileobj=io.BytesIO(world.archive("app"))) as tar:
        sink = io.BytesIO()
        with tarfile.open(fileobj=sink, mode="w") as smaller:
            for member in tar:
                if missing.manifest[7:] not in member.name:
                    smaller.addfile(member, tar.extractfile(member) if member.isfile() else None)
    ((image, _),) = other.loader.load(io.BytesIO(sink.getvalue()), AMD64)
    assert image.manifest == index.preferred
    assert other.images.indexes.walk() == []


def test_a_directory_that_is_a_layout_gives_an_image_by_tag_or_digest(world, other, tmp_path):
    index = world.index(ARM64, AMD64, names=["app:1"])
    layout = tmp_path / "layout"
    with tarfile.open(fileobj=io.BytesIO(world.archive("app:1"))) as tar:
        tar.extractall(layout)
    load = other.loader.load_layout
    assert load(layout, "1", ARM64).config.platform == ARM64
    assert load(layout, index.digest, AMD64, by_digest=True).config.platform == AMD64
    assert load(layout, index.images[0], AMD64, by_digest=True).config.platform == ARM64
    with pytest.raises(NotFound, match=r"has no image '2'; it has 1"):
        load(layout, "2", AMD64)
    with pytest.raises(NotFound, match="is not a directory"):
        load(tmp_path / "nowhere", "1", AMD64)
    assert all(msgspec.json.decode(each.read_bytes()) for each in layout.glob("*.json"))
