"""Mounts and namespaces as the kernel makes them: what design and contracts take for granted about overlayfs."""

import errno
import os
import stat
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from bennu.errors import Failed
from bennu.host import files, mounts, syscalls
from bennu.host.mounts import READONLY, Access, Bind, Overlay, Tmpfs, attach, attached, detach, mounted_below, opened
from bennu.host.namespaces import in_namespace, in_private_mounts

pytestmark = pytest.mark.root


@pytest.fixture
def place(tmp_path):
    place = tmp_path / "mnt"
    place.mkdir()
    yield place
    assert mounted_below(tmp_path) == ()


def layer(base, name, **contents):
    directory = base / name
    directory.mkdir()
    for path, content in contents.items():
        (directory / path).write_text(content)
    return directory


@pytest.fixture
def writable(tmp_path):
    """An overlay of one lower directory, with its upper and work directories."""
    lower = layer(tmp_path, "lower", kept="1", gone="2")
    (lower / "d").mkdir()
    (lower / "d/x").write_text("x")
    return Overlay((lower,), layer(tmp_path, "upper"), layer(tmp_path, "work"))


@pytest.fixture(params=["lowerdir+", "one page"])
def kernel(request, monkeypatch):
    """The kernel as it is, and one from before Linux 6.5."""
    if request.param == "one page":
        real = syscalls.fsconfig_string

        def older(fd, key, value):
            if key == "lowerdir+":
                raise OSError(errno.EINVAL, "Invalid argument")
            real(fd, key, value)

        monkeypatch.setattr(syscalls, "fsconfig_string", older)
    return request.param


def test_the_upper_directory_alone_holds_the_difference(writable, place, kernel):
    with attached(writable, place):
        (place / "gone").unlink()
        (place / "new").write_text("3")
        (place / "d/x").unlink()
        (place / "d").rmdir()
        (place / "d").mkdir()
    upper = writable.upper
    assert sorted(os.listdir(upper)) == ["d", "gone", "new"]
    status = (upper / "gone").lstat()
    assert stat.S_ISCHR(status.st_mode)
    assert status.st_rdev == 0
    assert os.getxattr(upper / "d", "trusted.overlay.opaque") == b"y"
    assert sorted(os.listdir(writable.lowers[0])) == ["d", "gone", "kept"]


def test_renaming_a_lower_directory_is_refused_and_metadata_is_copied_whole(writable, place, kernel):
    """With redirect_dir or metacopy a layer would hold what an archive cannot say."""
    with attached(writable, place):
        with pytest.raises(OSError, match="cross-device"):
            os.rename(place / "d", place / "e")
        os.chmod(place / "kept", 0o600)
    assert (writable.upper / "kept").read_text() == "1"
    names = {name for path in writable.upper.rglob("*") for name in os.listxattr(path, follow_symlinks=False)}
    assert not names & {"trusted.overlay.redirect", "trusted.overlay.metacopy"}


@pytest.mark.parametrize("count", [1, 2, 60, 150])
def test_many_layers_are_one_tree(tmp_path, place, kernel, count):
    lowers = tuple(layer(tmp_path, f"layer-{n}", **{f"f{n}": "", "top": str(n)}) for n in range(count))
    with attached(Overlay(lowers), place):
        assert len(os.listdir(place)) == count + 1
        assert (place / "top").read_text() == "0"
        with pytest.raises(OSError, match="Read-only"):
            (place / "new").touch()


def test_paths_may_be_long_and_odd(tmp_path, place, kernel):
    odd = tmp_path
    for part in ("a,b:c\\d e", "x" * 200, "é"):
        odd /= part
        odd.mkdir()
    overlay = Overlay((layer(odd, "one", a="1"), layer(odd, "two", b="2")), layer(odd, "upper"), layer(odd, "work"))
    with attached(overlay, place):
        (place / "c").write_text("3")
        assert sorted(os.listdir(place)) == ["a", "b", "c"]
    assert os.listdir(overlay.upper) == ["c"]


def test_volatile_can_be_mounted_again(writable, place, kernel):
    volatile = replace(writable, volatile=True)
    for number in range(3):
        with attached(volatile, place):
            (place / f"f{number}").touch()
    assert len(os.listdir(writable.upper)) == 3


def test_a_replica_that_is_read_only_can_be_made_writable_without_touching_its_layer(writable, place, kernel):
    """A hold does this: the root becomes writable, and what is written lands in the replica's own directory."""
    with attached(replace(writable, access=READONLY), place):
        with pytest.raises(OSError, match="Read-only"):
            (place / "kept").write_text("changed")
        subprocess.run(["mount", "-o", "remount,rw,bind", place], check=True)
        (place / "kept").write_text("changed")
    assert (writable.lowers[0] / "kept").read_text() == "1"
    assert (writable.upper / "kept").read_text() == "changed"


@pytest.mark.parametrize("flag", ["readonly", "nosuid", "nodev", "noexec"])
def test_access_is_what_the_mount_table_says(tmp_path, place, writable, kernel, flag):
    word = {"readonly": "ro"}.get(flag, flag)
    access = Access(**{flag: True})
    for mount in (Bind(tmp_path / "lower", access=access), Tmpfs(access=access), replace(writable, access=access)):
        with attached(mount, place):
            (line,) = [each for each in Path("/proc/self/mountinfo").read_text().splitlines() if f" {place} " in each]
            options = set(line.split()[5].split(","))
            assert word in options
            assert not {"ro", "nosuid", "nodev", "noexec"} & options - {word}


def test_binds_take_mounts_below_along_only_where_asked(tmp_path, place):
    source = layer(tmp_path, "source")
    (source / "sub").mkdir()
    with attached(Tmpfs(), source / "sub"):
        (source / "sub/inner").touch()
        with attached(Bind(source), place):
            assert os.listdir(place / "sub") == []
        with attached(Bind(source, recursive=True, access=READONLY), place):
            assert os.listdir(place / "sub") == ["inner"]
            with pytest.raises(OSError, match="Read-only"):
                (place / "sub/new").touch()
            detach(place / "sub")


def test_files_can_be_bound(tmp_path):
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    with attached(Bind(tmp_path / "a", access=READONLY), tmp_path / "b"):
        assert (tmp_path / "b").read_text() == "a"
    assert (tmp_path / "b").read_text() == "b"


def test_tmpfs_has_its_size_and_mode(place):
    with attached(Tmpfs(size_bytes=1 << 20, mode=0o1777), place):
        status = os.statvfs(place)
        assert status.f_blocks * status.f_frsize == 1 << 20
        assert place.stat().st_mode & 0o7777 == 0o1777


def test_what_the_kernel_refuses_is_named(tmp_path, place):
    with pytest.raises(Failed, match=r"the kernel refused the bind of '.*missing': No such file"):
        attach(Bind(tmp_path / "missing"), place)
    with pytest.raises(Failed, match="the kernel refused the overlay"):
        attach(Overlay((tmp_path / "one", tmp_path / "two")), place)
    with pytest.raises(Failed, match=f"mount '{tmp_path}/nowhere'"):
        attach(Tmpfs(), tmp_path / "nowhere")
    with pytest.raises(Failed, match="the kernel refused"), opened(Bind(tmp_path / "missing")):
        pass


def test_an_opened_mount_is_seen_by_its_holder_alone(writable, place, tmp_path, kernel):
    before = Path("/proc/self/mountinfo").read_text()
    with opened(Overlay((writable.lowers[0], layer(tmp_path, "other", more="")))) as fd:
        assert sorted(os.listdir(fd)) == ["d", "gone", "kept", "more"]
        assert Path("/proc/self/mountinfo").read_text() == before
    with pytest.raises(OSError, match="Bad file"):
        os.listdir(fd)


def test_detach_of_nothing_is_no_error_and_of_what_is_busy_is_lazy(tmp_path, place):
    detach(place)
    detach(tmp_path / "missing")
    attach(Tmpfs(), place)
    (place / "f").write_text("1")
    with open(place / "f", encoding="ascii") as file:
        detach(place)
        assert not os.path.ismount(place)
        assert file.read() == "1"


def test_mounts_below_are_found_whatever_their_names(tmp_path, place):
    odd = tmp_path / "a b\té\\n\nx"
    (odd / "in").mkdir(parents=True)
    (tmp_path / "a b2").mkdir()
    with attached(Tmpfs(), tmp_path / "a b2"), attached(Tmpfs(), odd):
        (odd / "in").mkdir()
        with attached(Tmpfs(), odd / "in"):
            assert mounted_below(odd) == (odd / "in", odd)
            assert odd in mounted_below(Path("/"))


def test_no_descriptor_is_left_open(writable, place, kernel, tmp_path):
    before = sorted(os.listdir("/proc/self/fd"))
    for mount in (writable, Bind(tmp_path), Tmpfs()):
        with attached(mount, place):
            pass
    with pytest.raises(Failed):
        attach(Overlay((tmp_path / "one", tmp_path / "two")), place)
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_remove_tree_stops_at_mounts_of_the_same_file_system_too(tmp_path, place):
    victim = layer(tmp_path, "victim", precious="1")
    top = layer(tmp_path, "top")
    (top / "sub").mkdir()
    with attached(Bind(victim), top / "sub"), pytest.raises(OSError, match="mounted there"):
        files.remove_tree(top)
    assert (victim / "precious").read_text() == "1"
    files.remove_tree(top)
    assert not top.exists()


class TestNamespaces:
    def test_private_mounts_are_seen_inside_and_by_children_only(self, place):
        def inside():
            attach(Tmpfs(), place)
            (place / "f").touch()
            return os.listdir(place), subprocess.run(["ls", place], capture_output=True, check=True).stdout

        assert in_private_mounts(inside) == (["f"], b"f\n")
        assert os.listdir(place) == []

    def test_what_is_hidden_is_hidden_inside_only(self, place):
        with attached(Tmpfs(), place):
            (place / "f").touch()
            assert in_private_mounts(lambda: os.listdir(place), hide=(place,)) == []
            assert os.listdir(place) == ["f"]

    def test_errors_come_out_and_the_caller_stays_where_it_was(self, place):
        def failing():
            attach(Tmpfs(), place)
            raise KeyError("inside")

        with pytest.raises(KeyError, match="inside"):
            in_private_mounts(failing)
        assert mounted_below(place) == ()
        assert [each.name for each in threading.enumerate() if each.name == "bennu-namespace"] == []

    def test_another_namespace_can_be_joined(self, place):
        @contextmanager
        def sleeper():
            def start():
                attach(Tmpfs(), place)
                (place / "theirs").touch()
                return subprocess.Popen(["sleep", "60"])

            child = in_private_mounts(start)
            try:
                yield child.pid
            finally:
                child.kill()
                child.wait()

        with sleeper() as pid:
            path = Path(f"/proc/{pid}/ns/mnt")
            assert in_namespace(path, syscalls.CLONE_NEWNS, lambda: os.listdir(place)) == ["theirs"]
        assert os.listdir(place) == []

    def test_older_kernels_leave_no_mount_when_one_fails(self, tmp_path, place, monkeypatch, writable):
        monkeypatch.setattr(mounts, "_filesystem", lambda *_, **__: (_ for _ in ()).throw(OSError(errno.EINVAL, "old")))
        with pytest.raises(Failed):
            attach(replace(writable, work=tmp_path / "missing"), place)
        attach(writable, place)
        detach(place)
