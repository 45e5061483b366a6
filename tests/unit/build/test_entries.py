"""Entries keep what they are given, in order, in little memory."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest

from bennu.build import entries as module
from bennu.build.entries import Entries


@pytest.fixture
def status(tmp_path: Path) -> os.stat_result:
    return os.lstat(tmp_path)


@pytest.mark.parametrize("count", [0, 1, module._BATCH - 2, module._BATCH - 1, module._BATCH, 3 * module._BATCH])
def test_they_come_out_as_they_went_in(tmp_path: Path, status: os.stat_result, count: int):
    names = [os.fsdecode(b"d/\xff\xc3\xa9 %d" % number) for number in range(count)]
    entries = Entries(str(tmp_path), status)
    for name in names:
        entries.append(name, status)
    assert len(entries) == count + 1
    assert [each.target for each in entries] == ["", *names]
    assert [each.path for each in entries.rest()] == [f"{tmp_path}/{name}" for name in names]
    assert entries.first.path == str(tmp_path)
    assert {each.status for each in entries} == {entries.first.status}
    assert entries.first.status.st_mtime_ns == status.st_mtime_ns
    assert entries.first.is_directory


def test_the_last_one_can_be_taken_away_at_any_number(tmp_path: Path, status: os.stat_result):
    entries = Entries(str(tmp_path), status)
    for number in range(2 * module._BATCH + 1):
        entries.append("left out", status)
        entries.drop()
        entries.append(str(number), status)
    assert [each.target for each in entries.rest()] == [str(number) for number in range(2 * module._BATCH + 1)]


def test_an_entry_takes_little_memory(tmp_path: Path, status: os.stat_result):
    tracemalloc.start()
    try:
        entries = Entries(str(tmp_path), status)
        for number in range(20_000):
            entries.append(f"directory/file-number-{number}", status)
        taken, _ = tracemalloc.get_traced_memory()
        before = taken
        for _ in entries:
            pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < 20_000 * 160
    assert peak - before < 512 << 10
