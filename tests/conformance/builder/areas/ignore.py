""".dockerignore: Docker's patterns, what a selection does with what is left out, which file counts."""

# ruff: noqa: E501 - a case is a line

from __future__ import annotations

from tests.conformance.builder.case import Area, Dir, File, Link

AREA = Area("ignore")
builds, refuses = AREA.builds, AREA.refuses
TREE = {
    "a": "a", "b.md": "b", "README.md": "r", "x.txt": "x", ".hidden": "h", "d/a": "da", "d/b.md": "db", "d/README.md": "dr",
    "d/e/a": "dea", "d/e/b.md": "deb", "d/e/f/g/deep.txt": "deep", "node_modules/m/index.js": "m", "src/node_modules/n": "n",
    "src/main.go": "go", "src/main_test.go": "test", "temp": "t", "temp1": "t1", "tempdir/x": "tx", "link": Link("a"), "linkd": Link("d"),
    "empty": Dir(), "odd name": "o", "br[1]": "br", "st*r": "star", "hash#x": "#", "bang!": "!", "!bang": "!!", "#hash": "##",
}  # fmt: skip
ALL = "FROM scratch\nCOPY . /c/\n"


def case(name: str, ignore: str | bytes, dockerfile: str = ALL, **options: object) -> None:
    """The context with a .dockerignore, which has a time of its own: BuildKit takes files alike in that for the same."""
    text = ignore.encode() if isinstance(ignore, str) else ignore
    own = File(text, mtime=1_200_000_000 + len(AREA.cases))
    builds(name, dockerfile, {**TREE, ".dockerignore": own}, **options)


case("name", "a\n")
case("directory", "d\n")
case("directory-slash", "d/\n")
case("leading-slash", "/d\n")
case("leading-slash-file", "/a\n")
case("dot-slash", "./a\n./d/e\n")
case("anchored-unlike-git", "b.md\n")
case("star", "*.md\n")
case("star-directory", "*/a\n")
case("star-star", "*/*/a\n")
case("double-star", "**/b.md\n")
case("double-star-star", "**/*.md\n")
case("double-star-alone", "**\n")
case("double-star-inside", "d/**/deep.txt\n")
case("double-star-end", "d/**\n")
case("double-star-directory", "**/node_modules\n")
case("double-star-slash-end", "**/node_modules/\n")
case("double-star-glued", "d**\n")
case("double-star-prefix", "**.md\n")
case("question", "temp?\n")
case("class", "[a-b]*\n")
case("class-negated", "[^a-z]*\n")
case("star-alone", "*\n")
case("star-then-back", "*\n!a\n!d/e\n")
case("back-of-one-below", "d\n!d/e/a\n")
case("back-order", "!README.md\n*.md\n")
case("back-then-out-again", "*.md\n!README*.md\nREADME.md\n")
case("back-by-star", "*\n!*.md\n")
case("back-by-double-star", "**\n!**/*.md\n")
case("back-parent-of-out", "d/e\n!d\n")
case("back-blank-behind-bang", "*\n! a\n")
case("back-slash", "*\n!/src/main.go\n")
case("everything-but-a-directory", "*\n!src\nsrc/node_modules\n")
case("everything-but-deep", "**\n!d/e/f/g/deep.txt\n")
case("comments-and-blanks", "# a comment\n\n   \n  a  \n\tx.txt\t\n # no comment: a blank before\n")
case("hash-escaped", "\\#hash\n")
case("bang-escaped", "\\!bang\n")
case("bracket-escaped", "br\\[1\\]\n")
case("star-escaped", "st\\*r\n")
case("blank-inside", "odd name\n")
case("crlf", "a\r\nd\r\n")
case("bom", b"\xef\xbb\xbfa\nd\n")
case("no-line-end", "a\nd")
case("unclean", "d/../a\nd/./e/../b.md\n//x.txt\n")
case("up", "../a\n../../x.txt\n")
case("dot", ".\n")
case("dot-then-back", ".\n!a\n")
case("slash", "/\n")
case("case-counts", "A\nReadme.md\n")
case("hidden", ".*\n")
case("link-not-followed", "linkd/a\n")
case("link-itself", "link\n")
case("empty-directory", "empty\n")
case("directory-emptied", "src/*\n")
case("directory-emptied-below", "d/**/a\nd/**/*.md\nd/**/*.txt\n")
case("itself-and-dockerfile", "Dockerfile\n.dockerignore\n")
case("back-itself", "*\n!Dockerfile\n!.dockerignore\n")
case("only-comment", "# nothing\n")
case("empty-file", "")
case("non-ascii", "\u00e9t\u00e9\n")
case("copy-wildcard", "*.md\n!README.md\n", "FROM scratch\nCOPY *.md *.txt /c/\n")
case("copy-directory", "d/e\n", "FROM scratch\nCOPY d /c/\n")
case("copy-directory-back", "d\n!d/e/a\n", "FROM scratch\nCOPY d /c/\n")
case("copy-file-back", "d\n!d/e/a\n", "FROM scratch\nCOPY d/e/a /c/\n")
case("copy-through-link", "d/e\n", "FROM scratch\nCOPY linkd /c/\n")
case("copy-wildcard-directory", "d/e\n", "FROM scratch\nCOPY d* src* /c/\n")
case(
    "copy-from-stage-ignores-nothing",
    "a\n",
    "FROM localhost/box AS s\nRUN echo 1 > /a\nFROM scratch\nCOPY --from=s /a /a\n",
)
case("add-too", "d/a\n*.md\n", "FROM scratch\nADD d /c/\n")
case("bind-mount", "d/e\n", "FROM localhost/box\nRUN --mount=target=/m find /m | sort > /found\n")
case("workdir-of-emptied", "d/*\n!d/e\n", "FROM scratch\nCOPY d/ /c/\n")
refuses("copy-left-out", "FROM scratch\nCOPY a /c/\n", {**TREE, ".dockerignore": "a\n"})
refuses("copy-left-out-directory", "FROM scratch\nCOPY d /c/\n", {**TREE, ".dockerignore": "d\n"})
builds("copy-left-out-wildcard", "FROM scratch\nCOPY *.md /c/\n", {**TREE, ".dockerignore": "*.md\n"})
refuses("bad-pattern", ALL, {**TREE, ".dockerignore": "[a\n"}, at=False)
refuses("bad-pattern-range", ALL, {**TREE, ".dockerignore": "[z-a]\n"}, at=False)
refuses("bang-alone", ALL, {**TREE, ".dockerignore": "a\n!\n"}, at=False)
builds("own-of-the-dockerfile", ALL, {**TREE, ".dockerignore": "a\n", "Dockerfile.dockerignore": "d\n"})
builds(
    "own-of-another-name",
    ALL,
    {**TREE, ".dockerignore": "a\n", "x.Dockerfile.dockerignore": "d\n"},
    file="x.Dockerfile",
)
builds(
    "own-in-a-directory",
    ALL,
    {**TREE, ".dockerignore": "a\n", "build/Dockerfile.dockerignore": "src\n"},
    file="build/Dockerfile",
)
builds("own-empty", ALL, {**TREE, ".dockerignore": "a\n", "Dockerfile.dockerignore": ""})
builds("not-in-a-subdirectory", ALL, {**TREE, "d/.dockerignore": "a\n"})
builds(
    "modes-of-what-comes-back",
    ALL,
    {"d": Dir(0o700), "d/a": File(b"a", 0o600), "d/b": "b", ".dockerignore": "d\n!d/a\n"},
)
