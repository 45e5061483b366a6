"""Destinations: links are followed inside the tree and nowhere else; what is missing is made."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bennu.build.destinations import directory, is_directory, owner_named, resolved
from bennu.errors import Invalid
from bennu.host import files


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("root:x:0:0::/:\nweb:x:33:34::/:\n")
    (tmp_path / "etc/group").write_text("root:x:0:\nweb:x:33:\ntape:x:26:\n")
    for name, target in {
        "abs": "/etc",
        "up": "../../../etc",
        "dangling": "new/place",
        "chain": "abs",
        "file": "etc/passwd",
        "loop": "loop",
        "etc/back": "..",
    }.items():
        (tmp_path / name).symlink_to(target)
    return tmp_path


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", "/"),
        ("", "/"),
        ("/a/./b//c/", "/a/b/c"),
        ("/../../a/../b", "/b"),
        ("/abs/x", "/etc/x"),
        ("/up/x", "/etc/x"),
        ("/chain", "/etc"),
        ("/dangling", "/new/place"),
        ("/dangling/deeper", "/new/place/deeper"),
        ("/file", "/etc/passwd"),
        ("/abs/back/etc", "/etc"),
        ("/etc/passwd/x", "/etc/passwd/x"),
    ],
)
def test_a_path_is_followed_as_in_a_chroot(tree, path, expected):
    with files.directory(tree) as root:
        assert resolved(root, path) == expected


def test_a_link_to_itself_is_refused(tree):
    with files.directory(tree) as root, pytest.raises(OSError, match="symbolic links"):
        resolved(root, "/loop/x")


@given(st.lists(st.sampled_from(["..", "abs", "up", "etc", "back", "x", "dangling", ".", ""]), max_size=8))
def test_whatever_the_path_it_stays_inside(tmp_path_factory, parts):
    tree = tmp_path_factory.mktemp("tree")
    (tree / "etc").mkdir()
    for name, target in {"abs": "/etc", "up": "../..", "etc/back": "..", "dangling": "../../x/../y"}.items():
        (tree / name).symlink_to(target)
    with files.directory(tree) as root, directory(root, "/".join(parts)) as fd:
        place = os.readlink(f"/proc/self/fd/{fd}")
    assert place == str(tree) or place.startswith(f"{tree}/")


def test_what_is_missing_is_made_with_its_mode_and_time(tree):
    umask = os.umask(0o077)
    try:
        with files.directory(tree) as root, directory(root, "/abs/one/two", mode=0o751, epoch=1000) as fd:
            os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    finally:
        os.umask(umask)
    for name in ("etc/one", "etc/one/two"):
        status = (tree / name).stat()
        assert (status.st_mode & 0o7777, status.st_mtime) == (0o751, 1000)
    assert (tree / "etc/one/two/file").exists()


def test_what_is_there_keeps_its_mode(tree):
    (tree / "etc").chmod(0o700)
    with files.directory(tree) as root, directory(root, "/etc", mode=0o755):
        pass
    assert (tree / "etc").stat().st_mode & 0o7777 == 0o700


@pytest.mark.parametrize("path", ["/file", "/etc/passwd", "/etc/passwd/x"])
def test_a_file_in_the_way_is_named(tree, path):
    with files.directory(tree) as root, pytest.raises(Invalid, match="'/etc/passwd' is there"), directory(root, path):
        pass


def test_a_link_to_a_directory_is_one(tree):
    with files.directory(tree) as root:
        assert [is_directory(root, path) for path in ("/abs", "/file", "/dangling", "/")] == [True, False, False, True]


@pytest.mark.parametrize(
    ("spec", "owner", "said"),
    [
        ("web", (33, 34), 0),
        ("web:tape", (33, 26), 0),
        ("5", (5, 5), 0),
        ("5:6", (5, 6), 0),
        ("33", (33, 33), 0),
        (":7", (0, 7), 0),
        ("stranger", (0, 0), 1),
        ("stranger:tape", (0, 26), 1),
        ("web:strangers", (33, 34), 1),
        ("stranger:strangers", (0, 0), 2),
    ],
)
def test_owners_are_looked_up_in_the_tree(tree, spec, owner, said):
    lines: list[str] = []
    assert owner_named(spec, tree, lines.append) == owner
    assert len(lines) == said
