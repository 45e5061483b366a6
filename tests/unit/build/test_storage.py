"""What the build cache takes, and what goes first: over snapshots that are never mounted."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bennu.build.cache import Found, StepCache
from bennu.build.failures import Failures
from bennu.build.keys import Key
from bennu.build.limit import DEFAULT_BYTES, limit_bytes
from bennu.build.storage import BY_CONTENT, Allowance, CacheStorage
from bennu.config import Settings
from bennu.digest import digest_of
from bennu.errors import Invalid
from bennu.store.base import CommittedSnapshot, SnapshotId
from bennu.store.database import Database
from bennu.store.operations import Operations
from bennu.store.snapshots import Snapshots

BLOCK = 4096


class World:
    """A cache with trees of so many blocks. ``others`` is what something else needs."""

    def __init__(self, root_settings: Settings, database: Database) -> None:
        self.settings = root_settings
        self.database = database
        self.snapshots = Snapshots(root_settings, database)
        self.cache = StepCache(database, self.snapshots)
        self.operations = Operations(database)
        self.others: set[SnapshotId] = set()
        self.failures = Failures(root_settings, self.snapshots)
        self.storage = CacheStorage(
            root_settings,
            database,
            self.snapshots,
            self.operations,
            failures=self.failures,
            others=lambda: self.others,
        )

    def tree(
        self, label: str, parent: CommittedSnapshot | None = None, *, blocks: int = 1, used: float = 1.0
    ) -> CommittedSnapshot:
        """The recorded tree of a step; ``used`` are seconds before the end of time as ``age`` leaves it."""
        active = self.snapshots.prepare(parent)
        (self.snapshots.directory(active) / "file").write_bytes(os.urandom(blocks * BLOCK))
        made = self.snapshots.commit(active)
        self.record(label, made, label)
        self.use(made, used)
        return made

    def record(self, name: str, tree: CommittedSnapshot, label: str) -> None:
        key = digest_of(name.encode())
        self.cache.record([Key(key, (("step", name),))], key, tree.id, label)

    def use(self, tree: CommittedSnapshot, when: float) -> None:
        with self.database.transaction() as rows:
            rows.execute("UPDATE snapshots SET used = ?, created = ? WHERE id = ?", (when, when, tree.id))

    def labels(self) -> list[str]:
        return [entry.label for entry in self.storage.entries()]

    def is_recorded(self, name: str) -> bool:
        return self.cache.find(digest_of(name.encode())) is not None

    def allowance(self, limit: str) -> Allowance:
        limited = msgspec.structs.replace(self.settings, build_cache_limit=limit)
        return Allowance(limited, self.snapshots, self.storage)


@pytest.fixture
def cache(root_settings: Settings) -> Iterator[World]:
    with Database(root_settings.database) as database:
        yield World(root_settings, database)


def test_a_tree_is_as_recent_as_what_stands_on_it_and_goes_after_it(cache):
    old = cache.tree("old", used=1)
    cache.tree("other", used=2)
    cache.tree("new", old, used=3)
    assert cache.labels() == ["other", "new", "old"]
    assert [entry.used for entry in cache.storage.entries()] == [2, 3, 3]


def test_sizes_are_those_on_the_disk(cache):
    cache.tree("a", blocks=10)
    (entry,) = cache.storage.entries()
    assert 10 * BLOCK <= entry.size_bytes <= 12 * BLOCK
    assert entry.is_reclaimable


def test_a_step_keeps_the_label_of_the_run_that_made_it(cache):
    made = cache.tree("RUN make")
    cache.record("other key", made, BY_CONTENT)
    cache.record("third key", made, "RUN make again")
    assert cache.labels() == ["RUN make"]


def test_everything_goes_and_its_records_too(cache):
    cache.tree("b", cache.tree("a"))
    pruned = cache.storage.prune()
    assert [entry.label for entry in pruned.entries] == ["b", "a"]
    assert pruned.size_bytes >= 2 * BLOCK
    assert not list(cache.snapshots.walk())
    assert not cache.is_recorded("a")
    assert os.listdir(cache.settings.snapshots) == []


def test_what_something_else_needs_stays_and_is_no_part_of_the_size(cache):
    shared = cache.tree("shared", blocks=100)
    cache.tree("own", shared)
    cache.others = {shared.id}
    assert [(entry.label, entry.is_shared) for entry in cache.storage.entries()] == [("own", False), ("shared", True)]
    assert [entry.label for entry in cache.storage.prune().entries] == ["own"]
    assert cache.is_recorded("shared")
    pruned = cache.storage.prune(shared=True)
    assert ([*pruned.entries], [entry.label for entry in pruned.forgotten]) == ([], ["shared"])
    assert not cache.is_recorded("shared")
    assert cache.snapshots.stat(shared.id) is not None


def test_as_much_as_asked_for_is_left_and_that_is_what_was_used_last(cache):
    for number in range(5):
        cache.tree(f"step {number}", blocks=20, used=number)
    size = cache.storage.entries()[0].size_bytes
    assert [entry.label for entry in cache.storage.prune(keep_bytes=3 * size).entries] == ["step 0", "step 1"]
    assert cache.storage.prune(keep_bytes=3 * size).entries == ()


def test_only_what_was_not_used_for_so_long_goes(cache):
    old = cache.tree("old", used=10)
    cache.tree("kept by its child", cache.tree("parent", used=5), used=30)
    assert [entry.label for entry in cache.storage.prune(unused_since=20).entries] == ["old"]
    assert cache.snapshots.stat(old.id) is None
    assert cache.labels() == ["kept by its child", "parent"]


def test_what_was_run_again_goes_first(cache):
    stale = cache.tree("a", used=50)
    cache.tree("b", used=1)
    cache.tree("a", used=60)
    assert cache.labels() == ["superseded", "b", "a"]
    assert [entry.id for entry in cache.storage.prune(keep_bytes=5 * BLOCK).entries] == [stale.id]


def test_a_dry_run_says_what_would_go(cache):
    cache.tree("b", cache.tree("a"))
    planned = cache.storage.prune(dry_run=True)
    assert cache.labels() == ["b", "a"]
    assert cache.storage.prune() == planned


def test_a_running_build_loses_nothing_that_it_made_or_used(cache):
    used, idle = cache.tree("used"), cache.tree("idle")
    with cache.operations.under_way("build"):
        cache.cache.keep(Found(digest_of(b"used"), used.id))
        made = cache.tree("made", used, used=time.time())
        assert [entry.label for entry in cache.storage.entries() if entry.is_busy] == ["made", "used"]
        assert [entry.id for entry in cache.storage.prune().entries] == [idle.id]
        assert cache.snapshots.stat(made.id) == made
    time.sleep(0.05)
    assert [entry.label for entry in cache.storage.prune().entries] == ["made", "used"]


def test_a_tree_that_is_being_written_upon_stays(cache):
    parent = cache.tree("parent")
    active = cache.snapshots.prepare(parent)
    assert cache.storage.prune().entries == ()
    cache.snapshots.discard(active)
    assert len(cache.storage.prune().entries) == 1


def test_the_limit_holds_before_a_build_and_after_each_step(cache):
    for number in range(10):
        cache.tree(f"old {number}", blocks=100, used=number)
    size = cache.storage.entries()[0].size_bytes
    allowance = cache.allowance(str(6 * size))
    with cache.operations.under_way("build"):
        allowance.enforce()
        assert cache.labels() == [f"old {number}" for number in range(4, 10)]
        for number in range(3):
            cache.tree(f"new {number}", blocks=100, used=time.time() + 1)
            allowance.after_step()
        assert cache.labels() == ["old 7", "old 8", "old 9", "new 0", "new 1", "new 2"]


def test_what_a_build_itself_needs_may_be_more_than_the_limit(cache):
    allowance = cache.allowance("1k")
    with cache.operations.under_way("build"):
        allowance.enforce()
        cache.tree("new", blocks=10, used=time.time() + 1)
        allowance.after_step()
        assert cache.labels() == ["new"]


def test_no_limit_is_none(cache):
    cache.tree("a", blocks=10)
    allowance = cache.allowance("none")
    allowance.enforce()
    allowance.after_step()
    assert cache.labels() == ["a"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
@given(
    st.lists(st.tuples(st.integers(-1, 5), st.integers(1, 9), st.integers(1, 20)), max_size=8),
    st.sets(st.integers(0, 7), max_size=2),
    st.integers(0, 60),
)
def test_nothing_that_is_needed_goes_and_no_more_than_has_to(tmp_path_factory, trees, needed, keep_blocks):
    place = Settings.from_environ({"BENNU_ROOT": str(tmp_path_factory.mktemp("root"))})
    with Database(place.database) as database:
        cache = World(place, database)
        made: list[CommittedSnapshot] = []
        for number, (parent, used, blocks) in enumerate(trees):
            upon = made[parent] if 0 <= parent < len(made) else None
            made.append(cache.tree(f"{number}", upon, used=used, blocks=blocks))
        cache.others = {one for index in needed if index < len(made) for one in made[index].chain}
        before = cache.storage.entries()
        keep_bytes = keep_blocks * BLOCK
        gone = {entry.id for entry in cache.storage.prune(keep_bytes=keep_bytes).entries}
        left = [entry for entry in before if entry.id not in gone]
        assert not gone & cache.others
        assert {snapshot.id for snapshot in cache.snapshots.walk()} == {entry.id for entry in left}
        own = [entry.size_bytes for entry in left if not entry.is_shared]
        assert sum(own) <= keep_bytes
        if gone:
            last = [entry for entry in before if entry.id in gone][-1]
            assert sum(own) + last.size_bytes > keep_bytes


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ("20GB", 20_000_000_000),
        ("20g", 20_000_000_000),
        ("1.5 GiB", 1_610_612_736),
        ("512MiB", 536_870_912),
        ("1000", 1000),
        ("0", 0),
        ("10%", 100_000_000_000),
        ("none", None),
        ("NONE", None),
        (None, DEFAULT_BYTES),
    ],
)
def test_limits_as_people_write_them(written, size):
    assert limit_bytes(written, 10**12) == size


def test_a_small_file_system_is_not_filled():
    assert limit_bytes(None, 8 * 10**9) == 2 * 10**9


@pytest.mark.parametrize("written", ["", "much", "-1", "10 %%", "101%", "1XB", "inf"])
def test_a_limit_that_is_none_is_refused(written):
    with pytest.raises(Invalid, match="BENNU_BUILD_CACHE_LIMIT"):
        limit_bytes(written, 10**12)
