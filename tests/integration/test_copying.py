"""COPY past the overlay leaves what COPY through it leaves, whatever lies below and whatever is copied."""

from __future__ import annotations

import io
import os
import random
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bennu.build import copying
from bennu.build.entries import Entry
from bennu.build.graph import Copy, Source
from bennu.build.source import Selection, SourceTree
from bennu.build.trees import in_trees
from bennu.build.writing import SMALL_BYTES, Appearance, Own, Target, Writer
from bennu.config import Settings
from bennu.errors import BennuError, Conflict
from bennu.host import files
from bennu.store.base import CommittedSnapshot
from bennu.store.database import Database
from bennu.store.differ import OverlayDiffer
from bennu.store.snapshots import Snapshots

pytestmark = pytest.mark.root

NAMES = "abcd"
DESTINATIONS = ("/", "/a/", "/a/b/", "/new/", "/new/er/", "/link/", "/d")


class Place:
    """A store, and COPYs of one source tree into it."""

    def __init__(self, tmp_path: Path, database: Database) -> None:
        self.settings = Settings(tmp_path / "root", tmp_path / "run")
        self.snapshots = Snapshots(self.settings, database)
        self.source = tmp_path / "source"
        self.source.mkdir()

    def parent(self, fill) -> CommittedSnapshot:
        """Two layers, filled one after the other."""
        snapshot = None
        for number in range(2):
            active = self.snapshots.prepare(snapshot)
            in_trees(self.settings, (self.snapshots.mounts(active),), lambda roots, n=number: fill(n, roots[0]))
            snapshot = self.snapshots.commit(active)
        assert snapshot is not None
        return snapshot

    def copied(self, parent: CommittedSnapshot, paths: tuple[str, ...], to: str, *, past: bool, **options: object):
        """What a COPY adds, as an archive has it; or the error's message."""
        step = Copy(parent=0, sources=tuple(Source(1, path) for path in paths), destination=to, **options)
        selection = SourceTree(self.source, what="it", keeps_owners=False).select(paths)
        active = self.snapshots.prepare(parent)

        def write(roots: tuple[Path, ...]) -> None:
            layers = Own(self.snapshots.directory(active), roots[1]) if past else None
            copying.copy([selection], step, roots[0], None, print, layers=layers)

        try:
            in_trees(self.settings, (self.snapshots.mounts(active), self.snapshots.mounts(parent)), write)
        except (BennuError, OSError) as error:
            self.snapshots.discard(active)
            return type(error).__name__
        return self.members(self.snapshots.commit(active))

    def members(self, snapshot: CommittedSnapshot) -> list[tuple[object, ...]]:
        archive = io.BytesIO()
        OverlayDiffer(self.snapshots).diff(snapshot, archive)
        archive.seek(0)
        with tarfile.open(fileobj=archive) as tar:
            return [
                (
                    *(each.name, each.type, each.mode, each.uid, each.gid, each.linkname),
                    None if each.isdir() else each.mtime,
                    tar.extractfile(each).read() if each.isreg() else b"",
                )
                for each in tar
            ]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with Database(tmp_path / "bennu.db") as database:
        yield Place(tmp_path, database)


def scatter(root: Path, dice: random.Random, *, depth: int = 3) -> list[Path]:
    """Random files, directories, links and hard links below a directory that may have some already."""
    found: list[Path] = []
    for name in NAMES:
        path = root / name
        kind = dice.choice(["file", "directory", "directory", "link", "hard", "nothing", "nothing"])
        if kind == "directory" and depth and not (path.is_symlink() or path.is_file()):
            path.mkdir(mode=dice.choice([0o755, 0o700, 0o2775]), exist_ok=True)
            found += scatter(path, dice, depth=depth - 1)
        elif os.path.lexists(path):
            continue
        elif kind == "file":
            path.write_text(dice.choice(["", "x", "other"]))
            path.chmod(dice.choice([0o644, 0o4755]))
            os.utime(path, (dice.randrange(10**9), dice.randrange(10**9)))
            found.append(path)
        elif kind == "link":
            path.symlink_to(dice.choice(["a", "/a/b", "..", "nowhere"]))
        elif kind == "hard" and found:
            path.hardlink_to(dice.choice(found))
    return found


@pytest.mark.parametrize("seed", range(40))
def test_any_tree_lands_as_through_the_overlay(place: Place, seed: int):
    dice = random.Random(seed)

    def fill(number: int, root: Path) -> None:
        if number == 0:
            scatter(root, dice)
            (root / "link").symlink_to("a/b")
        else:
            for name in ("a", "b"):
                files.remove_tree(root / name)  # what the upper layer hides
            scatter(root, dice)

    parent = place.parent(fill)
    scatter(place.source, dice)
    names = tuple(sorted(path.name for path in place.source.iterdir() if not path.is_symlink()))
    paths = dice.choice([(".",), names, (".", *names[:1])]) or (".",)
    for to in DESTINATIONS:
        if len(paths) > 1 and not to.endswith("/"):
            continue
        options = {"chown": "5:6"} if dice.random() < 0.2 else {}
        expected = place.copied(parent, paths, to, past=False, **options)
        assert place.copied(parent, paths, to, past=True, **options) == expected, (paths, to)


def writer_of(place: Place, parent: CommittedSnapshot, write) -> None:
    """Call ``write(target, fd)`` with a tree upon ``parent``."""
    active = place.snapshots.prepare(parent)

    def inside(roots: tuple[Path, ...]) -> None:
        target = Target(roots[0], Own(place.snapshots.directory(active), roots[1]))
        with files.directory(roots[0]) as fd:
            write(target, fd)

    in_trees(place.settings, (place.snapshots.mounts(active), place.snapshots.mounts(parent)), inside)
    place.snapshots.discard(active)


def entries(place: Place) -> list[Entry]:
    selection: Selection = SourceTree(place.source, what="it", keeps_owners=False).select((".",))
    return list(selection.items[0].entries.rest())


def test_only_what_the_parent_has_is_written_through_the_overlay(place: Place):
    parent = place.parent(lambda _, root: (root / "old/deep").mkdir(parents=True, exist_ok=True))
    for name in ("top", "old/one", "old/deep/two", "old/new/three", "new/four", "new/deep/five"):
        (place.source / name).parent.mkdir(parents=True, exist_ok=True)
        (place.source / name).write_text(name)

    def write(target: Target, fd: int) -> None:
        Writer(target, fd, Appearance(), keeps_owners=False).contents(entries(place))
        assert target.direct == 3
        for name in ("top", "old/one", "old/deep/two", "old/new/three", "new/four", "new/deep/five"):
            assert Path(target.root, name).read_text() == name

    writer_of(place, parent, write)


@pytest.mark.parametrize("size", [0, 1, SMALL_BYTES, SMALL_BYTES + 1])
def test_a_file_that_changes_between_the_look_and_the_copy_is_noticed(place: Place, size: int):
    parent = place.parent(lambda _, root: (root / "old").mkdir(exist_ok=True))
    (place.source / "file").write_bytes(bytes(size))
    seen = entries(place)
    os.utime(place.source / "file")

    def write(target: Target, fd: int) -> None:
        with pytest.raises(Conflict, match="changed while it was copied"):
            Writer(target, fd, Appearance(), keeps_owners=False).contents(seen)

    writer_of(place, parent, write)


def test_nothing_is_shared_with_the_context(place: Place):
    parent = place.parent(lambda _, root: (root / "old").mkdir(exist_ok=True))
    (place.source / "d").mkdir()
    (place.source / "d/file").write_text("as copied")
    copied = place.copied(parent, (".",), "/new/", past=True)
    (place.source / "d/file").write_text("written later")
    assert [each[-1] for each in copied if each[0] == "new/d/file"] == [b"as copied"]
    assert os.stat(place.source / "d/file").st_nlink == 1


def test_hard_links_hold_within_a_source_and_across_what_is_merged(place: Place):
    parent = place.parent(lambda _, root: (root / "to/old").mkdir(parents=True, exist_ok=True))
    for number, name in enumerate(("d/new/a", "d/old/b", "d/top", "e/f")):
        (place.source / name).parent.mkdir(parents=True, exist_ok=True)
        if number:
            (place.source / name).hardlink_to(place.source / "d/new/a")
        else:
            (place.source / name).write_text("one")
    for past in (False, True):
        added = place.copied(parent, ("d", "e"), "/to/", past=past)
        assert [(each[0], each[5]) for each in added if each[1] != tarfile.DIRTYPE] == [
            ("to/f", ""),  # a source of its own
            ("to/new/a", ""),
            ("to/old/b", "to/new/a"),
            ("to/top", "to/new/a"),
        ]
