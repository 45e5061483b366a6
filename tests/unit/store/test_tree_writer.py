"""Unpacking entries whose names, links and order mean harm, or only mean something unusual."""

import io
import os
import stat
from contextlib import contextmanager
from pathlib import Path

import pytest

from bennu.errors import BennuError, Corrupt, Failed, Unsupported
from bennu.host.files import remove_tree
from bennu.store.tar import CHARACTER, DIRECTORY, END, FIFO, HARD_LINK, REGULAR, SYMLINK, Member, encode, padding
from bennu.store.tar_output import TarOutput
from bennu.store.tar_reader import TarReader
from bennu.store.tree import OPAQUE_XATTR, pack
from bennu.store.tree_writer import TreeWriter, cleaned

UID, GID = os.getuid(), os.getgid()


def file(name, content=b"", mode=0o644, mtime=1000, **more):
    return Member(name.encode(), REGULAR, mode, UID, GID, len(content), mtime, **more), content


def made(kind, name, mode=0o755, mtime=1000, link="", **more):
    return Member(name.encode(), kind, mode, UID, GID, 0, mtime, link=link.encode(), **more), b""


def folder(name, **more):
    return made(DIRECTORY, name, **more)


def symlink(name, target, **more):
    return made(SYMLINK, name, link=target, **more)


def hard_link(name, target):
    return made(HARD_LINK, name, link=target)


class Box:
    """A snapshot's own directory, a tree below it, and what lies around them that nothing may touch."""

    def __init__(self, base: Path):
        self.base = base
        self.root = base / "root"
        self.lower = base / "lower"
        self.outside = base / "outside"
        for each in (self.root, self.lower, self.outside):
            each.mkdir()
        (self.outside / "secret").write_text("secret")

    @contextmanager
    def fds(self, over=True):
        root = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        lower = os.open(self.lower, os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield root, lower if over else None
        finally:
            os.close(root)
            os.close(lower)

    def unpack(self, *entries, over=False, whiteouts=True):
        data = b"".join(encode(member) + content + padding(len(content)) for member, content in entries) + END
        with (
            self.fds(over) as (root, lower),
            TarReader(io.BytesIO(data)) as reader,
            TreeWriter(root, lower, whiteouts=whiteouts) as writer,
        ):
            for member in reader:
                writer.write(member, reader)

    def pack(self, over=False):
        with self.fds(over) as (root, lower), TarOutput() as output:
            pack(root, lower, output)
            return output.end()

    def names(self):
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*"))

    def check_outside(self):
        assert [path.name for path in self.outside.iterdir()] == ["secret"]
        assert (self.outside / "secret").read_text() == "secret"
        assert (self.outside / "secret").stat().st_nlink == 1
        assert sorted(path.name for path in self.base.iterdir()) == ["lower", "outside", "root"]


@pytest.fixture
def box(tmp_path):
    box = Box(tmp_path)
    yield box
    box.check_outside()


def test_files_directories_and_links_are_as_the_archive_says(box):
    box.unpack(
        folder("d", mode=0o2750, mtime=77),
        file("d/f", b"data", mode=0o4751, mtime=88),
        symlink("d/s", "../anywhere", mtime=99),
        hard_link("d/h", "d/f"),
        made(FIFO, "d/p", mode=0o600, mtime=66),
    )
    d, f, s = box.root / "d", box.root / "d/f", box.root / "d/s"
    assert (d.stat().st_mode & 0o7777, d.stat().st_mtime) == (0o2750, 77)
    assert (f.stat().st_mode & 0o7777, f.stat().st_mtime, f.read_bytes()) == (0o4751, 88, b"data")
    assert (os.readlink(s), s.lstat().st_mtime) == ("../anywhere", 99)
    assert (d / "h").samefile(f)
    assert stat.S_ISFIFO((d / "p").stat().st_mode)
    assert (d / "p").stat().st_mtime == 66


@pytest.mark.parametrize(
    "name", ["../outside/evil", "a/../../outside/evil", "/../outside/evil", "./../x", "..", "a/../..", "/.."]
)
def test_a_name_that_leads_out_is_refused(box, name):
    with pytest.raises(Corrupt, match="leads out of the root"):
        box.unpack(file(name, b"evil"))
    with pytest.raises(Corrupt, match="leads out of the root"):
        box.unpack(file("ok"), hard_link("link", name))


@pytest.mark.parametrize(
    ("name", "path"),
    [("/etc/x", "etc/x"), ("./a", "a"), ("a//b", "a/b"), ("a/./b", "a/b"), ("a/../b", "b"), (".hidden/x", ".hidden/x")],
)
def test_other_spellings_of_a_name_are_the_name(box, name, path):
    assert cleaned(name.encode()) == path.encode()
    box.unpack(file(name, b"1"))
    assert (box.root / path).read_bytes() == b"1"


@pytest.mark.parametrize("target", ["/outside", "../outside", "../../../../outside", "{outside}"])
def test_links_to_outside_end_inside(box, target):
    target = target.replace("{outside}", str(box.outside))
    box.unpack(symlink("l", target), file("l/evil", b"evil"), folder("l/sub"), file("l/sub/more"))
    assert [path.name for path in box.root.rglob("evil")] == ["evil"]


def test_links_through_proc_end_inside(box):
    box.unpack(symlink("l", f"/proc/{os.getpid()}/cwd"), file("l/evil"))
    assert (box.root / f"proc/{os.getpid()}/cwd/evil").exists()


def test_a_link_is_never_written_through(box):
    box.unpack(symlink("l", str(box.outside / "secret")), file("l", b"mine"))
    assert (box.root / "l").read_bytes() == b"mine"
    assert not (box.root / "l").is_symlink()


def test_a_link_is_not_dressed_through(box):
    before = (box.outside / "secret").stat()
    box.unpack(symlink("l", str(box.outside / "secret"), mode=0o777, mtime=5))
    assert (box.outside / "secret").stat().st_mode == before.st_mode
    assert (box.outside / "secret").stat().st_mtime == before.st_mtime


def test_hard_links_to_outside_are_refused(box):
    for target in (str(box.outside / "secret"), "l/secret"):
        with pytest.raises(Corrupt, match="no file of this layer"):
            box.unpack(symlink("l", str(box.outside)), hard_link("h", target))


def test_a_hard_link_of_a_link_is_the_link(box):
    box.unpack(symlink("l", str(box.outside / "secret")), hard_link("h", "l"))
    assert os.readlink(box.root / "h") == str(box.outside / "secret")


def test_a_hard_link_to_itself_keeps_the_file(box):
    box.unpack(file("f", b"1"), hard_link("f", "./f"))
    assert (box.root / "f").read_bytes() == b"1"


def test_hard_links_to_directories_and_to_nothing_are_refused(box):
    for entries in ([folder("d"), hard_link("h", "d")], [hard_link("h", "missing")], [hard_link("h", ".wh.x")]):
        with pytest.raises(Corrupt, match="no file of this layer"):
            box.unpack(*entries)


def test_links_in_a_circle_are_refused(box):
    with pytest.raises(Corrupt, match="link to itself"):
        box.unpack(symlink("a", "b"), symlink("b", "a"), file("a/x"))


def test_below_a_file_is_no_place(box):
    with pytest.raises(Corrupt, match="'f', which is not a directory"):
        box.unpack(file("f"), file("f/x"))


def test_the_later_of_two_entries_counts(box):
    box.unpack(
        file("f", b"1"), file("f", b"22", mode=0o600),
        folder("d"), file("d/x"), folder("d", mode=0o700),
        folder("e"), file("e/x"), folder("e/sub"), file("e/sub/y"), file("e", b"now a file"),
        file("g"), folder("g"), file("g/z"),
        symlink("s", "d"), folder("s"), file("s/own"),
        file("h"), hard_link("i", "h"), hard_link("i", "f"),
    )  # fmt: skip
    assert (box.root / "f").read_bytes() == b"22"
    assert (box.root / "f").stat().st_mode & 0o7777 == 0o600
    assert (box.root / "d").stat().st_mode & 0o7777 == 0o700
    assert (box.root / "e").read_bytes() == b"now a file"
    assert box.names() == ["d", "d/x", "e", "f", "g", "g/z", "h", "i", "s", "s/own"]
    assert (box.root / "i").samefile(box.root / "f")


def test_a_directory_that_was_a_place_and_went_is_no_place_any_more(box):
    box.unpack(folder("d"), file("d/x"), symlink("d", "elsewhere"), file("d/y"), folder("d"), file("d/z"))
    assert box.names() == ["d", "d/z", "elsewhere", "elsewhere/y"]


def test_directories_get_their_times_at_the_end(box):
    box.unpack(folder("d", mtime=5), file("d/x"), folder("d/e", mtime=6), file("d/e/y"), file("p/q/r", mtime=7))
    assert [(box.root / name).stat().st_mtime for name in ("d", "d/e", "p", "p/q")] == [5, 6, 7, 7]
    assert (box.root / "p").stat().st_mode & 0o7777 == 0o755


def test_more_directories_than_descriptors_are_held(box):
    names = [f"d{number}/e{number}" for number in range(200)]
    box.unpack(*(folder(name) for name in names), *(file(f"{name}/f") for name in names for _ in range(2)))
    assert len(box.names()) == 600


def test_the_root_can_be_an_entry_but_only_a_directory(box):
    box.unpack(folder("./", mode=0o700, mtime=9), file("x"))
    assert (box.root.stat().st_mode & 0o7777, box.root.stat().st_mtime) == (0o700, 9)
    with pytest.raises(Corrupt, match="the root, but not a directory"):
        box.unpack(file("."))


def test_the_root_keeps_its_time_where_it_is_no_entry(box):
    os.utime(box.root, (50, 50))
    box.unpack(file("x"))
    assert box.root.stat().st_mtime == 50


def test_a_device_that_would_be_a_whiteout_is_refused(box):
    with pytest.raises(Corrupt, match="device 0/0"):
        box.unpack(made(CHARACTER, "x", device=(0, 0)))


def test_names_that_the_kernel_refuses_are_named(box):
    with pytest.raises(Failed, match=r"layer entry 'n+' cannot be unpacked: File name too long"):
        box.unpack(file("n" * 300))


def test_very_deep_directories_do_not_break_us(box):
    deep = "/".join("d" for _ in range(1800))
    box.unpack(file(f"{deep}/f"), over=True)
    assert box.pack().size_bytes > 1800 * 512
    with pytest.raises(Failed, match="File name too long"):
        box.unpack(file("/".join("d" for _ in range(3000)) + "/f"), over=True)
    with pytest.raises(Unsupported, match="4095 bytes"):
        box.pack()
    remove_tree(box.root / "d")
    assert box.names() == []


def test_names_of_whiteouts_are_names_in_an_archive_that_is_no_layer(box):
    box.unpack(file(".wh.x", b"1"), whiteouts=False)
    assert box.names() == [".wh.x"]
    with pytest.raises(BennuError, match="cannot be in a layer"):
        box.pack()


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh...", "d/.wh..."])
def test_whiteouts_of_what_cannot_be_are_refused(box, name):
    (box.lower / "d").mkdir()
    with pytest.raises(Corrupt, match="removes nothing"):
        box.unpack(file(name), over=True)


def test_the_notes_of_aufs_are_left_out(box):
    box.unpack(folder(".wh..wh.plnk"), file(".wh..wh.aufs"), file("f"))
    assert box.names() == ["f"]


def test_nothing_below_means_nothing_to_hide(box):
    box.unpack(file(".wh.x"), folder("d"), file("d/.wh..wh..opq"), file("d/.wh.y"))
    assert box.names() == ["d"]
    assert "trusted.overlay.opaque" not in os.listxattr(box.root / "d")


@pytest.mark.root
class TestOverOthers:
    """With layers below; whiteouts and trusted attributes need root."""

    def is_whiteout(self, path):
        status = path.lstat()
        return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0

    def is_opaque(self, path):
        return OPAQUE_XATTR in os.listxattr(path) and os.getxattr(path, OPAQUE_XATTR) == b"y"

    def test_a_parent_that_only_they_have_is_made_like_theirs(self, box):
        (box.lower / "d/e").mkdir(parents=True)
        os.chown(box.lower / "d", 11, 22)
        os.chmod(box.lower / "d", 0o3711)
        os.setxattr(box.lower / "d", "trusted.mine", b"1")
        os.setxattr(box.lower / "d", "trusted.overlay.origin", b"2")
        os.utime(box.lower / "d", ns=(5, 123_456_789_012))
        box.unpack(file("d/e/f"), over=True)
        status = (box.root / "d").stat()
        assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (11, 22, 0o3711)
        assert status.st_mtime_ns == 123_456_789_012
        assert os.listxattr(box.root / "d") == ["trusted.mine"]

    def test_a_link_that_only_they_have_is_followed(self, box):
        (box.lower / "usr/lib").mkdir(parents=True)
        (box.lower / "lib").symlink_to("usr/lib")
        (box.lower / "abs").symlink_to("/usr")
        (box.lower / "out").symlink_to(f"../..{box.outside}")
        box.unpack(file("lib/x"), file("abs/y"), file("out/evil"), over=True)
        assert (box.root / "usr/lib/x").exists()
        assert (box.root / "usr/y").exists()
        assert not (box.root / "lib").exists()
        assert (box.root / str(box.outside).lstrip("/") / "evil").exists()

    def test_a_directory_that_replaces_their_link_is_one(self, box):
        (box.lower / "usr/lib").mkdir(parents=True)
        (box.lower / "lib").symlink_to("usr/lib")
        box.unpack(file("lib/x"), folder("lib"), file("lib/y"), over=True)
        assert box.names() == ["lib", "lib/y", "usr", "usr/lib", "usr/lib/x"]

    def test_below_their_file_is_no_place(self, box):
        (box.lower / "f").write_text("")
        with pytest.raises(Corrupt, match="not a directory in the layers below"):
            box.unpack(file("f/x"), over=True)

    def test_whiteouts_hide_what_is_there_and_nothing_else(self, box):
        (box.lower / "a").write_text("")
        (box.lower / "d").mkdir()
        (box.lower / "d/x").write_text("")
        box.unpack(file(".wh.a"), file(".wh.b"), file("d/.wh.x"), file("d/.wh.y"), over=True)
        assert box.names() == ["a", "d", "d/x"]
        assert self.is_whiteout(box.root / "a")
        assert self.is_whiteout(box.root / "d/x")

    @pytest.mark.parametrize("first", [0, 1])
    def test_whiteouts_spare_what_this_layer_brings_in_either_order(self, box, first):
        (box.lower / "f").write_text("old")
        (box.lower / "d").mkdir()
        entries = [[file(".wh.f"), file(".wh.d")], [file("f", b"new"), folder("d"), file("d/x")]]
        box.unpack(*entries[first], *entries[1 - first], over=True)
        assert (box.root / "f").read_text() == "new"
        assert self.is_opaque(box.root / "d")
        assert (box.root / "d/x").exists()

    @pytest.mark.parametrize("first", [0, 1])
    def test_opaque_directories_hide_theirs_in_either_order(self, box, first):
        (box.lower / "d/sub").mkdir(parents=True)
        (box.lower / "d/x").write_text("")
        entries = [[file("d/.wh..wh..opq")], [file("d/y"), folder("d/sub"), file("d/.wh.x")]]
        box.unpack(folder("d"), *entries[first], *entries[1 - first], over=True)
        assert self.is_opaque(box.root / "d")
        assert not self.is_opaque(box.root / "d/sub")
        assert not first or box.names() == ["d", "d/sub", "d/x", "d/y"]
        assert first or box.names() == ["d", "d/sub", "d/y"]

    def test_a_directory_in_place_of_a_removed_one_shows_nothing_of_it(self, box):
        (box.lower / "d").mkdir()
        box.unpack(file(".wh.d"), file("d/x"), over=True)
        assert self.is_opaque(box.root / "d")

    def test_what_replaced_their_directory_and_is_one_again_shows_nothing_of_it(self, box):
        (box.lower / "d").mkdir()
        box.unpack(file("d", b"a file"), folder("d"), over=True)
        assert self.is_opaque(box.root / "d")

    def test_owners_attributes_and_capabilities(self, box):
        capability = b"\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
        attributes = {
            b"security.capability": capability,
            b"user.mine": b"a\0b",
            b"trusted.overlay.redirect": b"/etc",
            b"trusted.overlay.opaque": b"y",
            b"com.apple.quarantine": b"1",
        }
        box.unpack(
            (Member(b"f", REGULAR, 0o6755, 4_000_000_000, 5, 1, 9, xattrs=attributes), b"1"),
            (Member(b"d", DIRECTORY, 0o1777, 1, 2, 0, 9, xattrs={b"trusted.overlay.opaque": b"y"}), b""),
            (Member(b"s", SYMLINK, 0o777, 7, 8, 0, 9, link=b"f", xattrs={b"trusted.t": b"1"}), b""),
            over=True,
        )
        status = (box.root / "f").stat()
        assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (4_000_000_000, 5, 0o6755)
        assert sorted(os.listxattr(box.root / "f")) == ["security.capability", "user.mine"]
        assert os.getxattr(box.root / "f", "security.capability") == capability
        assert os.listxattr(box.root / "d") == []
        assert os.listxattr(box.root / "s", follow_symlinks=False) == ["trusted.t"]
        assert (box.root / "s").lstat().st_uid == 7

    def test_devices_are_made_but_not_opened(self, box):
        box.unpack(made(CHARACTER, "null", mode=0o666, device=(1, 3)), made(CHARACTER, "none", device=(240, 7)))
        status = (box.root / "null").stat()
        assert (os.major(status.st_rdev), os.minor(status.st_rdev), status.st_mode & 0o777) == (1, 3, 0o666)
        assert box.pack().size_bytes == 4 * 512
