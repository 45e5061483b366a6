import bz2
import gzip
import io
import json
import lzma
import os
import tarfile
from pathlib import Path

import msgspec
import pytest
from backports import zstd

from bennu.config import Settings
from bennu.digest import digest_of
from bennu.errors import BennuError, Corrupt, Invalid, NotFound, Unsupported
from bennu.oci import media
from bennu.oci.descriptor import IMAGE_NAME, REF_NAME
from bennu.oci.image_config import ContainerConfig, empty_config, encode_config
from bennu.oci.platform import Platform
from bennu.oci.reference import parse_name
from bennu.store import archive_tar
from bennu.store.archive_loader import Loader
from bennu.store.archive_writer import Selection, write_archive
from bennu.store.blobs import FileBlobs
from bennu.store.database import Database
from bennu.store.images import Images
from bennu.store.operations import Operations
from tests.unit.store.fakes import MemoryLayers

AMD64 = Platform("amd64", "linux")
CONFIG = empty_config(AMD64)


class World:
    """A store whose layers are in memory."""

    def __init__(self, path):
        self.settings = Settings(root=path, run=path / "run")
        self.database = Database(self.settings.database)
        self.layers = MemoryLayers()
        self.images = Images(self.database, FileBlobs(self.settings), self.layers, self.layers)
        self.loader = Loader(self.images, Operations(self.database), self.settings.temporary)

    def load(self, source):
        return [image for image, _ in self.loader.load(source, AMD64)]

    def state(self):
        files = sorted(path for path in self.settings.root.rglob("*") if path.is_file() and "bennu.db" not in path.name)
        return [image.manifest for image in self.images.walk()], [path for path in files if path.parent.name != "locks"]


@pytest.fixture
def here(tmp_path):
    world = World(tmp_path / "here")
    yield world
    world.database.close()


@pytest.fixture
def there(tmp_path):
    world = World(tmp_path / "there")
    yield world
    world.database.close()


def an_image(world, *names, layers=(b"base", b"top"), **config):
    top = None
    for content in layers:
        top = world.layers.make(content, top)
    replaced = msgspec.structs.replace(CONFIG, config=ContainerConfig(**config))
    return world.images.create(replaced, top, names=[parse_name(name) for name in names])


def saved(world, *texts):
    sink = io.BytesIO()
    selections = []
    for text in texts:
        image = world.images.resolve(text)
        named = image.id.startswith(f"sha256:{text}")
        selections.append(Selection(image, () if named else (parse_name(text),)))
    write_archive(world.images, selections, sink)
    return sink.getvalue()


def tar_of(files, links=()):
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for name, kind, target in links:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            tar.addfile(info)
    return sink.getvalue()


def contents(data):
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {one.name: tar.extractfile(one).read() for one in tar if one.isfile()}


def docker_archive(layers=(b"base", b"top"), tags=("app:1",), diff_ids=None, **more):
    ids = diff_ids or tuple(digest_of(layer) for layer in layers)
    config = encode_config(msgspec.structs.replace(CONFIG, rootfs=msgspec.structs.replace(CONFIG.rootfs, diff_ids=ids)))
    name = digest_of(config)[7:] + ".json"
    files = {f"l{number}/layer.tar": layer for number, layer in enumerate(layers)}
    entry = {"Config": name, "RepoTags": list(tags) if tags is not None else None, "Layers": list(files)}
    return files | {name: config, "manifest.json": json.dumps([entry]).encode()} | more


def oci_layout(layers, compress=lambda data: data, suffix="", annotations=None, platforms=(AMD64,)):
    files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}

    def put(data, media_type, **more):
        files[f"blobs/sha256/{digest_of(data)[7:]}"] = data
        return {"mediaType": media_type, "digest": digest_of(data), "size": len(data), **more}

    manifests = []
    for platform in platforms:
        ids = tuple(digest_of(layer) for layer in layers)
        config = msgspec.structs.replace(
            empty_config(platform), rootfs=msgspec.structs.replace(CONFIG.rootfs, diff_ids=ids)
        )
        manifest = {
            "schemaVersion": 2,
            "config": put(encode_config(config), media.OCI_CONFIG),
            "layers": [put(compress(layer), media.OCI_LAYER + suffix) for layer in layers],
        }
        shown = {"os": platform.os, "architecture": platform.architecture}
        manifests.append(
            put(json.dumps(manifest).encode(), media.OCI_MANIFEST, platform=shown, annotations=annotations)
        )
    files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": manifests}).encode()
    return files


def test_what_was_saved_is_loaded_as_the_same_image(here, there):
    image = an_image(here, "debian:bookworm", cmd=("sh",), labels={"k": "<v>"})
    data = saved(here, "debian:bookworm")
    (loaded,) = there.load(io.BytesIO(data))
    assert (loaded.manifest, loaded.id, loaded.names) == (image.manifest, image.id, image.names)
    assert saved(there, "debian:bookworm") == data
    assert there.images.blobs.stat(image.layers[0].diff_id) is None, (
        "a layer that its snapshot gives is not stored twice"
    )
    assert os.listdir(there.settings.temporary) == []


def test_the_archive_is_an_oci_layout_and_a_docker_archive(here):
    image = an_image(here, "debian:bookworm", "h.example:5000/app:1")
    files = contents(saved(here, "debian:bookworm", "h.example:5000/app:1"))
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads(files["index.json"])
    assert [each["annotations"] for each in index["manifests"]] == [
        {IMAGE_NAME: "docker.io/library/debian:bookworm", REF_NAME: "bookworm"},
        {IMAGE_NAME: "h.example:5000/app:1", REF_NAME: "1"},
    ]
    entries = json.loads(files["manifest.json"])
    assert [entry["RepoTags"] for entry in entries] == [["debian:bookworm"], ["h.example:5000/app:1"]]
    for name, data in files.items():
        assert not name.startswith("blobs/") or digest_of(data) == "sha256:" + name.rpartition("/")[2]
    assert [files[name] for name in entries[0]["Layers"]] == [b"base", b"top"]
    assert digest_of(files[entries[0]["Config"]]) == image.id


def test_an_image_saved_by_its_id_has_no_name(here, there):
    image = an_image(here, "app")
    data = saved(here, image.id[7:])
    assert json.loads(contents(data)["manifest.json"])[0]["RepoTags"] == []
    (loaded,) = there.load(io.BytesIO(data))
    assert (loaded.id, loaded.names) == (image.id, ())


def test_several_images_share_their_layers_in_the_archive(here, there):
    an_image(here, "one:1", user="1")
    an_image(here, "two:2", user="2")
    data = saved(here, "one:1", "two:2")
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        names = tar.getnames()
    assert len(names) == len(set(names))
    assert sorted(image.familiar_names for image in there.load(io.BytesIO(data))) == [("one:1",), ("two:2",)]


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress, zstd.compress, lambda data: data])
@pytest.mark.parametrize("as_file", [True, False])
def test_compressed_archives_from_a_file_and_a_pipe(here, there, tmp_path, compress, as_file):
    image = an_image(here, "app:1")
    data = compress(saved(here, "app:1"))
    path = tmp_path / "archive"
    path.write_bytes(data)
    (loaded,) = there.load(path if as_file else io.BytesIO(data))
    assert loaded.manifest == image.manifest
    assert os.listdir(there.settings.temporary) == []


def test_a_docker_archive_as_docker_before_25_and_podman_write_it(there):
    files = docker_archive()
    data = tar_of(
        {name: data for name, data in files.items() if name != "l1/layer.tar"} | {"deep/top.tar": b"top"},
        [("l1/layer.tar", tarfile.SYMTYPE, "../deep/top.tar")],
    )
    (image,) = there.load(io.BytesIO(data))
    assert image.familiar_names == ("app:1",)
    assert image.config.diff_ids == (digest_of(b"base"), digest_of(b"top"))
    assert image.size_bytes == 7
    assert [layer.blob for layer in image.layers] == list(image.config.diff_ids)
    assert there.images.blobs.stat(digest_of(b"base")) is None


def test_a_layer_that_is_not_canonical_leaves_as_it_came(there):
    files = docker_archive(layers=(b"foreign bytes",), tags=None)
    (image,) = there.load(io.BytesIO(tar_of(files)))
    assert there.images.blobs.read(digest_of(b"foreign bytes")) == b"foreign bytes"
    assert contents(saved(there, image.id[7:]))[f"blobs/sha256/{digest_of(b'foreign bytes')[7:]}"] == b"foreign bytes"


def test_compressed_layers_of_a_docker_archive_are_found_out_by_their_content(there):
    files = docker_archive(layers=(b"base",)) | {"l0/layer.tar": gzip.compress(b"base")}
    (image,) = there.load(io.BytesIO(tar_of(files)))
    assert image.layers[0].blob == digest_of(b"base")


@pytest.mark.parametrize(
    ("compress", "suffix"), [(gzip.compress, "+gzip"), (zstd.compress, "+zstd"), (lambda data: data, "")]
)
def test_an_oci_layout_keeps_its_manifest_and_compressed_layers_byte_for_byte(there, compress, suffix):
    files = oci_layout((b"base", b"foreign"), compress, suffix, {IMAGE_NAME: "docker.io/library/app:2", REF_NAME: "2"})
    (image,) = there.load(io.BytesIO(tar_of(files)))
    assert image.familiar_names == ("app:2",)
    manifest = json.loads(files["index.json"])["manifests"][0]["digest"]
    assert image.manifest == manifest
    again = contents(saved(there, "app:2"))
    assert {name: again[name] for name in files if name.startswith("blobs")} == {
        name: data for name, data in files.items() if name.startswith("blobs")
    }
    with there.images.open_diff(digest_of(b"foreign")) as stream:
        assert stream.read() == b"foreign"


@pytest.mark.parametrize(
    ("annotations", "names"),
    [
        ({REF_NAME: "latest"}, ()),
        ({REF_NAME: "localhost/app:3"}, ("localhost/app:3",)),
        ({REF_NAME: "app:3"}, ("app:3",)),
        (None, ()),
    ],
)
def test_names_in_an_oci_layout(there, annotations, names):
    (image,) = there.load(io.BytesIO(tar_of(oci_layout((b"x",), annotations=annotations))))
    assert image.familiar_names == names


def test_of_several_platforms_the_right_one_is_taken(there):
    platforms = (Platform("arm64", "linux"), AMD64, Platform("unknown", "unknown"))
    files = oci_layout((b"x",), platforms=platforms, annotations={REF_NAME: "app:1"})
    (image,) = there.load(io.BytesIO(tar_of(files)))
    assert image.config.architecture == "amd64"
    nested = files.pop("index.json")
    files[f"blobs/sha256/{digest_of(nested)[7:]}"] = nested
    entry = {"mediaType": media.OCI_INDEX, "digest": digest_of(nested), "size": len(nested)}
    files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    assert [one.manifest for one in there.load(io.BytesIO(tar_of(files)))] == [image.manifest]
    foreign = oci_layout((b"x",), platforms=platforms[:1] * 2, annotations={REF_NAME: "app:1"})
    with pytest.raises(NotFound, match="linux/amd64"):
        there.load(io.BytesIO(tar_of(foreign)))


def _changed(files, name, data):
    return tar_of({key: (data if key == name else value) for key, value in files.items() if data or key != name})


def _hostile():
    docker, layout = docker_archive(), oci_layout((b"base",))
    entry = json.loads(docker["manifest.json"])[0]
    config_name = entry["Config"]
    layer = f"blobs/sha256/{digest_of(b'base')[7:]}"
    manifest = f"blobs/{json.loads(layout['index.json'])['manifests'][0]['digest'].replace(':', '/')}"
    whole = tar_of(docker)

    def with_entry(**changes):
        return _changed(docker, "manifest.json", json.dumps([entry | changes]).encode())

    return {
        "empty": b"",
        "no tar": b"some text that is no archive" * 100,
        "short": b"x" * 100,
        "empty tar": tar_of({}),
        "a tar of something else": tar_of({"hello": b"world"}),
        "cut in a file": whole[:700],
        "cut in a header": whole[:1500],
        "damaged header": b"\xff" + whole[1:],
        "compressed, cut": gzip.compress(whole)[:-20],
        "compressed, damaged": gzip.compress(whole)[:50] + b"\0" * 50,
        "zstd, cut": zstd.compress(whole)[:-10],
        "xz, cut": lzma.compress(whole)[:-10],
        "path out of it": tar_of(docker | {"../../etc/passwd": b"x"}),
        "layer path out of it": with_entry(Layers=["../../../etc/passwd", "/etc/passwd"]),
        "link out of it": tar_of(docker, [("x", tarfile.SYMTYPE, "../../etc/passwd")]),
        "link to itself": tar_of(
            {name: data for name, data in docker.items() if name != "l1/layer.tar"},
            [("l1/layer.tar", tarfile.LNKTYPE, "l1/layer.tar")],
        ),
        "name that is no name": with_entry(RepoTags=["../../x"]),
        "missing layer": with_entry(Layers=["nope/layer.tar", "l1/layer.tar"]),
        "fewer layers": with_entry(Layers=["l0/layer.tar"]),
        "missing config": with_entry(Config="nope.json"),
        "config that is no JSON": _changed(docker, config_name, b"{"),
        "config of another digest": _changed(docker, config_name, docker[config_name] + b" "),
        "layer of another digest": _changed(docker, "l1/layer.tar", b"other"),
        "manifest.json of another shape": _changed(docker, "manifest.json", b'{"a":1}'),
        "manifest.json without images": _changed(docker, "manifest.json", b"[]"),
        "manifest.json that is deep": _changed(docker, "manifest.json", b"[" * 50_000),
        "before 1.10": tar_of({"repositories": b"{}"}),
        "oci: layer of another digest": _changed(layout, layer, b"BASE"),
        "oci: layer of another size": _changed(layout, layer, b"base and more"),
        "oci: missing layer": _changed(layout, layer, b""),
        "oci: manifest of another digest": _changed(layout, manifest, layout[manifest] + b" "),
        "oci: no manifests": _changed(layout, "index.json", b'{"schemaVersion":2,"manifests":[]}'),
        "oci: digest that is a path": _changed(
            layout, "index.json", layout["index.json"].replace(b'"sha256:', b'"sha256:../../')
        ),
        "oci: huge document": _changed(layout, "index.json", b" " * (5 << 20)),
        "long extension": _long_extension(),
    }


def _long_extension():
    info = tarfile.TarInfo("x")
    info.type, info.size = b"x", 3 << 20
    return info.tobuf() + b"0" * (3 << 20) + tar_of({"a": b""})


HOSTILE = _hostile()


@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.parametrize("as_file", [True, False])
def test_a_hostile_archive_is_one_clear_error_and_the_store_is_intact(there, tmp_path, case, as_file):
    an_image(there, "app:1", layers=(b"before",))
    before = there.state()
    path = tmp_path / "archive.tar"
    path.write_bytes(HOSTILE[case])
    with pytest.raises((Invalid, Corrupt, NotFound)) as raised:
        there.load(path if as_file else io.BytesIO(HOSTILE[case]))
    assert isinstance(raised.value, BennuError)
    assert "\n" not in raised.value.message
    assert len(raised.value.message) < 500
    assert there.state() == before
    assert there.images.resolve("app:1").manifest == before[0][0]


def test_a_bomb_of_members_is_refused(there, monkeypatch):
    monkeypatch.setattr(archive_tar, "MAX_MEMBERS", 50)
    with pytest.raises(Invalid, match="more than 50 members"):
        there.load(io.BytesIO(tar_of({f"f{number}": b"" for number in range(51)})))


def test_something_that_is_no_image_is_refused_by_name(there):
    files = oci_layout((b"x",))
    index = json.loads(files["index.json"])
    manifest_name = "blobs/" + index["manifests"][0]["digest"].replace(":", "/")
    manifest = json.loads(files.pop(manifest_name))
    manifest["config"]["mediaType"] = "application/vnd.cyclonedx+json"
    data = json.dumps(manifest).encode()
    files["blobs/" + digest_of(data).replace(":", "/")] = data
    index["manifests"][0] |= {"digest": digest_of(data), "size": len(data)}
    files["index.json"] = json.dumps(index).encode()
    with pytest.raises(Unsupported, match="cyclonedx"):
        there.load(io.BytesIO(tar_of(files)))


def test_a_layer_that_is_damaged_in_the_store_is_never_sent_off(here):
    an_image(here, "app:1", layers=(b"good",))
    here.layers.contents = dict.fromkeys(here.layers.contents, b"evil")
    here.layers.open = lambda diff_id: io.BytesIO(b"")
    with pytest.raises(Corrupt, match="damaged in the store"):
        saved(here, "app:1")


def test_long_names_of_gnu_and_pax(tmp_path):
    name = "d" * 120 + "/" + "f" * 150
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        path = tmp_path / str(form)
        with tarfile.open(path, "w", format=form) as tar:
            info = tarfile.TarInfo("./" + name)
            info.size = 3
            tar.addfile(info, io.BytesIO(b"abc"))
        with archive_tar.opened(Path(path), tmp_path) as archive:
            assert archive.read(name, 10) == b"abc"
            assert archive.find("nope") is None
