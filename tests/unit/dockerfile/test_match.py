"""Wildcards of COPY, as Go's filepath.Match has them."""

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bennu.dockerfile.match import BadPatternError, Pattern, has_wildcards, split_wildcards


@pytest.mark.parametrize(
    ("pattern", "path", "want"),
    [
        ("abc", "abc", True),
        ("*", "abc", True),
        ("*", "", True),
        ("*c", "abc", True),
        ("a*", "a/b", False),
        ("a*/b", "abc/b", True),
        ("a*/b", "a/c/b", False),
        ("a*b*c*d*e*/f", "axbxcxdxe/f", True),
        ("a*b?c*x", "abxbbxdbxebxczzx", True),
        ("a*b?c*x", "abxbbxdbxebxczzy", False),
        ("*.txt", ".txt", True),
        ("ab[c]", "abc", True),
        ("ab[b-d]", "abc", True),
        ("ab[e-g]", "abc", False),
        ("ab[^c]", "abc", False),
        ("ab[^e-g]", "abc", True),
        ("ab[!c]", "ab!", True),
        ("ab[!c]", "abd", False),
        (r"a\*b", "a*b", True),
        (r"a\*b", "ab", False),
        ("a?b", "a☺b", True),
        ("a[^a]b", "a☺b", True),
        ("a???b", "a☺b", False),
        ("[a-ζ]*", "β", True),
        ("*[a-ζ]", "A", False),
        ("a?b", "a/b", False),
        (r"[\]a]", "]", True),
        (r"[\-]", "-", True),
        (r"[x\-]", "z", False),
        (r"[\-x]", "a", False),
        ("[z-a]", "b", False),
        ("[^z-a]", "b", True),
        ("[^a]", "/", True),
        ("a**b", "axxb", True),
        ("a**b", "a/b", False),
        ("(a|b)$^.+", "(a|b)$^.+", True),
        ("a\nb?", "a\nb\n", True),
    ],
)
def test_matches(pattern, path, want):
    assert Pattern(pattern).matches(path) is want


@pytest.mark.parametrize(
    "pattern", ["[]a]", "[-]", "[x-]", "[-x]", "[a-b-c]", "[", "[^", "[^bc", "a[", "[a", "\\", "[\\", "[]"]
)
def test_malformed(pattern):
    with pytest.raises(BadPatternError):
        Pattern(pattern)


@given(st.text(alphabet="ab*?.", max_size=8), st.text(alphabet="ab.", max_size=8))
def test_without_slashes_it_is_a_shell_pattern(pattern, path):
    assert Pattern(pattern).matches(path) is fnmatch.fnmatchcase(path, pattern)


def test_many_stars_do_not_multiply():
    assert not Pattern("*a" * 12 + "*b").matches("a" * 200)


PATHS = st.lists(st.text(alphabet="ab", min_size=1, max_size=2), min_size=1, max_size=4).map("/".join)


@given(st.text(alphabet="ab*?/[]^", max_size=10), PATHS)
def test_parents_of_a_match_are_walked(text, path):
    try:
        pattern = Pattern(text)
    except BadPatternError:
        return
    parts = path.split("/")
    if pattern.matches(path):
        assert all(pattern.may_match_below("/".join(parts[:depth])) for depth in range(1, len(parts)))


def test_other_directories_are_not_walked():
    pattern = Pattern("src/*/x?.c")
    walked = [directory for directory in ("src", "lib", "src/a", "src/a/b") if pattern.may_match_below(directory)]
    assert walked == ["src", "src/a"]


@pytest.mark.parametrize(
    ("path", "wild", "split"),
    [
        ("a/b", False, ("a/b", "")),
        ("a/*.c", True, ("a", "*.c")),
        ("*/b", True, ("", "*/b")),
        (r"a\*", False, (r"a\*", "")),
        ("a/[b]/c?", True, ("a", "[b]/c?")),
    ],
)
def test_the_part_without_wildcards(path, wild, split):
    assert has_wildcards(path) is wild
    assert split_wildcards(path) == split
