"""Contents of configs and secrets: kept once, by versions that tell nobody what a secret is."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from bennu.config import Settings
from bennu.digest import digest_of
from bennu.errors import Corrupt, Invalid, NotFound
from bennu.store.contents import Contents


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(root=tmp_path / "root", run=tmp_path / "run")


def test_what_is_put_is_read_by_its_version(settings):
    contents = Contents(settings)
    version = contents.put(b"x = 1", is_secret=False)
    assert version == digest_of(b"x = 1")
    assert contents.read(version) == b"x = 1"
    assert contents.put(b"x = 1", is_secret=False) == version


def test_the_version_of_a_secret_is_of_this_root_alone(settings, tmp_path):
    version = Contents(settings).put(b"hush", is_secret=True)
    assert version != digest_of(b"hush")
    assert Contents(settings).put(b"hush", is_secret=True) == version
    assert Contents(settings).read(version) == b"hush"
    other = Contents(Settings(root=tmp_path / "other", run=tmp_path / "run"))
    assert other.put(b"hush", is_secret=True) != version


def test_nobody_else_may_look(settings):
    Contents(settings).put(b"hush", is_secret=True)
    directory = settings.root / "contents"
    assert directory.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in directory.iterdir()} == {0o600}


def test_what_is_not_there_and_what_is_damaged(settings):
    contents = Contents(settings)
    with pytest.raises(NotFound):
        contents.read(digest_of(b"none"))
    version = contents.put(b"hush", is_secret=True)
    (settings.root / "contents" / version[7:]).write_bytes(b"else")
    with pytest.raises(Corrupt):
        contents.read(version)


def test_a_damaged_key_is_said(settings):
    Contents(settings).put(b"hush", is_secret=True)
    (settings.root / "contents/key").write_bytes(b"short")
    with pytest.raises(Invalid, match="damaged"):
        Contents(settings).put(b"hush", is_secret=True)


def test_what_nothing_has_goes_when_it_is_old(settings):
    contents = Contents(settings)
    kept, other = (contents.put(data, is_secret=True) for data in (b"a", b"b"))
    assert contents.sweep({kept}, unused_since=time.time() - 60) == 0
    assert contents.sweep({kept}, unused_since=time.time() + 60) == 1
    assert contents.read(kept) == b"a"
    with pytest.raises(NotFound):
        contents.read(other)
