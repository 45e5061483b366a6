"""Files: all or nothing, to the last one, and never outside the root."""

import errno
import os
import threading
from pathlib import Path

import pytest

from bennu.host import files


@pytest.fixture
def root(tmp_path):
    (tmp_path / "root").mkdir()
    fd = os.open(tmp_path / "root", os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


@pytest.fixture
def tree(tmp_path):
    return tmp_path / "root"


def test_write_atomic_replaces_whole_and_leaves_no_other_file(tmp_path):
    path = tmp_path / "f"
    files.write_atomic(path, b"1")
    files.write_atomic(path, b"22", mode=0o600, durable=False)
    assert path.read_bytes() == b"22"
    assert path.stat().st_mode & 0o7777 == 0o600
    assert os.listdir(tmp_path) == ["f"]


def test_write_atomic_gives_its_mode_whatever_the_umask(tmp_path):
    old = os.umask(0o077)
    try:
        files.write_atomic(tmp_path / "f", b"1")
    finally:
        os.umask(old)
    assert (tmp_path / "f").stat().st_mode & 0o7777 == 0o644


def test_write_atomic_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    files.write_atomic(tmp_path / "f", b"old")

    def failing(fd):
        raise OSError(errno.EIO, "broken disk")

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(OSError, match="broken disk"):
        files.write_atomic(tmp_path / "f", b"new")
    assert os.listdir(tmp_path) == ["f"]
    assert (tmp_path / "f").read_bytes() == b"old"


def test_a_reader_sees_the_old_or_the_new(tmp_path):
    path, seen = tmp_path / "f", set()
    files.write_atomic(path, b"a" * 5000, durable=False)
    done = threading.Event()

    def look():
        while not done.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=look)
    reader.start()
    for number in range(200):
        files.write_atomic(path, b"ab"[number % 2 :][:1] * 5000, durable=False)
    done.set()
    reader.join()
    assert seen <= {b"a" * 5000, b"b" * 5000}


def test_a_temporary_directory_is_gone_with_all_in_it(tmp_path):
    with pytest.raises(RuntimeError), files.temporary_directory(tmp_path / "new", "work") as path:
        assert path.parent == tmp_path / "new"
        assert path.stat().st_mode & 0o7777 == 0o700
        (path / "d/e").mkdir(parents=True)
        (path / "d/e/f").touch()
        raise RuntimeError
    assert os.listdir(tmp_path / "new") == []


def test_remove_tree_takes_all_and_follows_no_link(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    top = tmp_path / "top"
    (top / "a/b").mkdir(parents=True)
    (top / "a/link").symlink_to(outside)
    (top / "a/b/f").touch()
    os.mkfifo(top / "fifo")
    files.remove_tree(top)
    assert not top.exists()
    assert (outside / "kept").exists()


def test_remove_tree_of_a_file_a_link_and_nothing(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "link").symlink_to("kept")
    (tmp_path / "f").touch()
    for name in ("f", "link", "missing", "f/below"):
        files.remove_tree(tmp_path / name)
    assert os.listdir(tmp_path) == ["kept"]


def test_remove_tree_takes_what_nests_deeper_than_any_path(tmp_path):
    top = tmp_path / "top"
    top.mkdir()
    fd = os.open(top, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d" * 10, dir_fd=fd)
        below = os.open("d" * 10, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)
    files.remove_tree(top)
    assert not top.exists()


def test_two_who_remove_the_same_tree_do_not_disturb_each_other(tmp_path):
    for _ in range(5):
        top = tmp_path / "top"
        for number in range(40):
            (top / f"d{number}").mkdir(parents=True)
            for each in range(10):
                (top / f"d{number}/f{each}").touch()
        failures = []

        def remove(top=top, failures=failures):
            try:
                files.remove_tree(top)
            except OSError as error:
                failures.append(error)

        threads = [threading.Thread(target=remove) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert not top.exists()


@pytest.mark.parametrize("target", ["/etc", "../../../../etc", "/proc/self/root/etc", "{outside}"])
def test_a_root_is_never_left(tmp_path, root, tree, target):
    (tmp_path / "outside").mkdir()
    (tree / "link").symlink_to(target.format(outside=tmp_path / "outside"))
    for path in ("link", "link/passwd", "/link/passwd", "../../etc/passwd", "link/../../etc/passwd"):
        with pytest.raises(FileNotFoundError):
            files.open_in_root(root, path, os.O_RDONLY)
    assert files.read_in_root(tree, "link/passwd") is None


def test_what_a_path_names_is_the_same_whichever_way_it_is_opened(root, tree):
    (tree / "d/e").mkdir(parents=True)
    (tree / "d/e/f").write_text("1")
    (tree / "link").symlink_to("d")
    (tree / "f").write_text("2")

    def look(path: str, flags: int) -> tuple[int, int] | int | None:
        try:
            fd = files.open_in_root(root, path, flags)
        except OSError as error:
            return error.errno
        status = os.fstat(fd)
        os.close(fd)
        return status.st_dev, status.st_ino

    slow = os.O_PATH | os.O_CLOEXEC
    assert slow != os.O_PATH
    for path in (
        "d",
        "/d/e/f",
        "d/./e",
        "link",
        "link/e/f",
        "d/../f",
        "..",
        "f/",
        "f/.",
        "f/x",
        "d/",
        "missing",
        "/",
        ".",
    ):
        assert look(path, os.O_PATH) == look(path, slow), path


def test_magic_links_are_refused(root, tree):
    (tree / "link").symlink_to("real")
    (tree / "real").write_text("1")
    with os.fdopen(files.open_in_root(root, "/link", os.O_RDONLY)) as file:
        assert file.read() == "1"


def test_read_in_root_reads_small_regular_files_only(tree, root):
    (tree / "f").write_bytes(b"12345")
    (tree / "d").mkdir()
    os.mkfifo(tree / "fifo")
    assert files.read_in_root(tree, "f") == b"12345"
    assert files.read_in_root(tree, "f", limit_bytes=2) == b"12"
    assert [files.read_in_root(tree, name) for name in ("d", "fifo", "missing", "f/x")] == [None] * 4


def made(root, path, **options):
    os.close(files.make_directories_in_root(root, path, **options))


def test_directories_are_made_inside_with_their_mode(root, tree):
    old = os.umask(0o077)
    try:
        made(root, "/a/./b//c")
        made(root, "a/b/c/../d", mode=0o1700)
    finally:
        os.umask(old)
    assert (tree / "a").stat().st_mode & 0o7777 == 0o755
    assert (tree / "a/b/d").stat().st_mode & 0o7777 == 0o1700


def test_directories_are_made_through_links_and_where_they_lead(root, tree, tmp_path):
    (tree / "real").mkdir()
    (tree / "to").symlink_to("real")
    (tree / "nowhere").symlink_to("/data/deep")
    (tree / "relative").symlink_to("../../x")
    (tree / "out").symlink_to(tmp_path / "outside")
    for path in ("to/a", "nowhere/b", "real/../relative/c", "out/d"):
        made(root, path)
    assert (tree / "real/a").is_dir()
    assert (tree / "data/deep/b").is_dir()
    assert (tree / "x/c").is_dir()
    assert (tree / str(tmp_path).lstrip("/") / "outside/d").is_dir()
    assert not (tmp_path / "outside").exists()


def test_what_is_in_the_way_is_said(root, tree):
    (tree / "f").touch()
    (tree / "a").symlink_to("b")
    (tree / "b").symlink_to("a")
    with pytest.raises(NotADirectoryError):
        made(root, "f/x")
    with pytest.raises(OSError, match="symbolic links"):
        made(root, "a/x")


def test_no_descriptor_is_left_open(root, tree):
    (tree / "nowhere").symlink_to("/data/deep")
    (tree / "f").touch()
    before = len(os.listdir("/proc/self/fd"))
    made(root, "nowhere/a/b/c")
    with pytest.raises(NotADirectoryError):
        made(root, "a/b/../../f/x")
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("size", [0, 1, 4096, 3_000_001])
def test_copy_range_copies_between_file_systems_too(tmp_path, size):
    content = os.urandom(size)
    (tmp_path / "from").write_bytes(content)
    for place in (tmp_path, Path("/dev/shm")):
        target = place / f"bennu-copy-{os.getpid()}"
        try:
            with open(tmp_path / "from", "rb") as source, open(target, "wb") as sink:
                files.copy_range(source.fileno(), sink.fileno(), size)
            assert target.read_bytes() == content
        finally:
            target.unlink()


def test_sync_file_system_works_on_files_and_directories(tmp_path):
    (tmp_path / "f").touch()
    files.sync_file_system(tmp_path)
    files.sync_directory(tmp_path)


def test_directory_resolves_inside(root, tree):
    (tree / "d").mkdir()
    (tree / "link").symlink_to("/d")
    with files.directory("link", inside=root) as fd:
        assert os.fstat(fd).st_ino == (tree / "d").stat().st_ino
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(fd)
