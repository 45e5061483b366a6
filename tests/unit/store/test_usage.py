import msgspec

from bennu.host.files import disk_usage
from bennu.store.gc import Root
from bennu.store.usage import cache_usage, directory_usage, image_usage
from tests.unit.store.test_gc import World


def test_layers_count_once_and_those_in_use_cannot_be_freed(tmp_path):
    world = World(tmp_path)
    used = world.make(b"base" * 10, b"used", names=["one"])
    world.make(b"base" * 10, b"other", names=["two"], user="1")
    world.layers.make(b"loose")
    world.roots = [Root("container web", images=(used.manifest,))]
    images = image_usage(world.images, world.garbage)
    assert msgspec.structs.astuple(images) == ("Images", 2, 1, 40 + 4 + 5, 5)
    cache = cache_usage(world.images)
    assert (cache.what, cache.count, cache.active) == ("Build Cache", 1, 0)
    world.database.close()


def test_directories_are_measured_on_the_disk_and_hard_links_once(tmp_path):
    for name in ("busy", "idle"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep" / "file").write_bytes(b"x" * 100_000)
    (tmp_path / "busy" / "link").hardlink_to(tmp_path / "busy" / "deep" / "file")
    usage = directory_usage("Things", {tmp_path / "busy": True, tmp_path / "idle": False, tmp_path / "absent": False})
    assert (usage.count, usage.active) == (3, 1)
    assert usage.reclaimable_bytes == disk_usage(tmp_path / "idle") >= 100_000
    assert usage.size_bytes == 2 * usage.reclaimable_bytes
