"""Ignore rules: Docker's examples, and an independent slow reading of them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bennu.dockerfile.ignore import Rules, clean, parse
from bennu.dockerfile.match import BadPatternError
from bennu.errors import Invalid


@pytest.mark.parametrize(
    ("patterns", "path", "want"),
    [
        (["a"], "a", True),
        (["a"], "a/b/c", True),
        (["a"], "b/a", False),
        (["/a/"], "a/b", False),
        (["a/"], "a", True),
        (["*"], ".git", True),
        (["*.md", "!README.md"], "README.md", False),
        (["*.md", "!README.md"], "x.md", True),
        (["*.md", "!README*.md", "README-secret.md"], "README-secret.md", True),
        (["*.md", "README-secret.md", "!README*.md"], "README-secret.md", False),
        (["*/temp*"], "dir/temporary.txt", True),
        (["*/temp*"], "a/dir/temp", False),
        (["temp?"], "tempa", True),
        (["temp?"], "temp", False),
        (["**"], "any/thing", True),
        (["**", "!a/b"], "a/b/c", False),
        (["**/x"], "x", True),
        (["**/x"], "a/b/x", True),
        (["**/x"], "a/bx", False),
        (["**/x"], "a/x/y", True),
        (["**/*.pyc"], "a/b.pyc", True),
        (["**x"], "abx", True),
        (["**x"], "a/bx", True),
        (["**x?"], "a/xy", True),
        (["**x?"], "axy", False),
        (["a/**"], "a/b/c", True),
        (["a/**"], "a", False),
        (["a**"], "ab/c", True),
        (["a/**/b"], "a/b", True),
        (["a/**/b"], "a/x/y/b", True),
        (["a/**/b"], "axb", False),
        (["a*/**"], "ab/c", True),
        (["**/a/**"], "x/a/y", True),
        (["**/a/**"], "a", False),
        (["./a//b/../c"], "a/c", True),
        (["a[bc]"], "ac", True),
        (["a[^b]"], "ab", False),
        ([r"a\*"], "a*", True),
        ([r"a\*"], "ab", False),
        (["a.b"], "axb", False),
        (["a", "!a/b", "a/b/c"], "a/b/c/d", True),
        (["a", "!a/b", "a/b/c"], "a/b/d", False),
        (["!a", "a"], "a", True),
        ([], "a", False),
        (["."], "a", False),
    ],
)
def test_excludes(patterns, path, want):
    assert Rules(patterns).excludes(path) is want


def test_the_file():
    rules = parse(
        b"\xef\xbb\xbf# comment\n  # no comment\n\n /a/ \r\n! /a/b \nc/../d\n/\n../up\n",
        ".dockerignore",
    )
    assert rules.patterns == ("# no comment", "a", "!a/b", "d", "/", "../up")


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [("a\n  b[\n", 2, 3, "malformed"), ("!\n", 1, 1, "takes back nothing"), ("a\\", 1, 1, "ends in a backslash")],
)
def test_malformed_patterns_have_a_place(text, line, column, message):
    with pytest.raises(Invalid, match=message) as caught:
        parse(text, ".dockerignore")
    assert (caught.value.file, caught.value.line, caught.value.column) == (".dockerignore", line, column)


def descended(patterns: list[str], *directories: str) -> list[str]:
    rules = Rules(patterns)
    verdicts = {"": rules.root}
    for directory in directories:
        verdicts[directory] = rules.verdict(directory, verdicts[directory.rpartition("/")[0]])
    return [directory for directory in directories if verdicts[directory].descend]


@pytest.mark.parametrize(
    ("patterns", "directories", "want"),
    [
        (["node_modules"], ("node_modules", "src"), ["src"]),
        (["*", "!src"], ("lib", "src", ".git"), ["src"]),
        (["*", "!src/a/x"], ("lib", "src", "src/a", "src/b"), ["src", "src/a"]),
        (["*", "!**/keep"], ("lib", "lib/x"), ["lib", "lib/x"]),
        (["*", "!src/*/x", "src/b"], ("src", "src/a", "src/b"), ["src", "src/a", "src/b"]),
        (["!keep", "**"], ("keep", "x"), []),
        (["a/**"], ("a", "a/b"), ["a"]),
    ],
)
def test_excluded_trees_are_not_walked(patterns, directories, want):
    assert descended(patterns, *directories) == want


class Slow:
    """The rules once more, pattern by pattern, each with its own inheritance, as moby/patternmatcher words them."""

    def __init__(self, patterns: list[str]) -> None:
        self.patterns = [(p.startswith("!"), p.removeprefix("!")) for p in map(clean, patterns) if p]

    def walk(self, path: str) -> bool:
        parts = path.split("/")
        above = [False] * len(self.patterns)
        excluded = False
        for depth in range(1, len(parts) + 1):
            here = "/".join(parts[:depth])
            excluded = False
            below = list(above)
            for index, (negated, pattern) in enumerate(self.patterns):
                if not above[index] and negated is excluded:
                    below[index] = self.match(pattern, here)
                if below[index]:
                    excluded = not negated
            above = below
        return excluded

    @staticmethod
    def match(pattern: str, path: str) -> bool:
        wild = re.search(r"[*?]", pattern)
        if not wild:
            return path == pattern
        if pattern.endswith("**") and not re.search(r"[*?]", pattern[:-2]):
            return path.startswith(pattern[:-2])
        if pattern.startswith("**") and not re.search(r"[*?]", pattern[2:]):
            return path.endswith(pattern[2:]) or (pattern[2] == "/" and path == pattern[3:])
        expression = re.escape(pattern).replace(r"\*", "*").replace(r"\?", "?")
        expression = re.sub(
            r"\*\*/?(\Z)?|\*|\?",
            lambda m: {"*": "[^/]*", "?": "[^/]"}.get(m[0], ".*" if m.end() == len(expression) else "(.*/)?"),
            expression,
        )
        return re.fullmatch(expression, path) is not None


PARTS = st.sampled_from(["a", "b", "ab", "*", "a*", "?", "**", "**a", "a**"])
PATTERNS = st.lists(
    st.tuples(st.booleans(), st.lists(PARTS, min_size=1, max_size=3)).map(lambda t: "!" * t[0] + "/".join(t[1])),
    max_size=6,
)
PATHS = st.lists(st.sampled_from(["a", "b", "ab", "ba"]), min_size=1, max_size=4).map("/".join)


@given(PATTERNS, PATHS)
def test_the_rows_say_what_the_patterns_say(patterns, path):
    assert Rules(patterns).excludes(path) is Slow(patterns).walk(path)


@given(PATTERNS, PATHS)
def test_nothing_included_is_below_a_pruned_directory(patterns, path):
    rules = Rules(patterns)
    verdict = rules.root
    pruned = False
    parts = path.split("/")
    for depth in range(1, len(parts) + 1):
        verdict = rules.verdict("/".join(parts[:depth]), verdict)
        assert not (pruned and not verdict.excluded)
        pruned = pruned or not verdict.descend


@given(st.text(alphabet="ab*?[]^!\\/#. ", max_size=12))
def test_any_pattern_compiles_or_is_refused(text):
    try:
        Rules([text]).excludes("a/b")
    except BadPatternError:
        return
