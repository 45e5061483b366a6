"""Contents: what counts, what does not, and how few files are read."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from bennu.build.contents import content_digest
from bennu.build.file_digests import FileDigests
from bennu.build.source import SourceTree


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "d/sub").mkdir(parents=True)
    for name in ("d/a", "d/b", "d/sub/c"):
        (root / name).write_text(name)
    (root / "d/link").symlink_to("a")
    return root


def digest(root: Path, *sources: str, owners: bool = False) -> str:
    tree = SourceTree(root, what="it", keeps_owners=owners)
    return content_digest(tree.select(sources or ("d",)), FileDigests(None, ""))


def change_content(root: Path) -> None:
    (root / "d/a").write_text("D/A")


def change_link(root: Path) -> None:
    (root / "d/link").unlink()
    (root / "d/link").symlink_to("b")


def link_to_file(root: Path) -> None:
    (root / "d/link").unlink()
    (root / "d/link").write_text("a")


@pytest.mark.parametrize(
    "change",
    [
        change_content,
        change_link,
        link_to_file,
        lambda root: (root / "d/a").chmod(0o600),
        lambda root: (root / "d/sub").chmod(0o700),
        lambda root: (root / "d/a").rename(root / "d/z"),
        lambda root: (root / "d/a").unlink(),
        lambda root: (root / "d/sub/c").rename(root / "d/c"),
        lambda root: (root / "d/new").write_text(""),
        lambda root: (root / "d/empty").mkdir(),
    ],
)
def test_what_is_copied_counts(tree, change):
    before = digest(tree)
    change(tree)
    assert digest(tree) != before


def test_neither_times_nor_place_nor_the_directory_itself_count(tree, tmp_path):
    before = digest(tree)
    os.utime(tree / "d/a", (1, 1))
    os.utime(tree / "d", (1, 1))
    (tree / "d").chmod(0o700)  # its contents are copied, not itself
    assert digest(tree) == before
    shutil.copytree(tree, tmp_path / "other/place", symlinks=True)
    assert digest(tmp_path / "other/place") == before


def test_a_file_counts_with_its_name_and_its_order(tree):
    (tree / "d/b").write_text("d/a")
    assert digest(tree, "d/a") != digest(tree, "d/b")
    assert digest(tree, "d/a", "d/b") != digest(tree, "d/b", "d/a")


def test_entries_cannot_trade_bytes(tree):
    (tree / "d/a").write_text("xy")
    (tree / "d/b").write_text("z")
    before = digest(tree, "d/a", "d/b")
    (tree / "d/a").write_text("x")
    (tree / "d/b").write_text("yz")
    assert digest(tree, "d/a", "d/b") != before


@pytest.mark.root
def test_owners_count_where_they_are_kept(tree):
    kept, dropped = digest(tree, owners=True), digest(tree)
    os.chown(tree / "d/a", 5, 6)
    assert digest(tree, owners=True) != kept
    assert digest(tree) == dropped
