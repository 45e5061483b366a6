"""``bennu builder du`` and ``prune`` from their words to what they say and do."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path

import pytest

from bennu.build.keys import Key
from bennu.cli.main import main
from bennu.config import Settings
from bennu.digest import digest_of
from bennu.wiring import Runtime


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with three steps, the third upon the second."""
    place = tmp_path / "root"
    with Runtime(Settings.from_environ({"BENNU_ROOT": str(place)})) as store:
        below = None
        for label in ("[1/3] COPY a /\n  b", "[2/3] RUN one", "[3/3] RUN two"):
            active = store.snapshots.prepare(below)
            (store.snapshots.directory(active) / "file").write_bytes(b"x" * 20_000)
            below = store.snapshots.commit(active)
            key = digest_of(label.encode())
            store.builder.cache.record([Key(key, ())], key, below.id, label)
            below = None if label.startswith("[1") else below
    time.sleep(0.05)  # what is so new could be that of work which has just begun
    return place


def said(root: Path, *words: str, **environ: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    status = main(
        ["builder", *words], {"BENNU_ROOT": str(root), **environ}, stdin=io.StringIO(), stdout=out, stderr=err
    )
    return status, out.getvalue(), err.getvalue()


def test_what_there_is_and_the_limit_are_listed(root):
    status, out, _ = said(root, "du", BENNU_BUILD_CACHE_LIMIT="1GB")
    lines = out.splitlines()
    assert status == 0
    assert lines[0].split() == ["ID", "TYPE", "STEP", "SIZE", "CREATED", "LAST", "USED", "SHARED", "RECLAIMABLE"]
    assert ["[1/3] COPY a / b" in lines[1], "[3/3] RUN two" in lines[2], "[2/3] RUN one" in lines[3]] == [True] * 3
    assert lines[-1].startswith("Total:")
    assert lines[-1].endswith(" of 1GB")


def test_a_script_gets_one_object_a_step(root):
    _, out, _ = said(root, "du", "--format", "json")
    found = [json.loads(line) for line in out.splitlines()]
    assert [each["Step"] for each in found] == ["[1/3] COPY a / b", "[3/3] RUN two", "[2/3] RUN one"]
    assert {each["Reclaimable"] for each in found} == {True}
    assert all(each["SizeBytes"] >= 20_000 for each in found)


def test_nothing_goes_unasked(root):
    status, _, err = said(root, "prune")
    assert status == 1
    assert "--yes" in err
    assert len(said(root, "du", "--format", "json")[1].splitlines()) == 3


def test_all_goes_where_nothing_needs_it(root):
    status, out, _ = said(root, "prune", "--yes")
    lines = out.splitlines()
    assert (status, len(lines)) == (0, 4)
    assert lines[0].startswith("removed ")
    assert lines[0].endswith("kB [1/3] COPY a / b")
    assert lines[-1].startswith("Total reclaimed space: ")
    assert said(root, "du", "--format", "json")[1] == ""


@pytest.mark.parametrize(
    ("words", "gone"),
    [(("--keep-storage", "50kB"), 1), (("--filter", "until=1h"), 0), (("--max-used-space", "1GiB"), 0), (("-a",), 3)],
)
def test_some_stay(root, words, gone):
    dry = said(root, "prune", "--dry-run", *words)[1].splitlines()
    wet = said(root, "prune", "--yes", *words)[1].splitlines()
    assert len(dry) == len(wet) == gone + 1
    assert all(line.startswith("would remove ") for line in dry[:-1])
    assert len(said(root, "du", "--format", "json")[1].splitlines()) == 3 - gone


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--filter", "label=x"), "'label'"),
        (("--filter", "until=soon"), "'soon'"),
        (("--filter", "until"), "until"),
        (("--keep-storage", "much"), "'much'"),
    ],
)
def test_what_cannot_be_meant_is_refused(root, words, message):
    status, _, err = said(root, "prune", "--yes", *words)
    assert status == 64
    assert message in err
    assert len(said(root, "du", "--format", "json")[1].splitlines()) == 3


def test_a_limit_that_is_none_is_refused(root):
    status, _, err = said(root, "du", BENNU_BUILD_CACHE_LIMIT="much")
    assert status == 1
    assert "BENNU_BUILD_CACHE_LIMIT is 'much'" in err
