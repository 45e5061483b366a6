"""Images through the command line on a real store, and the same archives through skopeo."""

import gzip
import hashlib
import io
import json
import os
import subprocess
import tarfile
import time

import msgspec
import pytest

from bennu.cli.main import main
from bennu.config import Settings
from bennu.oci.image_config import ContainerConfig, History, empty_config, rfc3339
from bennu.oci.platform import Platform
from bennu.oci.reference import parse_name
from bennu.wiring import Store

pytestmark = pytest.mark.root

EPOCH = 1_700_000_000


class World:
    """A root of its own and the command line on it."""

    def __init__(self, path):
        self.path = path
        self.settings = Settings(root=path / "root", run=path / "run")

    def bennu(self, *words, status=0, stdin=b""):
        out, err = io.TextIOWrapper(io.BytesIO()), io.StringIO()
        source = io.TextIOWrapper(io.BytesIO(stdin))
        got = main(list(words), {"BENNU_ROOT": str(self.settings.root)}, stdin=source, stdout=out, stderr=err)
        out.flush()
        data = out.buffer.getvalue()
        assert got == status, (words, got, data[-2000:], err.getvalue())
        if got:
            return err.getvalue()
        return data if words[0] == "save" else data.decode()

    def image(self, *names, files=None, **config):
        """An image of two layers: some files, then one of them changed and one taken away."""
        with Store(self.settings) as store:
            below = None
            for number, content in enumerate(
                files or ({"etc/motd": b"hello\n", "old": b"x" * 5000}, {"etc/motd": b"bye\n"})
            ):
                active = store.snapshots.prepare(below)
                for name, data in content.items():
                    path = store.snapshots.directory(active) / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(data)
                    for each in (path, path.parent):
                        os.utime(each, (EPOCH, EPOCH))
                if number:
                    os.mknod(store.snapshots.directory(active) / "old", 0o600 | 0o020000, os.makedev(0, 0))
                os.utime(store.snapshots.directory(active), (EPOCH, EPOCH))
                below = store.snapshots.commit(active)
            whole = msgspec.structs.replace(
                empty_config(Platform("amd64", "linux")),
                created=rfc3339(EPOCH),
                config=ContainerConfig(cmd=("sh",), env=("PATH=/bin",), labels={"who": "me"}, **config),
                history=(
                    History(rfc3339(EPOCH), "COPY . /"),
                    History(rfc3339(EPOCH), 'CMD ["sh"]', empty_layer=True),
                    History(rfc3339(EPOCH), "RUN rm old" + " and more" * 20),
                ),
            )
            return store.images.create(whole, below, names=[parse_name(name) for name in names])

    def tree(self, text):
        """What an image's layers add, whiteouts included: from the diffs of its snapshots."""
        with Store(self.settings) as store:
            image = store.images.resolve(text)
            found = []
            for layer in image.layers:
                with (
                    store.images.open_diff(layer.diff_id) as stream,
                    tarfile.open(fileobj=io.BytesIO(stream.read())) as tar,
                ):
                    found.append({one.name: tar.extractfile(one).read() if one.isfile() else None for one in tar})
            return found


@pytest.fixture
def here(tmp_path):
    (tmp_path / "here").mkdir()
    return World(tmp_path / "here")


@pytest.fixture
def there(tmp_path):
    (tmp_path / "there").mkdir()
    return World(tmp_path / "there")


def skopeo(*words):
    done = subprocess.run(["skopeo", "--insecure-policy", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_listing_naming_and_removing(here):
    image = here.image("app:1")
    assert here.bennu("images").splitlines()[0].split() == ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]
    line = here.bennu("images").splitlines()[1]
    assert line.split()[:3] == ["app", "1", image.id[7:19]]
    assert "ago" in line
    here.bennu("tag", "app:1", "h.example:5000/other")
    assert here.bennu("image", "ls", "-q").split() == [image.id[7:19]]
    assert here.bennu("images", "--format", "{{.Repository}}:{{.Tag}}").split() == [
        "app:1",
        "h.example:5000/other:latest",
    ]
    assert here.bennu("images", "app", "--format", "{{.Tag}}").split() == ["1"]
    assert here.bennu("images", "-q", "--no-trunc", "-f", "label=who=me").split() == [image.id]
    assert here.bennu("images", "-q", "-f", "label=who=you") == ""
    assert here.bennu("images", "-q", "-f", "dangling=true") == ""
    assert "is not dangling=" in here.bennu("images", "-f", "nope=1", status=64)
    assert "2 names" in here.bennu("rmi", image.id[7:19], status=1)
    assert here.bennu("rmi", "app:1") == "Untagged: app:1\n"
    assert here.bennu("rmi", "h.example:5000/other").splitlines() == [
        "Untagged: h.example:5000/other:latest", f"Deleted: {image.id}",
    ]  # fmt: skip
    assert "error: image 'app:1' is not in the store" in here.bennu("rmi", "app:1", status=1)
    assert len(here.bennu("images").splitlines()) == 1


def test_history_and_inspect(here):
    image = here.image("app:1")
    lines = here.bennu("history", "app:1").splitlines()
    assert lines[0].split() == ["IMAGE", "CREATED", "CREATED", "BY", "SIZE", "COMMENT"]
    assert [line.split()[0] for line in lines[1:]] == [image.id[7:19], "<missing>", "<missing>"]
    assert "…" in lines[1]
    assert "and more and more" in here.bennu("history", "--no-trunc", "app:1")
    assert here.bennu("history", "-q", "--no-trunc", "app:1").split()[0] == image.id
    (found,) = json.loads(here.bennu("image", "inspect", "app:1"))
    assert found["Id"] == image.id
    assert found["RepoTags"] == ["app:1"]
    assert found["Config"]["Cmd"] == ["sh"]
    assert found["Config"]["Entrypoint"] is None
    assert found["RootFS"]["Layers"] == list(image.config.diff_ids)
    assert os.path.isdir(found["GraphDriver"]["Data"]["UpperDir"])
    assert (
        here.bennu("image", "inspect", "--format", "{{.Architecture}} {{index .Config.Env 0}}", "app:1")
        == "amd64 PATH=/bin\n"
    )
    assert "'nope'" in here.bennu("image", "inspect", "app:1", "nope", status=1)


def test_save_and_load_between_stores(here, there):
    image = here.image("app:1")
    path = here.path / "app.tar"
    here.bennu("save", "-o", str(path), "app:1")
    assert here.bennu("save", "app:1") == path.read_bytes()
    assert here.bennu("save", "app:1") == path.read_bytes()
    assert there.bennu("load", "-i", str(path)) == "Loaded image: app:1\n"
    assert there.tree("app:1") == here.tree("app:1")
    assert there.tree("app:1")[1] == {"etc": None, "etc/motd": b"bye\n", ".wh.old": b""}
    (found,) = json.loads(there.bennu("image", "inspect", "app:1"))
    assert found["Descriptor"]["digest"] == image.manifest
    assert there.bennu("load", "-q", stdin=gzip.compress(path.read_bytes())) == "Loaded image: app:1\n"
    stored = {name.name for name in (there.settings.blobs / "sha256").iterdir()}
    assert stored == {image.manifest[7:], image.id[7:]}, "the layers are snapshots, not blobs"
    assert os.listdir(there.settings.temporary) == []
    assert "'nope'" in here.bennu("save", "-o", str(here.path / "no.tar"), "app:1", "nope", status=1)
    assert sorted(os.listdir(here.path)) == ["app.tar", "root"]


def test_skopeo_reads_both_forms_of_what_is_saved(here, there):
    image = here.image("app:1")
    path = here.path / "app.tar"
    here.bennu("save", "-o", str(path), "app:1")
    for transport in ("oci-archive", "docker-archive"):
        found = json.loads(skopeo("inspect", f"{transport}:{path}"))
        assert found["Layers"] == list(image.config.diff_ids)
        assert found["Labels"] == {"who": "me"}
        config = skopeo("inspect", "--config", "--raw", f"{transport}:{path}")
        assert hashlib.sha256(config.encode()).hexdigest() == image.id[7:]
    assert json.loads(skopeo("inspect", f"oci-archive:{path}"))["Digest"] == image.manifest


@pytest.mark.parametrize("target", ["docker-archive:{path}:docker.io/library/app:2", "oci-archive:{path}:app:2"])
def test_what_skopeo_writes_is_loaded_and_leaves_as_it_came(here, there, target):
    image = here.image("app:1")
    ours, theirs = here.path / "app.tar", here.path / "theirs.tar"
    here.bennu("save", "-o", str(ours), "app:1")
    skopeo("copy", f"oci-archive:{ours}", target.format(path=theirs))
    assert there.bennu("load", "-i", str(theirs)) == "Loaded image: app:2\n"
    assert there.tree("app:2") == here.tree("app:1")
    (found,) = json.loads(there.bennu("image", "inspect", "app:2"))
    assert found["RootFS"]["Layers"] == list(image.config.diff_ids)
    again = there.path / "again.tar"
    there.bennu("save", "-o", str(again), "app:2")
    assert json.loads(skopeo("inspect", f"oci-archive:{again}"))["Labels"] == {"who": "me"}
    with tarfile.open(theirs) as tar:
        digests = {
            hashlib.sha256(tar.extractfile(one).read()).hexdigest()
            for one in tar
            if one.name.startswith("blobs/sha256/")
        }
    with tarfile.open(again) as tar:
        assert digests <= {one.name.rpartition("/")[2] for one in tar}


def test_a_layer_that_is_not_canonical_leaves_byte_for_byte(there):
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name in ("b", "a"):
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.uname = 3, 1.0, "somebody"
            tar.addfile(info, io.BytesIO(b"abc"))
    data = layer.getvalue()
    digest = hashlib.sha256(data).hexdigest()
    config = json.dumps(
        {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]}}
    ).encode()
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        manifest = json.dumps([{"Config": "c.json", "RepoTags": ["foreign:1"], "Layers": ["l.tar"]}]).encode()
        for name, content in (("manifest.json", manifest), ("c.json", config), ("l.tar", data)):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    there.bennu("load", stdin=archive.getvalue())
    assert there.tree("foreign:1") == [{"b": b"abc", "a": b"abc"}]
    with tarfile.open(fileobj=io.BytesIO(there.bennu("save", "foreign:1"))) as tar:
        assert tar.extractfile(f"blobs/sha256/{digest}").read() == data


def test_hostile_layers_change_nothing(there):
    there.image("app:1")
    before = {
        path for path in there.settings.root.rglob("*") if "bennu.db" not in path.name and path.parent.name != "locks"
    }
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        info = tarfile.TarInfo("x")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc"
        tar.addfile(info)
        info = tarfile.TarInfo("x/../../../../bennu-was-here")
        info.size = 1
        tar.addfile(info, io.BytesIO(b"x"))
    good = hashlib.sha256(layer.getvalue()).hexdigest()
    for data, diff_id in ((layer.getvalue(), "00" * 32), (layer.getvalue()[:700], good), (b"no tar" * 200, good)):
        config = json.dumps(
            {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id}"]}}
        ).encode()
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            manifest = json.dumps([{"Config": "c.json", "RepoTags": ["evil:1"], "Layers": ["l.tar"]}]).encode()
            for name, content in (("manifest.json", manifest), ("c.json", config), ("l.tar", data)):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        assert there.bennu("load", stdin=archive.getvalue(), status=1).startswith("error: ")
        assert len(there.bennu("images").splitlines()) == 2
        after = {
            path
            for path in there.settings.root.rglob("*")
            if "bennu.db" not in path.name and path.parent.name != "locks"
        }
        assert after == before
    assert not os.path.exists("/bennu-was-here")


def test_garbage_and_disk_use(here):
    first = here.image("app:1")
    here.bennu("tag", "app:1", "keep")
    second = here.image("app:1", files=({"other": b"y" * 10_000},) * 2)
    assert first.id != second.id
    table = here.bennu("system", "df")
    assert table.splitlines()[0].split() == ["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"]
    assert table.splitlines()[1].split()[:3] == ["Images", "2", "0"]
    assert [line.partition("  ")[0] for line in table.splitlines()[2:]] == [
        "Containers",
        "Local Volumes",
        "Volume Snapshots",
        "Build Cache",
    ]
    assert here.bennu("gc").splitlines()[-1] == "Total reclaimed space: 0B"
    time.sleep(0.1)  # what is younger than a tick of the kernel's clock is spared
    here.bennu("rmi", "keep", "app:1")
    assert os.listdir(here.settings.snapshots) == []
    assert list((here.settings.blobs / "sha256").iterdir()) == []
