"""The file as several processes meet it. (What is in it is tested with whoever owns the tables.)"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from bennu.errors import Unavailable
from bennu.store.database import Database


def test_several_that_are_first_at_once_all_get_it(tmp_path):
    for number in range(8):
        meet = threading.Barrier(6, timeout=30)

        def first_use(path=tmp_path / f"{number}.db", meet=meet):
            meet.wait()
            with Database(path) as database:
                return database.one("PRAGMA journal_mode")[0]

        with ThreadPoolExecutor(6) as pool:
            assert {each.result() for each in [pool.submit(first_use) for _ in range(6)]} == {"wal"}


def test_a_full_disk_is_told_and_takes_nothing_back_but_what_was_under_way(tmp_path):
    with Database(tmp_path / "bennu.db") as database:
        pages = database.query("PRAGMA page_count")[0][0]
        database.query(f"PRAGMA max_page_count = {pages + 2}")
        insert = "INSERT INTO operations (what, owner, boot, started) VALUES (?, '', '', 0)"
        with pytest.raises(Unavailable, match="the disk is full"), database.transaction() as rows:
            rows.execute(insert, ("x" * 100_000,))
        with database.transaction() as rows:
            rows.execute(insert, ("small",))
        assert [row["what"] for row in database.query("SELECT what FROM operations")] == ["small"]
