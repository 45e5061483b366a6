"""Sources of COPY: what is found, by which name, what is left out, and that nothing leads out of the root."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bennu.build.source import SourceTree, load_rules
from bennu.dockerfile.ignore import Rules
from bennu.errors import Invalid, NotFound


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """a.txt b.txt dir/{one,sub/{two,three.o}} link -> a.txt tolink -> dir out -> /etc dangling -> nowhere"""
    (tmp_path / "dir/sub").mkdir(parents=True)
    for name in ("a.txt", "b.txt", "dir/one", "dir/sub/two", "dir/sub/three.o"):
        (tmp_path / name).write_text(name)
    for name, target in {"link": "a.txt", "tolink": "dir", "out": "/etc", "dangling": "nowhere"}.items():
        (tmp_path / name).symlink_to(target)
    return tmp_path


def taken(context: Path, *sources: str, ignored: tuple[str, ...] = (), exclude: tuple[str, ...] = ()) -> list[str]:
    """``name`` of each file item, ``name/: entries`` of each directory."""
    tree = SourceTree(context, what="the build context", rules=Rules(ignored), keeps_owners=False)
    selection = tree.select(sources, exclude)
    return [
        f"{item.name}/: {' '.join(each.target for each in item.entries.rest())}" if item.is_directory else item.name
        for item in selection.items
    ]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a.txt", ["a.txt"]),
        ("/a.txt", ["a.txt"]),
        ("../../a.txt", ["a.txt"]),
        ("dir/../a.txt", ["a.txt"]),
        ("dir", ["dir/: one sub sub/three.o sub/two"]),
        ("dir/", ["dir/: one sub sub/three.o sub/two"]),
        ("link", ["link"]),
        ("tolink", ["tolink/: one sub sub/three.o sub/two"]),
        ("tolink/sub/two", ["two"]),
        ("*.txt", ["a.txt", "b.txt"]),
        ("[ab].txt", ["a.txt", "b.txt"]),
        ("?.txt", ["a.txt", "b.txt"]),
        ("d*/one", ["one"]),
        ("dir/*", ["one", "sub/: three.o two"]),
        ("dir/*/tw?", ["two"]),
        ("*.nothing", []),
        ("nodir/*", []),
        ("l*k", ["link"]),
    ],
)
def test_what_a_source_means(context, source, expected):
    assert taken(context, source) == expected


def test_the_root_is_everything_and_links_below_are_links(context):
    (item,) = taken(context, ".")
    assert item == "/: a.txt b.txt dangling dir dir/one dir/sub dir/sub/three.o dir/sub/two link out tolink"


@pytest.mark.parametrize("source", ["nothing", "dangling", "out/passwd", "d*", "out", "dir/one/x"])
def test_what_is_not_there_is_refused(context, source):
    # /etc/passwd is there on the host, but not in this root
    with pytest.raises(NotFound, match="is not in the build context"):
        taken(context, source)


@pytest.mark.parametrize(
    ("ignored", "source", "expected"),
    [
        (("dir",), ".", ["/: a.txt b.txt dangling link out tolink"]),
        (("dir/sub",), "dir", ["dir/: one"]),
        (("**/*.o",), "dir", ["dir/: one sub sub/two"]),
        (("dir", "!dir/sub/two"), "dir", ["dir/: sub sub/two"]),
        (("*", "!dir/one"), ".", ["/: dir dir/one"]),
        (("a.txt",), "*.txt", ["b.txt"]),
        (("*.txt",), "*.txt", []),
        (("tolink", "link"), "*link", []),
        (("dir", "!dir/sub"), "tolink", ["tolink/: sub sub/three.o sub/two"]),
        (("dir", "!dir/sub"), "dir/sub", ["sub/: three.o two"]),
    ],
)
def test_what_is_ignored_is_not_there(context, ignored, source, expected):
    assert taken(context, source, ignored=ignored) == expected


@pytest.mark.parametrize(
    ("ignored", "source"),
    [
        (("dir",), "dir"),
        (("dir",), "dir/one"),
        (("a.txt",), "a.txt"),
        (("a.txt",), "link"),
        (("a.txt",), "lin*"),
        (("link",), "link"),
        (("tolink",), "tolink"),
        (("dir", "tolink", "!dir/sub"), "tolink/sub"),
    ],
)
def test_a_source_that_is_ignored_is_told_from_one_that_is_missing(context, ignored, source):
    with pytest.raises(NotFound, match=r"left out of the build context by \.dockerignore"):
        taken(context, source, ignored=ignored)


@pytest.mark.parametrize(
    ("exclude", "expected"),
    [
        (("sub",), ["dir/: one"]),
        (("**/*.o",), ["dir/: one sub sub/two"]),
        (("sub", "!sub/two"), ["dir/: one sub sub/two"]),
        (("one", "sub/t*"), ["dir/: sub"]),
        (("dir",), ["dir/: one sub sub/three.o sub/two"]),
    ],
)
def test_excluded_paths_are_relative_to_the_source(context, exclude, expected):
    assert taken(context, "dir", exclude=exclude) == expected


def test_several_sources_keep_their_order(context):
    assert taken(context, "b.txt", "dir/*", "a.txt") == ["b.txt", "one", "sub/: three.o two", "a.txt"]


def test_a_socket_is_taken_as_anything_else(context):
    os.mknod(context / "dir/socket", 0o140600)
    assert taken(context, "dir") == ["dir/: one socket sub sub/three.o sub/two"]


def test_the_rules_of_the_dockerfile_come_before_those_of_the_context(context):
    (context / ".dockerignore").write_text("a.txt\n")
    assert load_rules(context, context / "Dockerfile").patterns == ("a.txt",)
    (context / "Dockerfile.dockerignore").write_text("b.txt\n")
    assert load_rules(context, context / "Dockerfile").patterns == ("b.txt",)
    assert load_rules(context, None).patterns == ("a.txt",)


def test_a_malformed_rule_is_refused_at_its_line(context):
    (context / ".dockerignore").write_text("ok\n[\n")
    with pytest.raises(Invalid) as caught:
        load_rules(context, None)
    assert (caught.value.file, caught.value.line) == (str(context / ".dockerignore"), 2)
