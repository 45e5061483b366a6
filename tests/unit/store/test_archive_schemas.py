"""What is written keeps to the specification's schemas, and the schemas refuse what does not."""

import io
import json
import tarfile

import msgspec
import pytest
from jsonschema import Draft202012Validator as Validator
from jsonschema import ValidationError

from bennu.oci.image_config import NOTHING, ContainerConfig, Healthcheck, History, empty_config
from bennu.oci.platform import Platform
from bennu.oci.reference import parse_name
from bennu.store.archive_writer import Selection, write_archive
from bennu.store.blobs import MemoryBlobs
from bennu.store.database import Database
from bennu.store.images import Images
from tests.unit.oci import schemas
from tests.unit.store.fakes import MemoryLayers

MINIMAL = {"architecture": "a", "os": "l", "rootfs": {"type": "layers", "diff_ids": []}}
FULL = msgspec.structs.replace(
    empty_config(Platform("arm", "linux", variant="v7")),
    created="2024-01-02T03:04:05.5Z",
    author="somebody",
    config=ContainerConfig(
        user="1:2",
        exposed_ports={"80/tcp": NOTHING, "53/udp": NOTHING},
        env=("PATH=/bin", "EMPTY="),
        entrypoint=("/x",),
        cmd=("a", "b"),
        volumes={"/data": NOTHING},
        working_dir="/w",
        labels={"a": "<b>"},
        stop_signal="SIGTERM",
        args_escaped=True,
        healthcheck=Healthcheck(("CMD", "true"), 1_000_000_000, 2, 3, 4, 5),
        on_build=("RUN x",),
        shell=("/bin/sh", "-c"),
    ),
    history=(
        History("2024-01-02T03:04:05Z", "RUN a"),
        History(comment="nothing", empty_layer=True),
        History(author="me"),
    ),
)


def archive(path, config, contents, names):
    layers = MemoryLayers()
    top = None
    for content in contents:
        top = layers.make(content, top)
    with Database(path / "bennu.db") as database:
        images = Images(database, MemoryBlobs(), layers, layers)
        references = tuple(parse_name(name) for name in names)
        image = images.create(config, top, names=references, annotations={"k": "v"} if names else None)
        sink = io.BytesIO()
        write_archive(images, [Selection(image, references)], sink)
    with tarfile.open(fileobj=io.BytesIO(sink.getvalue())) as tar:
        return {one.name: tar.extractfile(one).read() for one in tar if one.isfile()}


@pytest.mark.parametrize(
    ("config", "contents", "names"),
    [
        (FULL, (b"1", b"2"), ("debian:bookworm", "h.example:5000/a/b:c")),
        (empty_config(Platform("amd64", "linux")), (), ()),
        (empty_config(Platform("amd64", "linux")), (b"1",), ("app",)),
    ],
)
def test_an_archives_documents_keep_to_the_schemas(tmp_path, config, contents, names):
    files = archive(tmp_path, config, contents, names)

    def checked(name, schema):
        document = json.loads(files[name])
        Validator(schema, format_checker=Validator.FORMAT_CHECKER).validate(document)
        return document

    checked("oci-layout", schemas.LAYOUT)
    (entry,) = checked("manifest.json", schemas.DOCKER_ARCHIVE)
    index = checked("index.json", schemas.INDEX)
    assert len(index["manifests"]) == max(len(names), 1)
    for descriptor in index["manifests"]:
        manifest = checked(f"blobs/{descriptor['digest'].replace(':', '/')}", schemas.MANIFEST)
        assert f"blobs/{manifest['config']['digest'].replace(':', '/')}" == entry["Config"]
        document = checked(entry["Config"], schemas.CONFIG)
        assert document["rootfs"]["diff_ids"] == [layer["digest"] for layer in manifest["layers"]]
        for pointed in (descriptor, manifest["config"], *manifest["layers"]):
            assert pointed["size"] == len(files[f"blobs/{pointed['digest'].replace(':', '/')}"])


@pytest.mark.parametrize(
    ("schema", "document"),
    [
        (schemas.LAYOUT, {}),
        (schemas.INDEX, {"schemaVersion": 1, "manifests": []}),
        (schemas.INDEX, {"schemaVersion": 2, "manifests": [{"mediaType": "a/b", "digest": "sha256:0", "size": 1}]}),
        (schemas.MANIFEST, {"schemaVersion": 2, "layers": []}),
        (schemas.CONFIG, {"architecture": "amd64", "os": "linux"}),
        (schemas.CONFIG, {**MINIMAL, "config": {"env": []}}),
        (schemas.CONFIG, {**MINIMAL, "created": "today"}),
    ],
)
def test_the_schemas_can_fail(schema, document):
    with pytest.raises(ValidationError):
        Validator(schema).validate(document)


def test_the_schemas_are_schemas():
    for schema in (schemas.LAYOUT, schemas.INDEX, schemas.MANIFEST, schemas.CONFIG, schemas.DOCKER_ARCHIVE):
        Validator.check_schema(schema)
