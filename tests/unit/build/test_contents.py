"""Contents: what counts, what does not, and how few files are read."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from bennu.build import contents
from bennu.build.contents import FileDigests, content_digest
from bennu.build.source import SourceTree
from bennu.store.database import Database

OLD_NS = 1_600_000_000 * 10**9


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "d/sub").mkdir(parents=True)
    for name in ("d/a", "d/b", "d/sub/c"):
        (root / name).write_text(name)
    (root / "d/link").symlink_to("a")
    return root


def digest(root: Path, *sources: str, owners: bool = False, digests: FileDigests | None = None) -> str:
    tree = SourceTree(root, what="it", keeps_owners=owners)
    return content_digest(tree.select(sources or ("d",)), digests or FileDigests(None, ""))


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


# the remembered digests


@pytest.fixture
def database(tmp_path: Path):
    with Database(tmp_path / "bennu.db") as database:
        yield database


def age(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that the tree has not been touched for long: ctime cannot be set, so the clock goes on instead."""
    later = max(os.lstat(path).st_ctime_ns for path in root.rglob("*")) + 10**9
    monkeypatch.setattr(contents.time, "time_ns", lambda: later)


def test_unchanged_files_are_read_once(tree, database, monkeypatch):
    age(tree, monkeypatch)
    first, second = FileDigests(database, str(tree)), FileDigests(database, str(tree))
    assert digest(tree, digests=first) == digest(tree, digests=second)
    assert (first.hashed, second.hashed) == (3, 0)


def test_one_changed_file_is_read_again(tree, database, monkeypatch):
    age(tree, monkeypatch)
    digest(tree, digests=FileDigests(database, str(tree)))
    (tree / "d/sub/c").write_text("other")
    again = FileDigests(database, str(tree))
    digest(tree, digests=again)
    assert again.hashed == 1


def test_a_change_that_hides_behind_the_old_size_and_time_is_seen(tree, database, monkeypatch):
    os.utime(tree / "d/a", ns=(OLD_NS, OLD_NS))
    age(tree, monkeypatch)
    before = digest(tree, digests=FileDigests(database, str(tree)))
    (tree / "d/a").write_text("D/A")
    os.utime(tree / "d/a", ns=(OLD_NS, OLD_NS))  # ctime tells
    assert digest(tree, digests=FileDigests(database, str(tree))) != before


def test_what_changed_within_the_last_tick_is_not_remembered(tree, database, monkeypatch):
    moment = os.lstat(tree / "d/a").st_ctime_ns
    monkeypatch.setattr(contents.time, "time_ns", lambda: moment + contents.RACY_NS // 2)
    digest(tree, "d/a", digests=FileDigests(database, str(tree)))
    again = FileDigests(database, str(tree))
    digest(tree, "d/a", digests=again)
    assert again.hashed == 1


def test_contexts_do_not_know_each_others_files(tree, database, monkeypatch):
    age(tree, monkeypatch)
    digest(tree, digests=FileDigests(database, "/one"))
    other = FileDigests(database, "/two")
    digest(tree, digests=other)
    assert other.hashed == 3


def test_many_files_are_hashed_by_several_threads_with_the_same_result(tree):
    for number in range(contents.PARALLEL_FROM + 5):
        (tree / f"d/f{number}").write_text(str(number))
    digests = FileDigests(None, "")
    selection = SourceTree(tree, what="it", keeps_owners=False).select(("d",))
    found = digests.of(e for item in selection.items for e in item.entries if e.status.st_mode & 0o170000 == 0o100000)
    assert all(found[path] == contents._file_digest(path) for path in found)
    assert len(found) == contents.PARALLEL_FROM + 8
