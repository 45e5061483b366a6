"""The remembered digests of files: how few are read, and that no change is ever missed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bennu.build import file_digests
from bennu.build.contents import content_digest
from bennu.build.file_digests import BLOCK_BYTES, FileDigests, digest_of_file
from bennu.build.source import SourceTree

OLD_NS = 1_600_000_000 * 10**9


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "d/sub").mkdir(parents=True)
    for name in ("d/a", "d/b", "d/sub/c"):
        (root / name).write_text(name)
    return root


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "kept"


@pytest.fixture
def build(tree: Path, kept: Path) -> Callable[..., tuple[str, int]]:
    """One build's look at sources: their digest, and how many files were read for it."""

    def look(*sources: str, root: Path = tree) -> tuple[str, int]:
        digests = FileDigests(kept, str(root))
        selected = SourceTree(root, what="it", keeps_owners=False).select(sources or ("d",))
        return content_digest(selected, digests), digests.hashed

    return look


@pytest.fixture
def aged(tree: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Pretend that the tree has not been touched for long: ctime cannot be set, so the clock goes on instead."""

    def age() -> None:
        later = max(os.lstat(path).st_ctime_ns for path in tree.rglob("*")) + 10**9
        monkeypatch.setattr(file_digests.time, "time_ns", lambda: later)

    age()
    return age


def test_unchanged_files_are_read_once(build, aged):
    first, second = build(), build()
    assert first[0] == second[0]
    assert (first[1], second[1]) == (3, 0)


def test_one_changed_file_is_read_again(tree, build, aged):
    before = build()
    (tree / "d/b").write_text("other")
    after = build()
    assert after[1] == 1
    assert after[0] != before[0]
    aged()
    assert build() == (after[0], 0)


def test_files_that_come_and_go_leave_the_others_known(tree, build, aged):
    build()
    (tree / "d/0").write_text("first")
    (tree / "d/b").unlink()
    aged()
    assert build()[1] == 1
    assert build()[1] == 0


def test_a_file_that_moved_is_read_again_or_not_but_counts_by_its_new_name(tree, build, aged):
    before = build()
    (tree / "d/a").rename(tree / "d/z")
    aged()
    assert build()[0] != before[0]


def test_a_change_that_hides_behind_the_old_size_and_time_is_seen(tree, build, aged):
    os.utime(tree / "d/a", ns=(OLD_NS, OLD_NS))
    aged()
    before = build()
    (tree / "d/a").write_text("D/A")
    os.utime(tree / "d/a", ns=(OLD_NS, OLD_NS))  # ctime tells
    assert build()[0] != before[0]


def test_files_that_trade_places_are_told_apart(tree, build, aged):
    (tree / "d/b").write_text("D/B")
    for name in ("d/a", "d/b"):
        os.utime(tree / name, ns=(OLD_NS, OLD_NS))
    aged()
    before = build()
    (tree / "d/a").rename(tree / "d/t")
    (tree / "d/b").rename(tree / "d/a")
    (tree / "d/t").rename(tree / "d/b")
    aged()
    assert build()[0] != before[0]


def test_what_changed_within_the_last_tick_is_not_remembered(tree, build, monkeypatch):
    moment = os.lstat(tree / "d/a").st_ctime_ns
    monkeypatch.setattr(file_digests.time, "time_ns", lambda: moment + file_digests.RACY_NS // 2)
    assert [build("d/a")[1], build("d/a")[1]] == [1, 1]


def test_contexts_do_not_know_each_others_files(tree, kept, build, aged):
    build()
    other = FileDigests(kept, "/elsewhere")
    content_digest(SourceTree(tree, what="it", keeps_owners=False).select(("d",)), other)
    assert other.hashed == 3


def test_builds_that_take_other_files_of_one_context_keep_each_others_records(build, aged):
    build("d/sub")
    build("d/a", "d/b")
    assert build("d/sub")[1] == build("d/b", "d/a")[1] == build()[1] == 0


def test_records_of_files_that_nothing_takes_any_more_are_bounded(tree, kept, build, aged, monkeypatch):
    monkeypatch.setattr(file_digests, "SPARE_RECORDS", 2)
    build()
    (size,) = [path.stat().st_size for path in kept.iterdir()]
    for number in range(5):
        (tree / "d/a").write_text(str(number))
        aged()
        build()
    (after,) = [path.stat().st_size for path in kept.iterdir()]
    assert after == size + 2 * file_digests._RECORD_BYTES


def test_contexts_that_were_not_built_from_for_long_are_forgotten(tree, kept, build, aged, monkeypatch):
    monkeypatch.setattr(file_digests, "KEPT_ROOTS", 3)
    build()
    (own,) = kept.iterdir()
    for name, age in (("old", 40 * 86400), ("older", 2 * 86400), ("recent", 60)):
        (kept / name).write_bytes(b"")
        when = file_digests.time.time() - age
        os.utime(kept / name, (when, when))
    own.unlink()
    build()
    assert {path.name for path in kept.iterdir()} == {own.name, "recent", "older"}


def test_what_another_build_is_writing_is_left_alone_and_may_vanish(kept, build, aged, monkeypatch):
    kept.mkdir()
    for name, age in ((".root.half", 60), (".root.gone", 60), (".root.dead", 2 * 86400)):
        (kept / name).write_bytes(b"")
        when = file_digests.time.time() - age
        os.utime(kept / name, (when, when))
    monkeypatch.setattr(file_digests, "KEPT_ROOTS", 1)
    listed = list(kept.iterdir())
    (kept / ".root.gone").unlink()
    monkeypatch.setattr(type(kept), "iterdir", lambda _: iter(listed))
    build()
    assert sorted(name for name in os.listdir(kept) if name.startswith(".")) == [".root.half"]


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: data[:-1] + b"?", lambda _: b"", lambda _: b"no"]
)
def test_a_file_of_records_that_is_not_whole_counts_for_nothing(kept, build, aged, damage):
    before = build()
    (file,) = kept.iterdir()
    file.write_bytes(damage(file.read_bytes()))
    assert build() == (before[0], 3)
    assert build() == (before[0], 0)


@pytest.mark.parametrize("size", [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES + 7])
def test_a_file_has_its_digest_whatever_its_size_and_however_it_has_grown(tmp_path, size):
    content = os.urandom(size)
    (tmp_path / "file").write_bytes(content)
    for said in (size, size // 2, size + 5):
        assert digest_of_file(str(tmp_path / "file"), said) == hashlib.sha256(content).digest()


def test_many_changes_at_once_leave_the_rest_known(tree, build, aged):
    for number in range(2 * file_digests.MOST_SEARCHES):
        for name in "od":
            (tree / f"d/{name}{number:03}").write_text(str(number))
    aged()
    build()
    for number in range(2 * file_digests.MOST_SEARCHES):
        (tree / f"d/o{number:03}").write_text("changed")
    aged()
    assert build()[1] == 2 * file_digests.MOST_SEARCHES
    assert build()[1] == 0
