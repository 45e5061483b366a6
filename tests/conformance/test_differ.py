"""The contract of ``store.base.Differ``: apply undoes diff, byte for byte, over random trees made through mounts."""

import io
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bennu.config import Settings
from bennu.host.mounts import attached
from bennu.store.database import Database
from bennu.store.differ import OverlayDiffer
from bennu.store.snapshots import Snapshots

pytestmark = pytest.mark.root

NAMES = ["a", "a", "a", "b", "é", "n" * 130, " x\n"]
PATHS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)
CONTENT = st.binary(max_size=40) | st.sampled_from([b"", b"z" * 70_000])
LOOKS = st.tuples(
    st.sampled_from([0o644, 0o755, 0o4711, 0o1777, 0]),
    st.sampled_from([0, 1000, 3_000_000]),
    st.sampled_from([0, 7, 3_000_000]),
    st.sampled_from([0, 1, 10**9, 2**33 + 1]),
)
XATTRS = st.sampled_from([{}, {"user.x": b"1", "trusted.y": b"\0\n"}, {"security.capability": b"\1\0\0\2" + bytes(16)}])
CHANGES = st.one_of(
    st.tuples(st.just("file"), PATHS, CONTENT, LOOKS, XATTRS),
    st.tuples(st.just("directory"), PATHS, LOOKS, XATTRS),
    st.tuples(st.just("remove"), PATHS),
    st.tuples(st.just("symlink"), PATHS, st.sampled_from(["a", "/nowhere/c", "../../x", "é", "t" * 120]), LOOKS),
    st.tuples(st.just("link"), PATHS, PATHS),
    st.tuples(st.just("rename"), PATHS, PATHS),
    st.tuples(st.just("node"), PATHS, st.sampled_from([stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK]), LOOKS),
)
STORIES = st.lists(st.lists(CHANGES, max_size=8), min_size=1, max_size=4)


class World:
    """One store, and a place to see its trees at."""

    def __init__(self, base: Path, stack: ExitStack):
        own = Settings(base / "root", base / "run")
        self.snapshots = Snapshots(own, stack.enter_context(Database(own.database)))
        self.differ = OverlayDiffer(self.snapshots)
        self.place = base / "mnt"
        self.place.mkdir(parents=True)

    def layer(self, snapshot):
        sink = io.BytesIO()
        info = self.differ.diff(snapshot, sink)
        assert info == self.differ.diff(snapshot)
        assert info.size_bytes == len(sink.getvalue())
        return sink.getvalue()

    def apply(self, data, parent):
        active = self.snapshots.prepare(parent)
        info = self.differ.apply(io.BytesIO(data), active)
        assert info.size_bytes == len(data)
        return self.snapshots.commit(active)

    def make(self, changes, parent):
        active = self.snapshots.prepare(parent)
        with attached(self.snapshots.mounts(active), self.place):
            for change in changes:
                perform(self.place, *change)
        return self.snapshots.commit(active)

    def see(self, snapshot):
        with attached(self.snapshots.mounts(snapshot), self.place):
            return listing(self.place)


def perform(root, verb, path, *rest):
    """Change a tree; what cannot be done there is left."""
    target = root / path
    try:
        match verb:
            case "file":
                # never through a link to elsewhere, and without waiting for a fifo's reader
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK
                with open(os.open(target, flags), "wb") as file:
                    file.write(rest[0])
                dress(target, rest[1], rest[2])
            case "directory":
                target.mkdir()
                dress(target, rest[0], rest[1])
            case "remove":
                shutil.rmtree(target) if target.is_dir() and not target.is_symlink() else target.unlink()
            case "symlink":
                target.symlink_to(rest[0])
                os.chown(target, rest[1][1], rest[1][2], follow_symlinks=False)
            case "link":
                os.link(root / rest[0], target, follow_symlinks=False)
            case "rename":
                target.rename(root / rest[0])
            case "node":
                os.mknod(target, rest[0] | 0o600, os.makedev(1, 3))
                dress(target, rest[1], {})
    except OSError:
        pass


def dress(target, looks, xattrs):
    mode, uid, gid, mtime = looks
    os.chown(target, uid, gid, follow_symlinks=False)
    os.chmod(target, mode)
    for key, value in xattrs.items():
        os.setxattr(target, key, value, follow_symlinks=False)
    os.utime(target, ns=(0, mtime * 10**9 + 123), follow_symlinks=False)


def listing(root, xattrs=True):
    """All that a tree is: by path, with whole seconds, without sockets (no archive has them) and the root's time."""
    found, inodes = {}, {}
    for path in [root, *sorted(root.rglob("*"))]:
        status = path.lstat()
        if stat.S_ISSOCK(status.st_mode):
            continue
        attributes = {
            key: os.getxattr(path, key, follow_symlinks=False)
            for key in os.listxattr(path, follow_symlinks=False)
            if not key.startswith(("trusted.overlay.", "security.selinux")) and xattrs
        }
        content = b""
        if stat.S_ISREG(status.st_mode):
            content = path.read_bytes()
        elif path.is_symlink():
            content = os.readlink(path)
        is_directory = stat.S_ISDIR(status.st_mode)
        found[str(path.relative_to(root))] = (
            oct(status.st_mode), status.st_uid, status.st_gid, status.st_rdev, content, attributes,
            0 if path == root else status.st_mtime_ns // 10**9,
            None if is_directory else inodes.setdefault((status.st_dev, status.st_ino), str(path.relative_to(root))),
        )  # fmt: skip
    return found


@pytest.fixture(scope="module")
def base():
    """Somewhere that overlayfs can stand on and that forgets fast."""
    place = tempfile.mkdtemp(prefix="bennu-differ-", dir="/dev/shm")
    yield Path(place)
    shutil.rmtree(place)


@given(STORIES)
@settings(deadline=None, max_examples=60)
def test_apply_undoes_diff_and_the_other_way_round(base, story):
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=base)))
        here, there = World(place / "here", stack), World(place / "there", stack)
        source = copy = None
        for changes in story:
            source = here.make(changes, source)
            data = here.layer(source)
            copy = there.apply(data, copy)
            assert there.see(copy) == here.see(source)
            assert there.layer(copy) == data
            assert len(names(data)) == len(set(names(data)))


@given(st.lists(CHANGES, max_size=12))
@settings(deadline=None, max_examples=25)
def test_gnu_tar_unpacks_the_same(base, changes):
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=base)))
        here = World(place / "here", stack)
        snapshot = here.make(changes, None)
        theirs = place / "theirs"
        theirs.mkdir()
        theirs.chmod(0o755)
        command = ["tar", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf", "-", "-C", str(theirs)]
        subprocess.run(command, input=here.layer(snapshot), check=True, capture_output=True)
        assert listing(theirs) == here.see(snapshot)


@pytest.fixture
def world(tmp_path):
    with ExitStack() as stack:
        yield World(tmp_path, stack)


def names(data):
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return [info.name + "/" * info.isdir() for info in tar]


def plain(path, content=b""):
    return ("file", path, content, (0o644, 0, 0, 5), {})


def folder(path):
    return ("directory", path, (0o755, 0, 0, 5), {})


def test_a_layer_has_what_changed_in_order(world):
    first = world.make([folder("b"), plain("b/z"), plain("b/a"), plain("a"), plain("b!"), plain("c")], None)
    assert names(world.layer(first)) == ["a", "b/", "b/a", "b/z", "b!", "c"]
    second = world.make([("remove", "a"), plain("b/new"), ("remove", "b/z")], first)
    assert names(world.layer(second)) == [".wh.a", "b/", "b/new", "b/.wh.z"]


def test_new_directories_are_not_said_to_hide_anything(world):
    first = world.make([folder("old"), plain("old/x")], None)
    second = world.make([folder("new"), plain("new/x"), ("remove", "old"), folder("old")], first)
    assert names(world.layer(second)) == ["new/", "new/x", "old/", "old/.wh..wh..opq"]


def test_what_is_made_in_the_directory_itself_gives_the_same_layer(world):
    """A COPY writes without a mount, a RUN through one: the same files must be the same layer."""
    first = world.make([folder("old"), plain("old/x")], None)
    mounted = world.make([folder("new"), plain("new/x", b"1"), folder("new")], first)
    active = world.snapshots.prepare(first)
    perform(world.snapshots.directory(active), *folder("new"))
    perform(world.snapshots.directory(active), *plain("new/x", b"1"))
    for snapshot in (mounted, direct := world.snapshots.commit(active)):
        os.utime(world.snapshots.directory(snapshot) / "new", (9, 9))
    assert world.layer(mounted) == world.layer(direct)


def test_the_root_is_an_entry_only_where_it_changed(world):
    first = world.make([plain("a")], None)
    active = world.snapshots.prepare(first)
    with attached(world.snapshots.mounts(active), world.place):
        os.chmod(world.place, 0o711)
    second = world.snapshots.commit(active)
    third = world.make([plain("b")], second)
    assert [names(world.layer(each))[0] for each in (first, second, third)] == ["a", "./", "b"]


def test_hard_links_of_a_lower_file_come_whole(world):
    first = world.make([plain("a", b"1"), ("link", "b", "a")], None)
    second = world.make([("link", "c", "a")], first)
    data = world.layer(second)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert [(info.name, info.type) for info in tar] == [("a", tarfile.REGTYPE), ("c", tarfile.LNKTYPE)]


def test_memory_does_not_grow_with_a_file(world):
    active = world.snapshots.prepare(None)
    with open(world.snapshots.directory(active) / "big", "wb") as file:
        file.truncate(1 << 30)
    snapshot = world.snapshots.commit(active)
    script = """
import resource, sys
from pathlib import Path
from bennu.config import Settings
from bennu.store.database import Database
from bennu.store.differ import OverlayDiffer
from bennu.store.snapshots import Snapshots
own = Settings(Path(sys.argv[1]), Path(sys.argv[2]))
snapshots = Snapshots(own, Database(own.database))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
OverlayDiffer(snapshots).diff(snapshots.stat(sys.argv[3]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    root = world.snapshots._settings
    argv = [sys.executable, "-c", script, str(root.root), str(root.run), snapshot.id]
    done = subprocess.run(argv, capture_output=True, check=True, text=True)
    assert int(done.stdout) < 40_000  # KiB
