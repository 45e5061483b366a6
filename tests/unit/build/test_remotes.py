"""What a source says: a file at a URL, a place in a Git repository, or neither."""

from __future__ import annotations

import pytest

from bennu.build.remotes import GitReference, file_name, is_url, parse_git_reference, without_credentials
from bennu.errors import Invalid


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("https://host/dir/name.git", GitReference("https://host/dir/name.git")),
        ("HTTPS://host/name.git", GitReference("https://host/name.git")),
        ("http://host:8080/name.git#v1", GitReference("http://host:8080/name.git", ref="v1")),
        (
            "https://host/name.git#a/b:c//d/../e/",
            GitReference("https://host/name.git", ref="a/b", subdirectory="c/e"),
        ),
        ("https://host/name.git#:../../up", GitReference("https://host/name.git", subdirectory="up")),
        ("git://host/name", GitReference("git://host/name")),
        ("ssh://me@host:22/~/name", GitReference("ssh://me@host:22/~/name")),
        ("me@host:name.git", GitReference("me@host:name.git")),
        ("me@host:a/b?subdir=/c#v1", GitReference("me@host:a/b", ref="v1", subdirectory="c")),
        ("github.com/a/b#x", GitReference("https://github.com/a/b", ref="x", is_shorthand=True)),
        ("https://host/n.git?ref=v1&subdir=d", GitReference("https://host/n.git", ref="v1", subdirectory="d")),
        ("https://host/n.git?tag=v1", GitReference("https://host/n.git", ref="refs/tags/v1")),
        ("https://host/n.git?branch=refs/heads/b", GitReference("https://host/n.git", ref="refs/heads/b")),
        (
            "https://host/n.git?keep-git-dir&submodules=0&checksum=abc",
            GitReference("https://host/n.git", keep_git_dir=True, submodules=False, checksum="abc"),
        ),
        ("https://host/n.git?ref=v1#v1", GitReference("https://host/n.git", ref="v1")),
        (
            f"https://host/n.git?fetch-by-commit=true&commit={'a' * 40}#b",
            GitReference("https://host/n.git", ref="b", checksum="a" * 40, by_commit=True),
        ),
    ],
)
def test_a_place_in_a_repository(text: str, reference: GitReference) -> None:
    assert parse_git_reference(text) == reference
    assert not is_url(text)


@pytest.mark.parametrize(
    "text",
    [
        "file.txt",
        "./x@y:z",
        "../n.git",
        "n.git",
        "host/n.git",
        "ftp://host/n.git",
        "file:///n.git",
        "https://host/n.git/",
        "https://host/n.git.x",
        "https://host/n",
        "a b@host:x",
    ],
)
def test_no_repository(text: str) -> None:
    assert parse_git_reference(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "https://host/n.git?ref=a#b",
        "https://host/n.git?ref=a&ref=a",
        "https://host/n.git?tag=a&branch=b",
        "https://host/n.git?ref=",
        "https://host/n.git?other=1",
        "https://host/n.git?subdir=a#:b",
        "https://host/n.git?submodules=perhaps",
        "https://host/n.git?mtime=now",
        "https://host/n.git?checksum=xyz",
        "https://host/n.git?fetch-by-commit=1&checksum=abc",
        "https://host/n.git#--upload-pack=x",
    ],
)
def test_what_contradicts_itself_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        parse_git_reference(text)


def test_the_nearest_word_is_named() -> None:
    with pytest.raises(Invalid) as caught:
        parse_git_reference("https://host/n.git?subdi=x")
    assert caught.value.hint == "did you mean subdir?"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://host/a/b.tar.gz", "b.tar.gz"),
        ("http://host/a%20b?x=/y#/z", "a b"),
        ("http://host/dir/", "dir"),
        ("http://host/", "__unnamed__"),
        ("http://host", "__unnamed__"),
        ("http://host/..", "download"),
        ("http://host/a%0Ab", "download"),
    ],
)
def test_the_name_of_a_fetched_file(url: str, name: str) -> None:
    assert is_url(url)
    assert file_name(url) == name


def test_no_password_is_shown() -> None:
    assert without_credentials("https://me:secret@host/n.git") == "https://xxxxx:xxxxx@host/n.git"
    assert without_credentials("https://token@host/n.git") == "https://xxxxx@host/n.git"
    assert without_credentials("https://host/n.git") == "https://host/n.git"
    assert without_credentials("ssh://me@host/n.git") == "ssh://me@host/n.git"
    assert without_credentials("me@host:n.git") == "me@host:n.git"
