"""--chown and --chmod of COPY and ADD."""

# ruff: noqa: E501 - a case is a line

from __future__ import annotations

from tests.conformance.builder.case import Area, Dir, File, Hard, Link

AREA = Area("owners")
TREE = {
    "a": "a",
    "run": File(b"r", 0o755),
    "d/one": File(b"1", 0o640),
    "d/sub": Dir(0o711),
    "d/sub/two": File(b"2", 0o4711),
    "d/link": Link("one"),
    "d/hard": Hard("d/one"),
    "d/hollow": Dir(0o1777),
    "link": Link("a"),
}


def copies(name: str, lines: str, base: str = "box", **options: object) -> None:
    AREA.builds(name, f"FROM localhost/{base}\n{lines}\n", TREE, **options)


def fails(name: str, lines: str, base: str = "box", **options: object) -> None:
    AREA.refuses(name, f"FROM localhost/{base}\n{lines}\n", TREE, **options)


copies("chown-numbers", "COPY --chown=12:34 a /x\nCOPY --chown=12:34 d /y/")
copies("chown-user-number", "COPY --chown=12 a /x")
copies("chown-known-number", "COPY --chown=33 a /x\nCOPY --chown=1000 a /y")
copies("chown-name", "COPY --chown=app a /x\nCOPY --chown=web d /y")
copies("chown-name-group", "COPY --chown=app:tape a /x\nCOPY --chown=web:staff d /y")
copies("chown-name-number-group", "COPY --chown=app:77 a /x\nCOPY --chown=77:tape a /y")
copies("chown-number-that-is-a-name", "COPY --chown=7000 a /x\nCOPY --chown=7000:9000 a /y\nCOPY --chown=0:9000 a /z")
copies("chown-group-only", "COPY --chown=:tape a /x\nCOPY --chown=:55 a /y")
copies("chown-colon-at-end", "COPY --chown=web: a /x")
copies("chown-unknown-user", "COPY --chown=stranger a /x")
copies("chown-unknown-group", "COPY --chown=web:strangers a /x")
copies("chown-empty", "COPY --chown= a /x")
copies("chown-variable", "ARG U=app\nENV G=26\nCOPY --chown=$U:${G} a /x\nCOPY --chown=${NONE:-web} a /y")
copies("chown-new-parents", "COPY --chown=12:34 a /new/deep/x\nCOPY --chown=12:34 d /other/deep/")
copies("chown-existing-directory", "COPY --chown=12:34 d /data")
copies("chown-link", "COPY --chown=12:34 link /x\nCOPY --chown=12:34 d/link /y")
copies("chown-root-name", "COPY --chown=root:root a /x\nCOPY --chown=0 a /y")
copies("chown-after-user", "USER web\nCOPY a /x\nCOPY --chown=app d /y")
copies("chown-without-passwd", "COPY --chown=12:34 a /x\nCOPY --chown=56 a /y", base="bare")
copies("chown-name-without-passwd", "COPY --chown=web a /x", base="bare")
AREA.builds(
    "chown-name-own-passwd",
    "FROM scratch\nCOPY passwd group /etc/\nCOPY --chown=me:us passwd /x\n",
    {"passwd": "me:x:44:55::/:/\n", "group": "us:x:66:\n"},
)
AREA.builds(
    "chown-odd-passwd",
    "FROM scratch\nCOPY passwd group /etc/\nCOPY --chown=b:c passwd /x\nCOPY --chown=d a /y\n",
    {"a": "a", "passwd": "# comment\n\nbroken\na:x:1\nb:x:2:3:::\nd:x:4:5\n", "group": "\n#\nc:x:9:\n"},
)
copies("chown-big-numbers", "COPY --chown=4294967294:2147483647 a /x")
copies("chown-too-big", "COPY --chown=4294967296 a /x")
copies("chown-negative", "COPY --chown=-1 a /x")
copies("chown-two-colons", "COPY --chown=1:2:3 a /x")
copies("chown-blank", 'COPY --chown="a b" a /x')
copies("chown-quoted", "COPY --chown=\"web\" a /x\nCOPY --chown='app:tape' a /y")
copies("chown-setuid-stays", "COPY --chown=12:34 d/sub/two /x\nCOPY --chown=12:34 --chmod=4755 a /y")
copies("chown-passwd-is-link", "COPY --chown=web a /x", base="box")

copies("chmod-octal", "COPY --chmod=755 a /x\nCOPY --chmod=0400 a /y\nCOPY --chmod=4711 a /z\nCOPY --chmod=1777 a /t")
copies("chmod-directory", "COPY --chmod=750 d /x")
copies("chmod-directory-644", "COPY --chmod=644 d /x")
copies("chmod-new-parents", "COPY --chmod=700 a /new/deep/x\nCOPY --chmod=777 a /other/deep/")
copies("chmod-existing-directory", "COPY --chmod=700 d /data")
copies("chmod-link", "COPY --chmod=600 link /x\nCOPY --chmod=600 d /y")
copies("chmod-zero", "COPY --chmod=0 a /x\nCOPY --chmod=000 run /y")
copies("chmod-variable", "ARG M=600\nCOPY --chmod=$M a /x\nCOPY --chmod=${NONE:-711} a /y")
copies("chmod-empty", "COPY --chmod= a /x")
copies("chmod-with-chown", "COPY --chown=web --chmod=640 a d /x/")
copies("chmod-setuid-directory", "COPY --chmod=6755 d /x")
fails("chmod-not-octal", "COPY --chmod=888 a /x")
fails("chmod-too-big", "COPY --chmod=10000 a /x")
fails("chmod-negative", "COPY --chmod=-755 a /x")
copies("chmod-many-zeros", "COPY --chmod=0000644 a /x")
fails("chmod-plus-number", "COPY --chmod=+644 a /x")

copies("symbolic-add", "COPY --chmod=u+x a /x\nCOPY --chmod=+x a /y\nCOPY --chmod=a+x,g+w d /z")
copies("symbolic-remove", "COPY --chmod=go-rwx run /x\nCOPY --chmod=-x run /y")
copies("symbolic-set", "COPY --chmod=u=rw,g=r,o= run /x\nCOPY --chmod=a=r run /y\nCOPY --chmod== run /z")
copies("symbolic-capital-x", "COPY --chmod=a+X d /x\nCOPY --chmod=u=rwX,go=rX d /y\nCOPY --chmod=go=X run a /z/")
copies("symbolic-special", "COPY --chmod=u+s a /x\nCOPY --chmod=g+s,o+t d /y\nCOPY --chmod=u-s d/sub/two /z")
copies("symbolic-copy-class", "COPY --chmod=g=u a /x\nCOPY --chmod=o=g run /y\nCOPY --chmod=go=u d /z")
copies("symbolic-several-actions", "COPY --chmod=u=rw+x,go=r-x a /x")
copies("symbolic-new-parents", "COPY --chmod=go-rx a /new/deep/x")
copies("symbolic-variable", "ENV M=u+x\nCOPY --chmod=$M a /x")
copies("symbolic-add-file", "ADD --chmod=u+x,go-r a /x\nADD --chmod=og=u d /y")
fails("symbolic-bad-who", "COPY --chmod=z+x a /x")
fails("symbolic-bad-permission", "COPY --chmod=u+q a /x")
fails("symbolic-trailing-comma", "COPY --chmod=u+x, a /x")
fails("symbolic-empty-clause", "COPY --chmod=,u+x a /x")
fails("symbolic-no-action", "COPY --chmod=u a /x")

copies("add-chown-chmod", "ADD --chown=app:tape --chmod=640 a /x\nADD --chown=12:34 d /y")
AREA.builds(
    "heredoc-chown-chmod",
    "FROM localhost/box\nCOPY --chown=app:26 --chmod=755 <<E /x/script\n#!/bin/sh\nE\nADD --chmod=600 <<F /y/\nf\nF\n",
)
copies(
    "from-stage-chown",
    "COPY --chown=1:2 d /x\nFROM localhost/box\nCOPY --from=0 /x /y\nCOPY --from=0 --chown=web /x /z\nCOPY --from=0 --chmod=600 /x/one /o",
)
copies(
    "names-of-the-target-stage",
    "COPY a /a\nFROM localhost/bare AS b\nFROM localhost/box\nCOPY --from=0 --chown=app /a /x",
)
