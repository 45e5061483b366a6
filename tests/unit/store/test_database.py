"""The file as several processes meet it. (What is in it is tested with whoever owns the tables.)"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

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
