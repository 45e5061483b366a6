"""Images from registries and to them: against one that is right, one that misbehaves in every way, and Debian's own.

Whatever a registry does ends in one clear error or in success after a retry, and the store is intact.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bennu.config import Settings
from bennu.digest import short
from bennu.errors import BennuError, Corrupt, Failed, Invalid, NotFound, Unavailable, Unsupported
from bennu.host import http
from bennu.host.network import free_port
from bennu.oci.platform import Platform
from bennu.oci.reference import parse_name, parse_reference
from bennu.registry import download, transport
from bennu.registry.compressing import Compression
from bennu.registry.copying import Copier
from bennu.registry.credentials import Credential, Credentials
from bennu.registry.hosts import Hosts
from bennu.registry.pull import Puller
from bennu.registry.push import Pusher
from bennu.registry.registries import Registries
from bennu.registry.sent import Sent
from bennu.registry.source import ImageSource, refresh_seconds
from bennu.registry.upstream import Upstream, look
from bennu.wiring import Store
from tests.integration.registry_server import INDEX, Handler, Registry, cut_after, digest_of, times

HOST = Platform(architecture="amd64", os="linux")
NOISE = os.urandom(300_000)
FILES = [{"etc/name": b"base", "bin/true": b"#!", "data": NOISE}, {"srv/index": b"hello", "etc/name": b"over"}]


@pytest.fixture(autouse=True)
def in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(http, "STILL_SECONDS", 0.5)
    monkeypatch.setattr(download, "PAUSE_SECONDS", 0.002)


@pytest.fixture
def registry() -> Iterator[Registry]:
    server = Registry()
    yield server
    server.close()


class Client:
    """A store, and what goes between it and registries."""

    def __init__(self, directory: Path) -> None:
        settings = Settings(root=directory / "root", run=directory / "run", docker_config=directory / "docker")
        self.store = Store(settings)
        self.credentials = Credentials(settings.docker_config)
        self.said: list[str] = []
        self.registries = Registries(Hosts(None, None), self.credentials, say=self.said.append)

    def pull(self, name: str, **options: object):
        store = self.store
        puller = Puller(self.registries, store.images, store.blobs, store.operations, sent=Sent(store.database))
        return puller.pull(parse_reference(name), HOST, **options)

    def push(self, image, name: str, compression: Compression | None = None, **options: object):
        store = self.store
        pusher = Pusher(self.registries, store.images, store.operations, Sent(store.database), compression=compression)
        return pusher.push(image, parse_name(name), **options)

    def tree(self, image) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        snapshot = self.store.images.snapshot(image)
        for one in reversed(snapshot.chain):
            root = self.store.settings.snapshots / one / "fs"
            found |= {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        return found

    def made(self, files: dict[str, bytes]):
        """An image that was made here."""
        from bennu.oci.image_config import ContainerConfig, ImageConfig

        active = self.store.snapshots.prepare(None)
        for name, data in files.items():
            path = self.store.snapshots.directory(active) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        config = ImageConfig(architecture="amd64", os="linux", config=ContainerConfig(cmd=("/bin/true",)))
        return self.store.images.create(config, self.store.snapshots.commit(active), names=(parse_name("made:1"),))

    def assert_intact(self) -> None:
        """Nothing half-made is visible, nothing is left behind, and what there is can be read."""
        store = self.store
        assert list(store.settings.temporary.iterdir() if store.settings.temporary.exists() else ()) == []
        for blob in store.blobs.walk():
            with store.blobs.open(blob.digest) as stream:
                while stream.read(1 << 20):
                    pass
        for image in store.images.walk():
            assert store.images.snapshot(image) is not None
        assert store.operations.walk() == []


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    one = Client(tmp_path / "one")
    yield one
    one.assert_intact()
    one.store.__exit__()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Client]:
    one = Client(tmp_path / "other")
    yield one
    one.assert_intact()
    one.store.__exit__()


WHOLE = {"etc/name": b"over", "bin/true": b"#!", "data": NOISE, "srv/index": b"hello"}


# a registry that is right


@pytest.mark.parametrize("docker", [False, True])
def test_pull(client, registry, docker):
    digest = registry.add_image("shop/web", "1", FILES, docker=docker)
    name = f"{registry.address}/shop/web:1"
    pulled = client.pull(name)
    assert (pulled.digest, pulled.is_new) == (digest, True)
    assert pulled.image.names == (name,)
    assert client.tree(pulled.image) == WHOLE
    before = registry.count("blobs")
    again = client.pull(name)
    assert (again.is_new, registry.count("blobs")) == (False, before)


def test_by_digest_an_image_gets_no_name(client, registry):
    digest = registry.add_image("a", "1", FILES)
    pulled = client.pull(f"{registry.address}/a@{digest}")
    assert pulled.image.names == ()
    assert pulled.image.manifest == digest
    client.store.images.forget(pulled.image.manifest)


def test_a_layer_that_is_there_is_not_fetched_again(client, registry):
    registry.add_image("a", "1", FILES)
    registry.add_image("b", "1", [FILES[0], {"new": b"new"}])
    client.pull(f"{registry.address}/a:1")
    before = registry.count("GET .*/blobs/")
    client.pull(f"{registry.address}/b:1")
    assert registry.count("GET .*/blobs/") == before + 2  # the configuration and the new layer


def index_of(registry: Registry, path: str, tag: str, images: dict[str, str]) -> str:
    manifests = [
        {
            "mediaType": registry.manifests[path, digest][0],
            "digest": digest,
            "size": len(registry.manifests[path, digest][1]),
            "platform": {"os": "linux" if platform != "unknown" else "unknown", "architecture": platform},
        }
        for platform, digest in images.items()
    ]
    return registry.add_manifest(path, tag, {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}, INDEX)


def test_an_index(client, registry):
    images = {
        "arm64": registry.add_image("a", "arm", [{"arm": b"1"}], architecture="arm64"),
        "amd64": registry.add_image("a", "amd", FILES),
        "unknown": registry.add_image("a", "attestation", [{"x": b"1"}], architecture="unknown"),
    }
    digest = index_of(registry, "a", "1", images)
    name = f"{registry.address}/a:1"
    pulled = client.pull(name)
    assert (pulled.digest, pulled.image.manifest) == (digest, images["amd64"])
    assert registry.count(images["arm64"]) == 0
    assert not client.pull(name).is_new
    assert client.store.images.find_index(name) == digest
    arm = client.pull(name, platform=Platform(architecture="arm64", os="linux"))
    assert arm.image.manifest == images["arm64"]
    everything = client.pull(name, every=True)
    assert set(client.store.images.indexes.get(everything.digest).images) == {images["arm64"], images["amd64"]}
    with pytest.raises(NotFound, match="riscv64"):
        client.pull(name, platform=Platform(architecture="riscv64", os="linux"))


def test_what_came_goes_back_byte_for_byte(client, registry):
    digest = registry.add_image("a", "1", FILES)
    image = client.pull(f"{registry.address}/a:1").image
    goal = Registry()
    try:
        assert client.push(image, f"{goal.address}/b:2").digest == digest
        assert goal.blobs.keys() == registry.blobs.keys()
    finally:
        goal.close()


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_what_was_made_here_is_compressed_once(client, other, registry, kind):
    image = client.made(WHOLE)
    name = f"{registry.address}/made:1"
    compression = Compression(kind)
    pushed = client.push(image, name, compression)
    _, data = registry.manifests["made", pushed.digest]
    (layer,) = json.loads(data)["layers"]
    assert layer["mediaType"].endswith(kind)
    assert layer["size"] == len(registry.blobs[layer["digest"]])
    before = registry.count("PATCH")
    assert client.push(image, name, compression).digest == pushed.digest
    assert registry.count("PATCH") == before
    assert other.tree(other.pull(name).image) == WHOLE


def test_the_same_layer_is_mounted_from_another_repository(client, registry):
    image = client.made(WHOLE)
    client.push(image, f"{registry.address}/made:1")
    before = registry.count("PATCH")
    client.push(image, f"{registry.address}/deep/copy:1")
    assert registry.count("POST .*mount=.*from=made") == 1
    assert registry.count("PATCH") == before


def test_an_index_is_pushed_whole(client, other, registry):
    images = {
        "arm64": registry.add_image("a", "arm", [{"arm": b"1"}], architecture="arm64"),
        "amd64": registry.add_image("a", "amd", FILES),
    }
    digest = index_of(registry, "a", "1", images)
    name = f"{registry.address}/a:1"
    pulled = client.pull(name, every=True)
    pushed = client.push(pulled.image, f"{registry.address}/b:1", index=digest)
    assert (pushed.digest, pushed.images) == (digest, 2)
    assert other.pull(f"{registry.address}/b:1").image.manifest == images["amd64"]


def test_copy_from_one_registry_to_another(client, registry, tmp_path):
    images = {"arm64": registry.add_image("a", "arm", [{"arm": b"1"}], architecture="arm64")}
    images["amd64"] = registry.add_image("a", "amd", FILES)
    digest = index_of(registry, "a", "1", images)
    goal = Registry()
    try:
        copier = Copier(client.registries, client.store.settings.temporary)
        source, target = parse_reference(f"{registry.address}/a:1"), parse_reference(f"{goal.address}/m/a:2")
        copied = copier.copy(source, target)
        assert (copied.digest, copied.sent) == (digest, 5)
        assert goal.manifests["m/a", "2"][1] == registry.manifests["a", "1"][1]
        assert Copier(client.registries, client.store.settings.temporary).copy(source, target).sent == 0
        inside = parse_reference(f"{registry.address}/b:1")
        assert Copier(client.registries, client.store.settings.temporary).copy(source, inside).sent == 0
    finally:
        goal.close()


def test_tags_come_page_by_page(client, registry):
    for number in range(8):
        registry.add_image("a", f"v{number}", [{"x": b"1"}])
    repository = client.registries.target(parse_reference(f"{registry.address}/a"))
    assert list(repository.tags()) == [f"v{number}" for number in range(8)]
    with pytest.raises(NotFound):
        list(client.registries.target(parse_reference(f"{registry.address}/none")).tags())


@pytest.mark.parametrize("has_endpoint", [True, False])
def test_referrers(client, registry, has_endpoint):
    registry.has_referrers = has_endpoint
    digest = registry.add_image("a", "1", FILES)
    content = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "artifactType": "text/x"}
    empty = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": registry.add_blob("a", b"{}"), "size": 2}
    content |= {"config": empty, "layers": [], "subject": {**empty, "digest": digest}}
    found = registry.add_manifest("a", "signature", content)
    if not has_endpoint:
        entry = {"mediaType": content["mediaType"], "digest": found, "size": 1, "artifactType": "text/x"}
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}
        registry.add_manifest("a", digest.replace(":", "-"), index, INDEX)
    repository = client.registries.target(parse_reference(f"{registry.address}/a"))
    assert [each.digest for each in repository.referrers(digest, "text/x").manifests] == [found]
    assert repository.referrers(digest, "text/y").manifests == ()


# who we are


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_a_password_is_asked_for_and_given(client, registry, auth):
    registry.auth = auth
    registry.add_image("a", "1", FILES)
    client.credentials.put(registry.address, Credential("me", "secret"))
    image = client.pull(f"{registry.address}/a:1").image
    client.push(image, f"{registry.address}/b:1")


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_a_wrong_password_is_said_and_not_tried_for_ever(client, registry, auth):
    registry.auth = auth
    client.credentials.put(registry.address, Credential("me", "wrong"))
    with pytest.raises(Unavailable) as caught:
        client.pull(f"{registry.address}/a:1")
    assert caught.value.hint
    assert "bennu login" in caught.value.hint
    assert len(registry.requests) < 8


def test_a_token_that_expires_in_the_middle_is_got_anew(client, registry):
    registry.auth, registry.token_uses = "bearer", 1
    registry.add_image("a", "1", FILES)
    client.pull(f"{registry.address}/a:1")
    assert registry.count("/token") > 2


def test_authorization_stays_with_its_host(client, registry):
    registry.auth = "basic"
    registry.add_image("a", "1", FILES)
    client.credentials.put(registry.address, Credential("me", "secret"))
    storage = Registry()
    storage.blobs, storage.holders = registry.blobs, {("a", each) for each in registry.blobs}
    registry.faults.append(redirect_blobs(f"http://{storage.address}"))
    try:
        client.pull(f"{registry.address}/a:1")
        asked = [headers for line, headers in zip(storage.requests, storage.headers, strict=True) if "blobs" in line]
        assert len(asked) == 3
        assert all("Authorization" not in headers for headers in asked)
    finally:
        storage.close()


def redirect_blobs(base: str):
    def fault(handler: Handler) -> bool:
        if handler.command != "GET" or "/blobs/" not in handler.path or "Authorization" not in handler.headers:
            return False
        handler.answer(307, Location=base + handler.path)
        return True

    return fault


# what goes wrong on the way


@pytest.mark.parametrize(
    "fault",
    [
        times(2, "GET .*blobs", lambda handler: handler.answer(503)),
        times(1, "GET .*blobs", lambda handler: handler.problem(429, "TOOMANYREQUESTS", "slow down", Retry_After="0")),
        times(2, "GET .*manifests", lambda handler: handler.answer(500)),
        times(2, "GET", lambda handler: handler.cut()),
        times(3, "GET .*blobs", cut_after(1000)),
        times(20, "GET .*blobs", cut_after(20_000)),
        times(1, "GET .*blobs", lambda _handler: time.sleep(0.8)),
    ],
    ids=["503", "429", "500", "reset", "cut early", "cut often", "hang once"],
)
def test_what_is_done_again(client, registry, fault):
    registry.add_image("a", "1", FILES)
    registry.faults.append(fault)
    pulled = client.pull(f"{registry.address}/a:1")
    assert client.tree(pulled.image) == WHOLE


def test_a_cut_connection_goes_on_where_it_was(client, registry):
    registry.add_image("a", "1", FILES)
    registry.faults.append(times(2, f"GET .*blobs/{biggest(registry)}", cut_after(100_000)))
    client.pull(f"{registry.address}/a:1")
    assert any("Range" in headers for headers in registry.headers)


def test_a_server_without_ranges_sends_all_again(client, registry):
    registry.add_image("a", "1", FILES)

    def without_range(handler: Handler) -> bool:
        del handler.headers["Range"]
        return False

    registry.faults += [without_range, times(1, f"GET .*blobs/{biggest(registry)}", cut_after(100_000))]
    assert client.tree(client.pull(f"{registry.address}/a:1").image) == WHOLE


def biggest(registry: Registry) -> str:
    return max(registry.blobs, key=lambda digest: len(registry.blobs[digest]))


def wrong_bytes(handler: Handler) -> None:
    data = bytearray(handler.registry.blobs[handler.path.rpartition("/")[2]])
    data[len(data) // 2] ^= 1
    handler.answer(200, bytes(data))


def too_long(handler: Handler) -> None:
    handler.answer(200, handler.registry.blobs[handler.path.rpartition("/")[2]] + b"more")


def endless(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    block = b"10000\r\n" + bytes(65536) + b"\r\n"
    for _ in range(10_000):
        handler.wfile.write(block)


def hang(handler: Handler) -> None:
    handler.wfile.flush()
    time.sleep(1.5)
    handler.cut()


def to_itself(handler: Handler) -> None:
    handler.answer(307, Location=handler.path)


@pytest.mark.parametrize(
    ("pattern", "act", "kind", "said"),
    [
        ("GET .*blobs/{}", wrong_bytes, Corrupt, "arrived as"),
        ("GET .*blobs/{}", too_long, Corrupt, "more than its"),
        ("GET .*blobs/{}", endless, Corrupt, "more than its"),
        ("GET .*blobs/{}", cut_after(0), Unavailable, "stopped at byte 0"),
        ("GET .*blobs/{}", hang, Unavailable, "stood still"),
        ("GET .*blobs/{}", to_itself, Unavailable, "redirected more than"),
        ("GET .*blobs/{}", lambda handler: handler.answer(404), NotFound, "is not in the registry"),
        ("GET .*blobs/{}", lambda handler: handler.answer(403), Unavailable, "access is denied"),
        ("GET .*manifests", lambda handler: handler.answer(502), Unavailable, "502"),
        ("GET .*manifests", lambda handler: handler.answer(200, b"<html>"), Invalid, "JSON"),
        ("GET .*manifests", lambda handler: handler.answer(200, b"x" * (5 << 20)), Failed, "larger than 4 MiB"),
        ("GET .*manifests", lambda handler: handler.answer(200, b"{}", Docker_Content_Digest="sha256:" + "0" * 64),
         Corrupt, "should be"),
        ("GET .*manifests", to_itself, Unavailable, "redirected more than"),
        ("GET .*manifests", lambda handler: handler.answer(302), Unavailable, "leads nowhere"),
        ("GET .*manifests", lambda handler: handler.answer(401), Unavailable, "access is denied"),
    ],
    ids=lambda value: value.__name__ if callable(value) else None,
)  # fmt: skip
def test_what_ends_in_one_clear_error(client, registry, pattern, act, kind, said):
    registry.add_image("a", "1", FILES)
    registry.faults.append(times(1000, pattern.format(biggest(registry)), act))
    with pytest.raises(kind, match=said) as caught:
        client.pull(f"{registry.address}/a:1")
    assert registry.address in caught.value.message or "sha256:" in caught.value.message
    assert client.store.images.walk() == []
    client.assert_intact()
    registry.faults.clear()
    assert client.tree(client.pull(f"{registry.address}/a:1").image) == WHOLE


def manifest_with(registry: Registry, **changes: object) -> None:
    registry.add_image("a", "1", FILES)
    kind, data = registry.manifests["a", "1"]
    registry.add_manifest("a", "1", {**json.loads(data), **changes}, kind)


def test_a_manifest_of_ten_thousand_layers(client, registry):
    layer = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": "sha256:" + "0" * 64, "size": 1}
    manifest_with(registry, layers=[layer] * 10_000)
    with pytest.raises(Unsupported, match="10000 layers"):
        client.pull(f"{registry.address}/a:1")


@pytest.mark.parametrize("digest", ["sha256:../../../etc/passwd", "../x", "sha256:" + "0" * 63, "md5:" + "0" * 32, ""])
def test_a_digest_is_no_path(client, registry, digest):
    layer = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest, "size": 1}
    manifest_with(registry, layers=[layer])
    with pytest.raises(Invalid):
        client.pull(f"{registry.address}/a:1")


def test_a_manifest_whose_configuration_disagrees(client, registry):
    _, data = registry.manifests["a", registry.add_image("a", "1", FILES)]
    manifest_with(registry, layers=json.loads(data)["layers"][:1])
    with pytest.raises(Invalid, match="its configuration has 2 layers"):
        client.pull(f"{registry.address}/a:1")


def test_what_is_no_image_is_called_what_it_is(client, registry):
    empty = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": registry.add_blob("a", b"{}"), "size": 2}
    registry.add_manifest("a", "1", {"schemaVersion": 2, "artifactType": "text/x", "config": empty, "layers": []})
    with pytest.raises(Unsupported, match="text/x"):
        client.pull(f"{registry.address}/a:1")


def test_names_in_a_layer_stay_inside(client, registry, tmp_path):
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        link = tarfile.TarInfo("out")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
        archive.addfile(link)
        for name in ("out/evil", "../../evil", "/abs"):
            member = tarfile.TarInfo(name)
            member.size = 4
            archive.addfile(member, io.BytesIO(b"evil"))
    plain = sink.getvalue()
    packed = gzip.compress(plain)
    config = json.dumps(
        {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [digest_of(plain)]}}
    ).encode()
    content = {
        "schemaVersion": 2,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": registry.add_blob("a", config),
            "size": len(config),
        },
        "layers": [
            {
                "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                "digest": registry.add_blob("a", packed),
                "size": len(packed),
            }
        ],
    }
    registry.add_manifest("a", "1", content)
    try:
        client.pull(f"{registry.address}/a:1")
    except BennuError as error:
        assert isinstance(error, Corrupt)
    assert not (tmp_path / "evil").exists()
    assert not Path("/abs").exists()


def test_nothing_answers(client):
    with pytest.raises(Unavailable, match="Connection refused"):
        client.pull(f"127.0.0.1:{free_port()}/a:1")
    assert len(client.said) == transport.CONNECT_ATTEMPTS - 1


def test_a_trickle_is_no_download(client, registry, monkeypatch):
    monkeypatch.setattr(download, "TRICKLE_SECONDS", 0.1)

    def trickle(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        for _ in range(20):
            handler.wfile.write(b"x")
            handler.wfile.flush()
            time.sleep(0.03)

    registry.add_image("a", "1", FILES)
    registry.faults.append(times(100, f"GET .*blobs/{biggest(registry)}", trickle))
    with pytest.raises(BennuError):
        client.pull(f"{registry.address}/a:1")


def test_a_cancelled_pull_ends_at_once(client, registry):
    registry.add_image("a", "1", FILES)
    registry.faults.append(times(100, f"GET .*blobs/{biggest(registry)}", cut_after(10)))
    threading.Timer(0.05, client.registries.cancel.set).start()
    with pytest.raises(BennuError):
        client.pull(f"{registry.address}/a:1")


@pytest.mark.parametrize("when", [0, 1, 2, 3, 4, 5, 6])
def test_a_pull_that_is_cancelled_at_any_request_ends(client, registry, when):
    registry.add_image("a", "1", [{f"file{number}": os.urandom(50_000)} for number in range(8)])
    seen = []

    def cancel(handler: Handler) -> bool:
        seen.append(handler.path)
        if len(seen) > when:
            client.registries.cancel.set()
        return False

    registry.faults.append(cancel)
    with pytest.raises(BennuError):
        client.pull(f"{registry.address}/a:1")


# pushes that are disturbed


@pytest.mark.parametrize(
    ("pattern", "act"),
    [
        ("PATCH", lambda handler: handler.cut()),
        ("PATCH", lambda handler: handler.answer(503)),
        ("POST .*uploads", lambda handler: handler.answer(502)),
        ("PUT .*uploads", lambda handler: handler.answer(500)),
        ("PUT .*manifests", lambda handler: handler.answer(503)),
        ("HEAD", lambda handler: handler.answer(500)),
    ],
)
def test_a_push_is_done_again(client, other, registry, pattern, act):
    registry.faults.append(times(1, pattern, act))
    name = f"{registry.address}/made:1"
    client.push(client.made(WHOLE), name)
    assert other.tree(other.pull(name).image) == WHOLE


def test_an_upload_goes_on_where_it_was(client, registry):
    """The bytes that came before the cut are not sent again."""
    registry.add_image("a", "1", FILES)
    image = client.pull(f"{registry.address}/a:1").image
    goal = Registry()
    digest = biggest(registry)

    def half(handler: Handler) -> None:
        session = handler.path.partition("uploads/")[2].partition("?")[0]
        handler.registry.uploads[session] += handler.rfile.read(150_000)
        handler.cut()

    goal.faults.append(times(1, f"PUT .*uploads.*{digest.replace(':', '%3A')}", half))
    try:
        client.push(image, f"{goal.address}/a:1")
        sent = [headers for line, headers in zip(goal.requests, goal.headers, strict=True) if line.startswith("PATCH")]
        assert [headers["Content-Range"].partition("-")[0] for headers in sent] == ["150000"]
    finally:
        goal.close()


@pytest.mark.parametrize("status", [401, 403, 405])
def test_a_push_that_is_refused(client, registry, status):
    registry.faults.append(times(100, "POST", lambda handler: handler.problem(status, "DENIED", "read only")))
    with pytest.raises(Unavailable, match="read only"):
        client.push(client.made(WHOLE), f"{registry.address}/made:1")
    assert registry.manifests == {}


# when images are fetched


def source(client: Client) -> ImageSource:
    store = client.store
    sent, say = Sent(store.database), client.said.append
    return ImageSource(store.settings, store.images, store.blobs, store.operations, sent=sent, host=HOST, say=say)


def test_an_image_is_fetched_where_it_is_missing(client, registry):
    first = registry.add_image("a", "1", FILES)
    name = f"{registry.address}/a:1"
    assert source(client).find(name, "never") is None
    assert source(client).resolve(name).manifest == first
    second = registry.add_image("a", "1", [{"x": b"2"}])
    assert source(client).resolve(name).manifest == first
    assert source(client).resolve(name, "always").manifest == second
    before = registry.count("GET")
    assert source(client).resolve(name, "always").manifest == second
    assert registry.count("GET") == before
    assert source(client).find_by(name, "daily").manifest == second
    with pytest.raises(NotFound, match="not in its registry"):
        source(client).resolve(f"{registry.address}/none:1")


@pytest.mark.parametrize(
    ("policy", "seconds"),
    [("daily", 86400), ("weekly", 604800), ("every_12h", 43200), ("every_1d30m", 88200), ("always", None)],
)
def test_policies_with_a_time(policy, seconds):
    assert refresh_seconds(policy) == seconds


def upstream(client: Client, *names: str) -> Upstream:
    store = client.store
    return look(store.settings, store.images, Sent(store.database), names)


def test_names_that_have_moved_upstream(client, registry):
    registry.add_image("a", "1", FILES)
    name, made = f"{registry.address}/a:1", f"{registry.address}/made:1"
    first = client.pull(name)
    client.store.images.tag(client.made(WHOLE).manifest, parse_name(made))
    client.push(client.store.images.resolve(made), made)  # it has another digest there than here
    same = upstream(client, name, made, f"{registry.address}/none:1")
    assert set(same.here) == {name, made}
    assert (same.here, same.notes) == (same.there, ())
    client.store.images.tag(client.store.images.resolve(made).manifest, parse_name("made-here:1"))
    assert upstream(client, "made-here:1") == Upstream({}, {})
    registry.add_image("a", "1", [{"x": b"2"}])
    moved = upstream(client, name)
    assert moved.here[name] == short(first.digest)
    assert moved.here != moved.there


def test_a_registry_that_does_not_answer_is_said(client, registry):
    registry.add_image("a", "1", FILES)
    name = f"{registry.address}/a:1"
    client.pull(name)
    registry.faults.append(times(100, "HEAD", lambda handler: handler.answer(503)))
    assert "503" in upstream(client, name).notes[0]


# Debian's own


@contextmanager
def docker_registry(directory: Path) -> Iterator[str]:
    port = free_port()
    config = directory / "registry.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem: {{rootdirectory: {directory / 'data'}}}\n"
        f"  delete: {{enabled: true}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n"
    )
    with subprocess.Popen(
        ["/usr/bin/docker-registry", "serve", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            deadline = time.monotonic() + 20
            while not answers(port):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield f"127.0.0.1:{port}"
        finally:
            server.send_signal(signal.SIGTERM)


def answers(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def test_against_debians_registry(client, other, tmp_path, registry):
    with docker_registry(tmp_path) as address:
        image = client.made(WHOLE)
        pushed = client.push(image, f"{address}/shop/made:1")
        client.push(image, f"{address}/other/made:2")
        pulled = other.pull(f"{address}/shop/made:1")
        assert pulled.digest == pushed.digest
        assert other.tree(pulled.image) == WHOLE
        repository = client.registries.target(parse_reference(f"{address}/shop/made"))
        assert list(repository.tags()) == ["1"]
        there = repository.find_manifest("1")
        assert there is not None
        assert there.digest == pushed.digest
        assert repository.referrers(pushed.digest).manifests == ()
        images = {"arm64": registry.add_image("a", "arm", [{"arm": b"1"}], architecture="arm64")}
        images["amd64"] = registry.add_image("a", "amd", FILES)
        index_of(registry, "a", "1", images)
        copier = Copier(client.registries, client.store.settings.temporary)
        copied = copier.copy(parse_reference(f"{registry.address}/a:1"), parse_reference(f"{address}/m/a:1"))
        assert other.pull(f"{address}/m/a:1").digest == copied.digest
        repository.delete_manifest(pushed.digest)
        assert repository.find_manifest("1") is None


def test_by_hand(registry, tmp_path):
    registry.add_image("shop/web", "1", FILES)
    registry.auth = "basic"
    environ = {"PATH": os.environ["PATH"], "DOCKER_CONFIG": str(tmp_path / "docker"), "HOME": str(tmp_path)}
    words = [sys.executable, "-m", "bennu", "--root", str(tmp_path / "root")]

    def bennu(*more: str, **options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*words, *more], check=False, env=environ, capture_output=True, text=True, **options)

    name = f"{registry.address}/shop/web:1"
    denied = bennu("pull", name)
    assert denied.returncode == 1
    assert f"bennu login {registry.address}" in denied.stderr
    login = bennu("login", "-u", "me", "--password-stdin", registry.address, input="secret\n")
    assert login.returncode == 0, login.stderr
    assert bennu("login", "-u", "me", "--password-stdin", registry.address, input="wrong").returncode == 1
    pulled = bennu("pull", name)
    assert (pulled.returncode, pulled.stdout) == (0, f"{name}\n"), pulled.stderr
    assert "Pull complete" in pulled.stderr
    assert bennu("tag", name, f"{registry.address}/shop/other:2").returncode == 0
    pushed = bennu("push", "-q", f"{registry.address}/shop/other:2")
    assert pushed.stdout.startswith(f"{registry.address}/shop/other@sha256:"), pushed.stderr
    assert bennu("registry", "ls", f"{registry.address}/shop/other").stdout == "2\n"
    assert json.loads(bennu("manifest", "inspect", name).stdout)["schemaVersion"] == 2
    assert bennu("logout", registry.address).returncode == 0
    assert bennu("pull", "-q", f"{registry.address}/shop/other:2").returncode == 1
