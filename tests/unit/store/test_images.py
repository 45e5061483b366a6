import pytest

from bennu.digest import digest_of
from bennu.errors import Conflict, Corrupt, Invalid, NotFound
from bennu.oci.image_config import ContainerConfig, History, empty_config
from bennu.oci.manifest import parse_manifest
from bennu.oci.platform import Platform
from bennu.oci.reference import parse_name
from bennu.store.blobs import MemoryBlobs
from bennu.store.database import Database
from bennu.store.images import Images
from tests.unit.store.fakes import MemoryLayers

CONFIG = empty_config(Platform("amd64", "linux"))


@pytest.fixture
def layers():
    return MemoryLayers()


@pytest.fixture
def images(tmp_path, layers):
    with Database(tmp_path / "bennu.db") as database:
        yield Images(database, MemoryBlobs(), layers, layers)


def config(**changes):
    import msgspec

    return msgspec.structs.replace(CONFIG, config=ContainerConfig(**changes))


def test_an_image_is_made_from_snapshots_and_found_again(images, layers):
    base = layers.make(b"base")
    image = images.create(config(cmd=("sh",)), layers.make(b"top", base), names=[parse_name("debian:bookworm")])
    assert [layer.diff_id for layer in image.layers] == [digest_of(b"base"), digest_of(b"top")]
    assert image.config.diff_ids == (digest_of(b"base"), digest_of(b"top"))
    assert image.size_bytes == 7
    assert image.names == ("docker.io/library/debian:bookworm",)
    manifest = parse_manifest(images.manifest_bytes(image), image.manifest)
    assert [layer.media_type for layer in manifest.layers] == ["application/vnd.oci.image.layer.v1.tar"] * 2
    assert [layer.digest for layer in manifest.layers] == list(image.config.diff_ids)
    for text in (
        "debian:bookworm", "docker.io/library/debian:bookworm", image.id, image.id[7:], image.id[7:15], image.manifest,
        f"debian@{image.manifest}", image.manifest[:20],
    ):  # fmt: skip
        assert images.resolve(text) == image
    assert images.walk() == [image]
    assert layers.syncs == 1
    assert images.snapshot(image).chain == ("s2", "s1")


def test_the_same_twice_is_one_image(images, layers):
    first = images.create(config(), layers.make(b"x"), names=[parse_name("one")])
    again = images.create(config(), layers.make(b"x"), names=[parse_name("two")], durable=False)
    assert again.manifest == first.manifest
    assert again.familiar_names == ("one:latest", "two:latest")
    assert len(images.walk()) == 1


def test_an_image_without_layers(images):
    image = images.create(config(user="1"), None)
    assert image.layers == ()
    assert images.snapshot(image) is None
    assert image.shown == image.id[7:19]


def test_history_and_layers_must_agree(images, layers):
    import msgspec

    odd = msgspec.structs.replace(CONFIG, history=(History(empty_layer=True),))
    with pytest.raises(Invalid, match="1 layers has a history of 0"):
        images.create(odd, layers.make(b"x"))


def test_names_move_and_go(images, layers):
    one, two = (images.create(config(user=user), layers.make(b"x")) for user in "12")
    name = parse_name("app")
    images.tag(one.manifest, name)
    images.tag(two.manifest, name)
    assert images.get(one.manifest).names == ()
    assert images.resolve("app").manifest == two.manifest
    with pytest.raises(Conflict, match="has a name"):
        images.forget(two.manifest)
    images.untag(name)
    images.forget(two.manifest)
    assert images.find("app") is None
    assert [image.manifest for image in images.walk()] == [one.manifest]
    with pytest.raises(NotFound, match="image 'app:latest'"):
        images.untag(name)
    with pytest.raises(NotFound):
        images.tag(two.manifest, name)


def test_looking_for_what_is_not_there(images, layers):
    assert images.find("debian") is None
    assert images.find("abc") is None
    with pytest.raises(NotFound, match="'debian:nope'") as raised:
        images.resolve("debian:nope")
    assert raised.value.hint == "`bennu image bootstrap debian:nope` makes it"
    with pytest.raises(Invalid):
        images.resolve("Not A Reference")
    with pytest.raises(NotFound):
        images.get(digest_of(b"no"))


def test_the_beginning_of_several_ids_is_a_conflict_and_of_one_id_with_two_manifests_is_not(images, layers):
    made = [images.create(config(user=str(number)), None) for number in range(20)]
    twice = next(one for one in made if sum(other.id[7] == one.id[7] for other in made) > 1)
    with pytest.raises(Conflict, match="several"):
        images.resolve(twice.id[7])
    again = images.create(config(user="0"), None, annotations={"k": "v"})
    assert again.id == made[0].id
    assert again.manifest != made[0].manifest
    assert images.resolve(again.id).manifest == again.manifest


def test_a_name_wins_over_the_beginning_of_an_id(images):
    one, two = (images.create(config(user=user), None) for user in "12")
    images.tag(two.manifest, parse_name(one.id[7:12]))
    assert images.resolve(one.id[7:12]) == images.get(two.manifest)


def test_lost_layers_are_told(images, layers):
    image = images.create(config(), layers.make(b"x"), names=[parse_name("app")])
    layers.chains.clear()
    with pytest.raises(Corrupt, match="app:latest has lost layers"):
        images.snapshot(image)


def test_a_layer_comes_from_its_snapshot(images, layers):
    image = images.create(config(), layers.make(b"x"))
    with images.open_layer(image.layers[0]) as stream:
        assert stream.read() == b"x"
    with images.open_diff(digest_of(b"x")) as stream:
        assert stream.read() == b"x"


def test_a_manifest_whose_layers_are_not_its_configurations_is_refused(images, layers):
    image = images.create(config(), layers.make(b"x"))
    with pytest.raises(Invalid, match="differ in their layers"):
        images.put(images.manifest_bytes(image), [])
