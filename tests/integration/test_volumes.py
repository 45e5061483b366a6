"""Volumes by themselves: made, listed, removed, backed up, restored; devices; and copies that keep everything."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bennu.config import Settings
from bennu.errors import Conflict, Corrupt, Unsupported
from bennu.host import btrfs, syscalls
from bennu.host.files import remove_tree
from bennu.host.tree_copy import TreeCopy, can_share
from bennu.runtime.volume_archives import back_up, restore
from bennu.runtime.volume_changes import changes_since
from bennu.runtime.volume_snapshots import VolumeSnapshots, copy_of
from bennu.runtime.volumes import Volumes
from bennu.store.database import Database
from bennu.wiring import Runtime
from tests.integration.run_world import World, assert_nothing_left, processes_of

pytestmark = pytest.mark.root

MIB = 1 << 20
ANY = (1 << 32) - 1


def fill(place: Path) -> None:
    """One of everything."""
    (place / "sub").mkdir(mode=0o2750)
    (place / "empty").touch()
    (place / "big").write_bytes(os.urandom(1 << 17) * 3)
    os.chmod(place / "big", 0o4711)
    os.chown(place / "big", 1234, 5678)
    os.link(place / "big", place / "sub" / "again")
    with open(place / "sparse", "wb") as file:
        file.seek(5 * MIB)
        file.write(b"in the middle")
        file.truncate(9 * MIB)
    with open(place / "hole", "wb") as file:
        file.truncate(3 * MIB)
    os.symlink("/nowhere/at/all", place / "sub" / "link")
    os.lchown(place / "sub" / "link", 7, 8)
    os.mkfifo(place / "pipe", 0o620)
    os.mknod(place / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(place / "gone", stat.S_IFCHR, os.makedev(0, 0))
    (place / ".wh.literal").write_text("a name like any other")
    (place / ("long" * 40)).write_text("a name beyond ustar's")
    (place / "žluťoučký\n").write_text("a name beyond ASCII")
    os.setxattr(place / "big", "user.note", b"kept\0bytes")
    os.setxattr(place / "sub", "trusted.note", b"of root")
    acl = (2).to_bytes(4, "little") + b"".join(
        tag.to_bytes(2, "little") + bits.to_bytes(2, "little") + who.to_bytes(4, "little")
        for tag, bits, who in (
            (1, 6, 2**32 - 1),
            (2, 4, 1000),
            (4, 4, 2**32 - 1),
            (16, 4, 2**32 - 1),
            (32, 0, 2**32 - 1),
        )
    )
    os.setxattr(place / "empty", "system.posix_acl_access", acl)
    os.utime(place / "empty", ns=(1_000_000_000_123_456_789, 1_234_567_890_123_456_789))
    os.utime(place / "sub", ns=(5, 999_999_999_000_000_001))
    os.chown(place, 33, 44)
    os.chmod(place, 0o1770)


def seen(place: Path) -> dict[str, tuple[object, ...]]:
    """All that can be seen of a tree, holes by their blocks."""
    found: dict[str, tuple[object, ...]] = {}
    links: dict[int, str] = {}
    for path in [place, *sorted(place.rglob("*"))]:
        status = path.lstat()
        name = str(path.relative_to(place))
        content: object = None
        if stat.S_ISREG(status.st_mode):
            content = (hashlib.sha256(path.read_bytes()).hexdigest(), links.setdefault(status.st_ino, name))
        elif stat.S_ISLNK(status.st_mode):
            content = os.readlink(path)
        attributes = {
            one: os.getxattr(path, one, follow_symlinks=False) for one in os.listxattr(path, follow_symlinks=False)
        }
        size = status.st_size if not stat.S_ISDIR(status.st_mode) else 0
        is_sparse = stat.S_ISREG(status.st_mode) and status.st_blocks * 512 < size
        found[name] = (
            status.st_mode, status.st_uid, status.st_gid, size, status.st_mtime_ns, status.st_rdev, content, attributes,
            is_sparse,
        )  # fmt: skip
    return found


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    place = tmp_path / "tree"
    place.mkdir()
    fill(place)
    return place


def test_a_copy_keeps_everything(tree: Path, tmp_path: Path):
    target = tmp_path / "copy"
    target.mkdir()
    copy = TreeCopy(tree, target)
    copy.run()
    assert seen(target) == seen(tree)
    assert copy.run().entries == 0 or seen(target) == seen(tree)


def test_the_second_run_finds_all_that_changed(tree: Path, tmp_path: Path):
    target = tmp_path / "copy"
    target.mkdir()
    copy = TreeCopy(tree, target)
    copy.run()
    (tree / "empty").write_text("not any more")
    (tree / "pipe").unlink()
    (tree / "pipe").mkdir()
    (tree / "pipe" / "inside").write_text("a directory now")
    remove_tree(tree / "sub")
    (tree / "sub").write_text("a file now")
    with open(tree / "big", "r+b") as file:
        file.seek(100)
        file.write(b"changed in place")
    os.link(tree / "big", tree / "pipe" / "third")
    os.rename(tree / "sparse", tree / "renamed")
    os.setxattr(tree / "hole", "user.new", b"1")
    copy.run()
    assert seen(target) == seen(tree)
    assert changes_since(tree, target)[:3] == (0, 0, 0)


def test_a_copy_that_is_stopped_ends(tree: Path, tmp_path: Path):
    (tmp_path / "copy").mkdir()
    with pytest.raises(Exception, match="cancelled"):
        TreeCopy(tree, tmp_path / "copy", stopped=lambda: True).run()


@pytest.fixture
def store(root_settings: Settings) -> Iterator[tuple[Volumes, VolumeSnapshots]]:
    database = Database(root_settings.database)
    volumes = Volumes(root_settings, database)
    yield volumes, VolumeSnapshots(volumes, database)
    database.close()
    remove_tree(root_settings.run)


def archive(place: Path) -> bytes:
    sink = io.BytesIO()
    back_up(place, sink)
    return sink.getvalue()


def test_an_archive_keeps_everything(tree: Path, store):
    volumes, snapshots = store
    data = volumes.ensure("data")
    (data.path / "old").write_text("goes")
    written = archive(tree)
    assert len(written) < MIB
    restore(snapshots, data, io.BytesIO(written), "it")
    assert seen(data.path) == seen(tree)
    assert os.listdir(volumes.place("data") / "snapshots") == []


def test_other_tools_read_it_and_are_read(tree: Path, tmp_path: Path, store):
    volumes, snapshots = store
    (tmp_path / "out").mkdir()
    (tree / "gone").unlink()
    os.removexattr(tree / "empty", "system.posix_acl_access")  # of ACLs each tool has a form of its own
    (tmp_path / "a.tar.zst").write_bytes(archive(tree))
    tar = ["tar", "--zstd", "--xattrs", "--xattrs-include=*", "--acls", "-p"]
    subprocess.run([*tar, "-xf", tmp_path / "a.tar.zst", "-C", tmp_path / "out"], check=True, capture_output=True)
    assert seen(tmp_path / "out") == seen(tree)
    for flags in (["--zstd"], ["--gzip"], []):
        subprocess.run(
            ["tar", *flags, "--sparse", "--format=posix", "-cf", tmp_path / "b", "-C", tree, "."], check=True
        )
        data = volumes.ensure("data")
        with (tmp_path / "b").open("rb") as stream:
            restore(snapshots, data, stream, "it")
        assert {name: one[:4] for name, one in seen(data.path).items()} == {n: o[:4] for n, o in seen(tree).items()}


def test_what_is_cut_or_damaged_touches_nothing(tree: Path, store):
    volumes, snapshots = store
    data = volumes.ensure("data")
    (data.path / "old").write_text("stays")
    written = archive(tree)
    plain = subprocess.run(["tar", "-b1", "-cf", "-", "-C", tree, "big"], stdout=subprocess.PIPE, check=True).stdout
    for bad in (
        written[:-1], written[: len(written) // 2], written[:-10] + bytes(10), b"no archive at all", b"",
        plain[:-1024],
    ):  # fmt: skip
        with pytest.raises(Corrupt, match=r"backup\.tar\.zst"):
            restore(snapshots, data, io.BytesIO(bad), "archive 'backup.tar.zst'")
        assert os.listdir(data.path) == ["old"]
        assert os.listdir(volumes.place("data") / "snapshots") == []


def test_an_archive_leads_nowhere_out(store, tmp_path: Path):
    volumes, snapshots = store
    data = volumes.ensure("data")
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "in").mkdir()
    os.symlink(outside, tmp_path / "in" / "way")
    subprocess.run(["tar", "-cf", tmp_path / "evil", "-C", tmp_path / "in", "way"], check=True)
    (tmp_path / "in" / "way").unlink()
    (tmp_path / "in" / "way").mkdir()
    (tmp_path / "in" / "way" / "file").write_text("through the link")
    subprocess.run(["tar", "-rf", tmp_path / "evil", "-C", tmp_path / "in", "way/file"], check=True)
    with (tmp_path / "evil").open("rb") as stream:
        restore(snapshots, data, stream, "it")
    assert os.listdir(outside) == []


def test_rests_of_the_dead_go_and_work_under_way_stays(store):
    volumes, snapshots = store
    data = volumes.ensure("data")
    (data.path / "a").write_text("a")
    dead = snapshots.begin(data)
    dead.release()
    taken = snapshots.begin(data)
    assert len(os.listdir(snapshots.directory("data"))) == 1  # that of the dead is gone
    with pytest.raises(Conflict, match="being snapshotted"):
        snapshots.begin(data)
    assert snapshots.sweep(lambda _name: False) == 0
    taken.take()
    made = snapshots.record(taken, project="shop", revision=1, rollout=2, consistency="stopped")
    assert snapshots.walk() == (made,)
    assert (snapshots.path(made) / "a").read_text() == "a"
    assert snapshots.sweep(lambda _name: False) == 0
    with pytest.raises(Conflict, match="has a snapshot"):
        volumes.remove("data", snapshots=False)
    volumes.remove("data")
    assert snapshots.walk() == ()
    assert not volumes.place("data").exists()


@pytest.fixture
def mounted(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A file system of a kind in a file."""
    disk, place = tmp_path / "disk", tmp_path / "mounted"
    place.mkdir()
    with disk.open("wb") as file:
        file.truncate(400 * MIB)
    made = {"xfs": ["-q"], "btrfs": ["-q"], "ext4": ["-q", "-F"]}[request.param]
    subprocess.run([f"mkfs.{request.param}", *made, disk], check=True, capture_output=True)
    subprocess.run(["mount", "-o", "loop", disk, place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize(("mounted", "method"), [("xfs", "reflink"), ("btrfs", "subvolume")], indirect=["mounted"])
def test_data_are_shared_where_the_file_system_can(mounted: Path, method: str):
    settings = Settings.from_environ({"BENNU_ROOT": str(mounted / "root")})
    with Runtime(settings) as runtime:
        volumes = runtime.containers.volumes
        snapshots = VolumeSnapshots(volumes, runtime.database)
        data = volumes.ensure("data")
        fill(data.path)
        (data.path / "large").write_bytes(os.urandom(MIB) * 100)
        assert can_share(data.path)
        assert snapshots.cost(data).method == method
        assert btrfs.is_subvolume(data.path) == (method == "subvolume")
        os.sync()
        free = shutil.disk_usage(mounted).free
        draft = snapshots.begin(data)
        draft.take()
        made = snapshots.record(draft, project="shop", revision=1, rollout=2, consistency="atomic")
        os.sync()
        assert free - shutil.disk_usage(mounted).free < 20 * MIB
        assert seen(snapshots.path(made)) == seen(data.path)
        before = seen(data.path)
        with open(data.path / "large", "r+b") as file:
            file.write(b"written in place")
        assert seen(snapshots.path(made)) == before
        copy_of(snapshots.path(made), snapshots.directory("data") / "copy")
        assert seen(snapshots.directory("data") / "copy") == before
        syscalls.exchange(data.path, snapshots.directory("data") / "copy")
        back = seen(data.path)
        assert {name: back[name] for name in back if name != "."} == {n: before[n] for n in before if n != "."}
        assert snapshots.sweep(lambda _name: False) == 1
        volumes.remove("data")
        assert os.listdir(settings.volumes) == []
    remove_tree(settings.run)


@pytest.fixture
def box(root_settings: Settings, tmp_path: Path) -> Iterator[World]:
    with Runtime(root_settings) as runtime:
        world = World(root_settings, runtime)
        world.image()
        try:
            yield world
        finally:
            for container in world.containers.list():
                world.containers.remove(container.id, force=True, volumes=True)
    assert_nothing_left(root_settings)
    assert processes_of(root_settings) == []
    remove_tree(root_settings.run)


def bennu(box: World, *words: str, given: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        box.argv(*words), capture_output=True, env=box.environ, input=given, timeout=60, check=False, cwd="/"
    )


def run(box: World, *words: str) -> str:
    done = bennu(box, "run", "--rm", "--network", "none", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


def test_the_life_of_a_volume(box: World, tmp_path: Path):
    assert bennu(box, "volume", "create", "--label", "team=web", "data").stdout == b"data\n"
    assert bennu(box, "volume", "create", "data").stdout == b"data\n"
    anonymous = bennu(box, "volume", "create").stdout.decode().strip()
    assert len(anonymous) == 64
    run(box, "-v", "data:/data", "box", "sh", "-c", "echo first > /data/a; chmod 700 /data/a")
    listed = bennu(box, "volume", "ls", "-q", "--filter", "label=team=web").stdout
    assert listed == b"data\n"
    (shown,) = json.loads(bennu(box, "volume", "inspect", "data").stdout)
    assert (shown["Name"], shown["Labels"], shown["Containers"]) == ("data", {"team": "web"}, [])
    file = tmp_path / "data.tar.zst"
    assert bennu(box, "volume", "backup", "data", str(file)).returncode == 0
    written = bennu(box, "volume", "backup", "data", "-").stdout
    run(box, "-v", "data:/data", "box", "sh", "-c", "echo second > /data/a; touch /data/b")
    assert b"--yes" in bennu(box, "volume", "restore", "data", str(file)).stderr  # there is nobody to ask
    assert bennu(box, "volume", "restore", "--yes", "data", str(file)).returncode == 0
    assert run(box, "-v", "data:/data", "box", "sh", "-c", "cat /data/a; ls /data") == "first\na\n"
    assert bennu(box, "volume", "restore", "other", "-", given=written).returncode == 0
    assert run(box, "-v", "other:/data", "box", "cat", "/data/a") == "first\n"
    assert bennu(box, "volume", "prune", "--yes").stdout.decode().splitlines()[0] == anonymous
    assert bennu(box, "volume", "rm", "data", "other").stdout == b"data\nother\n"
    assert b"does not exist" in bennu(box, "volume", "rm", "data").stderr
    assert bennu(box, "volume", "rm", "--force", "data").returncode == 0
    assert bennu(box, "volume", "ls", "-q").stdout == b""


def test_who_runs_keeps_what_was_there(box: World, tmp_path: Path):
    file = tmp_path / "data.tar.zst"
    bennu(box, "volume", "create", "data")
    bennu(box, "volume", "backup", "data", str(file))
    run_it = ("run", "-d", "--name", "user", "--network", "none", "-v", "data:/data", "box", "sh", "-c")
    assert bennu(box, *run_it, "echo old > /data/a; sleep 1000").returncode == 0
    refused = bennu(box, "volume", "restore", "--yes", "data", str(file))
    assert b"volume 'data' is mounted by user" in refused.stderr
    assert b"mounted by" in bennu(box, "volume", "rm", "data").stderr
    forced = bennu(box, "volume", "restore", "--yes", "--force", "data", str(file))
    assert b"user goes on with the old data" in forced.stderr
    assert bennu(box, "exec", "user", "cat", "/data/a").stdout == b"old\n"
    assert bennu(box, "gc").returncode == 0
    assert bennu(box, "exec", "user", "cat", "/data/a").stdout == b"old\n"
    bennu(box, "rm", "-f", "user")
    assert b"leftover" in bennu(box, "gc").stdout
    assert os.listdir(box.settings.volumes / "data" / "snapshots") == []
    assert run(box, "-v", "data:/data", "box", "ls", "/data") == ""


@pytest.mark.parametrize("mounted", ["ext4"], indirect=True)
def test_a_block_device_is_seen_by_its_containers_only(box: World, mounted: Path, tmp_path: Path):
    (mounted / "there").write_text("already")
    (loop,) = [line.split()[0] for line in Path("/proc/mounts").read_text().splitlines() if str(mounted) in line]
    made = bennu(box, "volume", "create", "-o", "type=ext4", "-o", f"device={loop}", "disk")
    assert made.returncode == 0, made.stderr
    assert run(box, "-v", "disk:/data", "box", "sh", "-c", "cat /data/there; echo new > /data/made") == "already"
    assert (mounted / "made").read_text() == "new\n"
    assert os.listdir(box.settings.volumes / "disk" / "_data") == []
    directory = tmp_path / "directory"
    directory.mkdir()
    bennu(box, "volume", "create", "-o", "o=bind,ro", "-o", f"device={directory}", "dir")
    refused = bennu(box, "run", "--rm", "--network", "none", "-v", "dir:/data", "box", "touch", "/data/a")
    assert b"Read-only" in refused.stderr
    file = str(tmp_path / "disk.tar.zst")
    assert bennu(box, "volume", "backup", "disk", file).returncode == 0
    assert b"nothing can take the place of" in bennu(box, "volume", "restore", "disk", file).stderr
    with pytest.raises(Unsupported, match="cannot be snapshotted"):
        VolumeSnapshots(box.containers.volumes, box.runtime.database).cost(box.containers.volumes.get("disk"))
    for words, said in (
        (("-o", "type=tmpfs", "-o", "device=tmpfs"), b"--tmpfs"), (("-o", "size=1"), b"option 'size'"),
        (("-o", "device=relative", "-o", "type=ext4"), b"not an absolute path"), (("-o", "device=/x"), b"'bind'"),
    ):  # fmt: skip
        assert said in bennu(box, "volume", "create", *words, "bad").stderr
    gone = bennu(box, "volume", "create", "-o", "type=ext4", "-o", "device=/dev/no-such-disk", "gone")
    assert gone.returncode == 0  # as with Docker, it is looked at when it is mounted
    failed = bennu(box, "run", "--rm", "--network", "none", "-v", "gone:/data", "box", "true")
    assert b"volume device '/dev/no-such-disk' cannot be mounted" in failed.stderr
