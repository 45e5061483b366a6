"""Garbage collection beside loads, builds and removals in other processes: nothing that is named is ever lost."""

import os
import subprocess
import sys
import time

import pytest

from bennu.config import Settings
from bennu.digest import digest_of
from bennu.wiring import Store

pytestmark = pytest.mark.root

ROUNDS = 12

WORKER = """
import os, sys, io
from pathlib import Path
import msgspec
from bennu.config import Settings
from bennu.errors import NotFound
from bennu.oci.image_config import ContainerConfig, empty_config
from bennu.oci.platform import Platform
from bennu.oci.reference import parse_name
from bennu.wiring import Store

root, role, rounds, archive = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
platform = Platform("amd64", "linux")

def build(store, number):
    with store.operations.under_way("build"):
        below = None
        for layer in range(3):
            active = store.snapshots.prepare(below)
            content = b"%d" % (number if layer == 2 else layer) * 500
            (store.snapshots.directory(active) / f"f{layer}").write_bytes(content)
            below = store.snapshots.commit(active)
        config = msgspec.structs.replace(empty_config(platform), config=ContainerConfig(user=f"{role}{number}"))
        store.images.create(config, below, names=[parse_name(f"{role}:{number}")])

with Store(Settings(root=root, run=root / "run")) as store:
    for number in range(rounds):
        if role == "collector":
            store.garbage.collect()
        elif role == "loader":
            (image, _), = store.loader.load(Path(archive), platform)
            store.images.tag(image.manifest, parse_name(f"loaded:{number}"))
            if number % 2:
                store.garbage.remove_image(f"loaded:{number - 1}", force=True)
                store.garbage.remove_image("archived:1", force=True)
        else:
            build(store, number)
            if number % 2:
                store.garbage.remove_image(f"{role}:{number - 1}")
"""


def test_all_at_once(tmp_path):
    settings = Settings(root=tmp_path / "root", run=tmp_path / "run")
    archive = tmp_path / "archive.tar"
    source = tmp_path / "source"
    _run(source, "archived", 2, archive)
    bennu = [sys.executable, "-m", "bennu"]
    subprocess.run([*bennu, "--root", source, "save", "-o", archive, "archived:1"], check=True)
    children = [
        _start(settings.root, role, rounds, archive)
        for role, rounds in (("collector", 2 * ROUNDS), ("loader", ROUNDS), ("one", ROUNDS), ("two", ROUNDS))
    ]
    results = [(child.wait(200), child.stderr.read()) for child in children]
    assert results == [(0, "")] * 4
    with Store(settings) as store:
        images = store.images.walk()
        names = {name for image in images for name in image.familiar_names}
        expected = {f"{role}:{number}" for role in ("one", "two") for number in range(1, ROUNDS, 2)}
        assert expected <= names
        for image in images:
            assert store.images.snapshot(image) is not None
            assert digest_of(store.images.manifest_bytes(image)) == image.manifest
            for layer in image.layers:
                with store.images.open_layer(layer) as stream:
                    assert digest_of(stream.read()) == layer.blob
        time.sleep(0.1)
        for name in names:
            store.garbage.remove_image(name, force=True)
        store.garbage.collect()
        assert store.images.walk() == []
        assert list(store.blobs.walk()) == []
        assert list(store.snapshots.walk()) == []
        assert store.operations.walk() == []
    assert os.listdir(settings.snapshots) == os.listdir(settings.temporary) == []


def _start(root, role, rounds, archive):
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, str(root), role, str(rounds), str(archive)], stderr=subprocess.PIPE, text=True
    )


def _run(root, role, rounds, archive):
    with _start(root, role, rounds, archive) as child:
        assert child.wait(60) == 0, child.stderr.read()
