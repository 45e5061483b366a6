import json

import pytest

from bennu.digest import digest_of
from bennu.errors import Invalid, NotFound, Unsupported
from bennu.oci import media
from bennu.oci.descriptor import Descriptor
from bennu.oci.document import encode
from bennu.oci.image_config import (
    NOTHING,
    ContainerConfig,
    Healthcheck,
    History,
    ImageConfig,
    RootFS,
    chain_ids,
    empty_config,
    encode_config,
    moment,
    parse_config,
    rfc3339,
)
from bennu.oci.manifest import choose, is_index, new_index, new_manifest, parse_index, parse_manifest
from bennu.oci.platform import Platform

AMD64 = Platform("amd64", "linux")
LAYER = digest_of(b"layer")


def descriptor(media_type=media.OCI_LAYER, **more):
    return Descriptor(media_type, LAYER, 5, **more)


def test_a_configuration_is_written_as_buildkit_writes_it():
    config = ImageConfig(
        architecture="amd64",
        os="linux",
        created="2024-01-02T03:04:05Z",
        config=ContainerConfig(
            env=("PATH=/bin", "A=<&>"),
            cmd=("sh",),
            labels={"b": "2", "a": "1"},
            exposed_ports={"80/tcp": NOTHING},
            healthcheck=Healthcheck(test=("NONE",), interval_ns=5_000_000_000),
            on_build=("RUN true",),
            shell=("/bin/bash", "-c"),
        ),
        history=(History(created_by="RUN true", empty_layer=False), History(comment="x", empty_layer=True)),
        rootfs=RootFS("layers", (LAYER,)),
    )
    assert (
        encode_config(config)
        == (
            '{"architecture":"amd64","config":{"ExposedPorts":{"80/tcp":{}},"Env":["PATH=/bin","A=\\u003c\\u0026\\u003e"],'
            '"Cmd":["sh"],"Labels":{"a":"1","b":"2"},"Healthcheck":{"Test":["NONE"],"Interval":5000000000},'
            '"OnBuild":["RUN true"],"Shell":["/bin/bash","-c"]},"created":"2024-01-02T03:04:05Z",'
            '"history":[{"created_by":"RUN true"},{"comment":"x","empty_layer":true}],"os":"linux",'
            f'"rootfs":{{"type":"layers","diff_ids":["{LAYER}"]}}}}'
        ).encode()
    )
    assert parse_config(encode_config(config), "x") == config


def test_an_empty_configuration_keeps_its_obligatory_members():
    assert json.loads(encode_config(empty_config(AMD64))) == {
        "architecture": "amd64", "config": {}, "os": "linux", "rootfs": {"type": "layers", "diff_ids": []},
    }  # fmt: skip


def test_nulls_of_go_count_as_absent_and_unknown_members_are_ignored():
    config = parse_config(
        b'{"architecture":"arm64","os":"linux","container_config":{"Cmd":1},"config":{"Hostname":"x","Env":null,'
        b'"Cmd":null,"ExposedPorts":null,"Labels":null},"history":null,"rootfs":{"type":"layers","diff_ids":null}}',
        "x",
    )
    assert config == empty_config(Platform("arm64", "linux"))


@pytest.mark.parametrize(
    "data",
    [
        b"", b"[]", b"{", b'{"os":"linux"}', b'{"architecture":"a","os":1}', b"\xff",
        b'{"architecture":"a","os":"l","rootfs":{"type":"x"}}',
        b'{"architecture":"a","os":"l","rootfs":{"type":"layers","diff_ids":["sha256:../../etc"]}}',
        b'{"architecture":"a","os":"l","config":{"Env":"PATH"}}',
        b'{"architecture":"a","os":"l","history":[{}],"rootfs":{"type":"layers"}}',
        b"[" * 100_000,
    ],
)  # fmt: skip
def test_a_malformed_configuration_is_one_clear_error(data):
    with pytest.raises(Invalid, match="image configuration sha256:1"):
        parse_config(data, "sha256:1")


def test_chain_ids_follow_the_specification():
    one, two = digest_of(b"1"), digest_of(b"2")
    assert chain_ids((one, two)) == (one, digest_of(f"{one} {two}".encode()))
    assert chain_ids(()) == ()


def test_moments_are_written_as_go_writes_them_and_read_with_nine_digits():
    assert rfc3339(0) == "1970-01-01T00:00:00Z"
    assert rfc3339(1.5) == "1970-01-01T00:00:01.5Z"
    assert moment("1970-01-01T00:00:01.123456789Z") == pytest.approx(1.123456)
    assert moment("2024-01-02T03:04:05+02:00") == moment("2024-01-02T01:04:05Z")
    assert moment("0001-01-01T00:00:00Z") is None
    assert moment("") is None


def test_manifest_round_trip_and_docker_schema_2():
    manifest = new_manifest(descriptor(media.OCI_CONFIG), (descriptor(),), {"k": "v"})
    data = encode(manifest)
    assert data.startswith(
        b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType"'
    )
    assert parse_manifest(data, "x") == manifest
    docker = json.loads(data) | {"mediaType": media.DOCKER_MANIFEST}
    assert parse_manifest(json.dumps(docker).encode(), "x").layers == manifest.layers
    assert not is_index(data)


def test_schema_1_is_refused_by_name():
    with pytest.raises(Unsupported, match="schema 1"):
        parse_manifest(b'{"schemaVersion":1,"fsLayers":[]}', "sha256:1")


@pytest.mark.parametrize("change", [{"layers": 1}, {"config": None}, {"schemaVersion": 3}, {"mediaType": "text/plain"}])
def test_malformed_manifests_are_refused(change):
    plain = json.loads(encode(new_manifest(descriptor(), ()))) | change
    with pytest.raises(Invalid, match="manifest sha256:1"):
        parse_manifest(json.dumps(plain).encode(), "sha256:1")


@pytest.mark.parametrize("digest", ["sha256:../../../etc/passwd", "sha256:ABC", "", "md5:00"])
def test_a_descriptor_never_holds_a_digest_that_could_be_a_path(digest):
    with pytest.raises(Invalid):
        Descriptor(media.OCI_LAYER, digest, 1)
    with pytest.raises(Invalid):
        Descriptor(media.OCI_LAYER, LAYER, -1)


def test_an_index_gives_the_best_platform():
    entries = tuple(
        descriptor(media.OCI_MANIFEST, platform=platform)
        for platform in (
            Platform("unknown", "unknown"), Platform("arm", "linux", variant="v6"),
            Platform("arm", "linux", variant="v7"),
            AMD64, Platform("amd64", "linux", variant="v3"),
        )
    )  # fmt: skip
    index = parse_index(encode(new_index(entries)), "x")
    assert is_index(encode(index))
    assert choose(index, AMD64, "x").platform == AMD64
    assert choose(index, Platform("arm", "linux", variant="v7"), "x").platform.variant == "v7"
    assert choose(index, Platform("arm", "linux", variant="v8"), "x").platform.variant == "v7"
    with pytest.raises(NotFound, match=r"x has no image for linux/s390x; it has linux/amd64, "):
        choose(index, Platform("s390x", "linux"), "x")
