"""Files at URLs."""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import pytest

from bennu.build import http_source
from bennu.build.http_source import Known, fetch
from bennu.digest import digest_of
from bennu.errors import Failed, Unavailable
from tests.web_site import Site, serving

LONG_AGO = 1_500_000_000


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as found:
        yield found


def test_the_content_its_digest_and_its_time(site: Site, tmp_path: Path) -> None:
    site.pages["/a"] = (200, {"Last-Modified": formatdate(LONG_AGO, usegmt=True)}, b"hello")
    fetched = fetch(f"{site.url}/a", tmp_path / "a")
    assert fetched.is_new
    assert (tmp_path / "a").read_bytes() == b"hello"
    assert fetched.known.digest == digest_of(b"hello")
    assert fetched.known.modified == LONG_AGO


def test_without_a_time_it_is_the_epoch(site: Site, tmp_path: Path) -> None:
    site.pages["/a"] = (200, {}, b"")
    assert fetch(f"{site.url}/a", tmp_path / "a").known.modified == 0


@pytest.mark.parametrize(
    "headers", [{"ETag": '"1"'}, {"ETag": 'W/"1"'}, {"Last-Modified": formatdate(LONG_AGO, usegmt=True)}]
)
def test_what_did_not_change_is_not_fetched_again(site: Site, tmp_path: Path, headers: dict[str, str]) -> None:
    site.pages["/a"] = (200, headers, b"hello")
    known = fetch(f"{site.url}/a", tmp_path / "a").known
    again = fetch(f"{site.url}/a", tmp_path / "b", known=known)
    assert not again.is_new
    assert again.known == known
    assert not (tmp_path / "b").exists()
    changed = {name: value.replace("1", "2") for name, value in headers.items()}
    site.pages["/a"] = (200, changed, b"other")
    assert fetch(f"{site.url}/a", tmp_path / "c", known=known).known.digest == digest_of(b"other")


def test_a_file_modified_just_now_has_no_validator_in_its_time(site: Site, tmp_path: Path) -> None:
    site.pages["/a"] = (200, {"Last-Modified": formatdate(usegmt=True)}, b"hello")
    assert fetch(f"{site.url}/a", tmp_path / "a").known.last_modified == ""


def test_a_server_that_ignores_the_question_but_gives_the_tag(site: Site, tmp_path: Path) -> None:
    site.pages["/a"] = (200, {"ETag": 'W/"1"'}, b"hello")
    known = Known(digest_of(b"hello"), etag='"1"')
    assert not fetch(f"{site.url}/a", tmp_path / "a", known=known).is_new


def test_redirects_and_a_suggested_name(site: Site, tmp_path: Path) -> None:
    site.pages["/a"] = (302, {"Location": "/b"}, b"")
    site.pages["/b"] = (200, {"Content-Disposition": 'attachment; filename="dir/x.tar"'}, b"hello")
    fetched = fetch(f"{site.url}/a", tmp_path / "a")
    assert fetched.suggested == "x.tar"
    site.pages["/c"] = (302, {"Location": "/c"}, b"")
    with pytest.raises(Unavailable, match="redirect"):
        fetch(f"{site.url}/c", tmp_path / "c")


def test_compression_of_the_transfer_is_undone(site: Site, tmp_path: Path) -> None:
    site.pages["/a"] = (200, {"Content-Encoding": "gzip"}, gzip.compress(b"hello"))
    assert fetch(f"{site.url}/a", tmp_path / "a").known.digest == digest_of(b"hello")


def test_user_and_password_are_sent_and_not_shown(site: Site, tmp_path: Path) -> None:
    url = site.url.replace("//", "//me:secret@") + "/a"
    with pytest.raises(Unavailable, match=r"'http://xxxxx:xxxxx@127.0.0.1:[0-9]+/a': the server answers 404"):
        fetch(url, tmp_path / "a")
    assert site.asked[0]["authorization"] == "Basic bWU6c2VjcmV0"


def test_nobody_there(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/a"
        with pytest.raises(Unavailable, match="Connection refused"):
            fetch(url, tmp_path / "a")
    with pytest.raises(Unavailable, match=r"port|URL"):
        fetch("http://127.0.0.1:99999/a", tmp_path / "a")


def test_a_server_that_stands_still(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/a"
        cancel = threading.Event()
        threading.Timer(0.05, cancel.set).start()
        with pytest.raises(Failed, match="cancelled"):
            fetch(url, tmp_path / "a", cancel=cancel)
        monkeypatch.setattr(http_source.http, "STILL_SECONDS", 0.1)
        with pytest.raises(Unavailable, match="stood still"):
            fetch(url, tmp_path / "b")
