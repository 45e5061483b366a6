"""Stages: names, numbers, what is inherited, COPY --from, targets, what is not needed."""

# ruff: noqa: E501 - a case is a line

from __future__ import annotations

from tests.conformance.builder.case import Area, File

AREA = Area("stages")
builds, refuses = AREA.builds, AREA.refuses
TREE = {"a": "a", "d/one": "1", "d/two": File(b"2", 0o600)}

builds("name", "FROM localhost/box AS one\nCOPY a /a\nFROM localhost/box\nCOPY --from=one /a /b\n", TREE)
builds("name-case", "FROM localhost/box AS One\nCOPY a /a\nFROM localhost/box\nCOPY --from=ONE /a /b\n", TREE)
builds("number", "FROM localhost/box\nCOPY a /a\nFROM localhost/box\nCOPY --from=0 /a /b\n", TREE)
builds("number-of-named", "FROM localhost/box AS x\nCOPY a /a\nFROM scratch\nCOPY --from=0 /a /b\n", TREE)
builds(
    "from-stage",
    "FROM localhost/box AS one\nENV A=1\nCOPY a /a\nUSER web\nWORKDIR /srv\nFROM one\nENV B=$A\nCOPY a b\n",
    TREE,
)
refuses("from-stage-case", "FROM localhost/box AS One\nENV A=1\nFROM oNE\nENV B=$A\n")
builds("from-number-is-image", "FROM localhost/box AS one\nFROM one AS two\nFROM two\nLABEL a=b\n")
builds("same-name-twice", "FROM localhost/box AS x\nENV A=1\nFROM localhost/box AS x\nENV A=2\nFROM x\n")
builds("name-of-itself", "FROM localhost/box AS box\nENV A=1\nFROM box\n")
builds("name-shadows-image", "FROM localhost/rich AS base\nFROM localhost/box\nCOPY --from=base /srv/file /x\n")
builds("name-like-reference", "FROM localhost/box AS a.b-c_d\nENV A=1\nFROM a.b-c_d\n")
builds("as-lower", "from localhost/box as one\nenv A=1\nfrom one\n")
builds("unused-stage-is-not-built", "FROM nowhere.invalid/nothing AS bad\nRUN false\nFROM localhost/box\nLABEL a=b\n")
builds("unused-stage-missing-file", "FROM localhost/box AS bad\nCOPY nothing /x\nFROM localhost/box\nLABEL a=b\n")
builds(
    "target-name",
    "FROM localhost/box AS one\nLABEL a=1\nFROM one AS two\nLABEL a=2\nFROM two\nLABEL a=3\n",
    target="two",
)
builds("target-case", "FROM localhost/box AS One\nLABEL a=1\nFROM one\nLABEL a=2\n", target="oNe")
builds("target-stops-before-error", "FROM localhost/box AS one\nLABEL a=1\nFROM one\nCOPY nothing /\n", target="one")
refuses("target-unknown", "FROM localhost/box AS one\n", target="two", at=False)
refuses("target-number-too-big", "FROM localhost/box AS one\n", target="7", at=False)
builds("settings-not-inherited-by-copy", "FROM localhost/rich AS one\nFROM scratch\nCOPY --from=one /srv/file /x\n")
builds("inherits-everything", "FROM localhost/rich AS one\nFROM one\n")
builds("args-of-parent-stage", "FROM localhost/box AS one\nARG A=1\nFROM one\nENV B=$A\n")
builds("args-over-parents", "FROM localhost/box AS one\nARG A=1\nFROM one\nARG A\nENV B=$A\n")
builds(
    "args-build-arg-parent",
    "FROM localhost/box AS one\nARG A=1\nENV C=$A\nFROM one\nARG A=2\nENV B=$A\n",
    args={"A": "9"},
)
builds("shell-inherited", 'FROM localhost/box AS one\nSHELL ["/bin/sh", "-ec"]\nFROM one\nCMD x\n')
builds("onbuild-of-stage", "FROM localhost/box AS one\nONBUILD ENV A=1\nONBUILD COPY a /a\nFROM one\nENV B=$A\n", TREE)
builds(
    "onbuild-of-stage-not-twice",
    "FROM localhost/box AS one\nONBUILD ENV A=1\nFROM one AS two\nFROM two\nENV B=${A}2\n",
    TREE,
)
builds("author-inherited", "FROM localhost/box AS one\nMAINTAINER me\nFROM one\nLABEL a=b\n")
builds("cmd-then-entrypoint-next-stage", 'FROM localhost/box AS one\nCMD ["a"]\nFROM one\nENTRYPOINT ["b"]\n')

builds("copy-directory", "FROM localhost/box AS one\nFROM scratch\nCOPY --from=one /data /d\n")
builds("copy-special-files", "FROM localhost/box AS one\nFROM scratch\nCOPY --from=one /data/pipe /data/null /x/\n")
builds("copy-xattrs", "FROM localhost/box AS one\nFROM scratch\nCOPY --from=one /data/capable /data/a /x/\n")
builds(
    "copy-setuid",
    "FROM localhost/box AS one\nFROM scratch\nCOPY --from=one /data/setuid /x\nCOPY --from=one /tmp /tmp\n",
)
builds(
    "copy-through-link",
    "FROM localhost/box AS one\nFROM scratch\nCOPY --from=one /opt/link /x\nCOPY --from=one /opt/link/old /y\n",
)
builds(
    "copy-through-absolute-link",
    "FROM localhost/box AS one\nFROM scratch\nCOPY --from=one /data/absolute/c /x\nCOPY --from=one /data/up/c /y\n",
)
builds("copy-root", "FROM localhost/data AS one\nFROM scratch\nCOPY --from=one / /\n")
builds("copy-root-onto-image", "FROM localhost/data AS one\nFROM localhost/box\nCOPY --from=one / /copy/\n")
builds("copy-image-tagged", "FROM scratch\nCOPY --from=localhost/data:latest /data/b /x\n")
builds("copy-image-deleted-in-layer", "FROM scratch\nCOPY --from=localhost/layers /data /opt /srv /x/\n")
builds("copy-owner-kept", "FROM localhost/box AS one\nFROM localhost/box\nCOPY --from=one /data/b /home/app /x/\n")
builds(
    "copy-from-variable-in-path",
    "FROM localhost/box AS one\nFROM localhost/box\nENV P=/data/a\nCOPY --from=one $P /x\n",
)
builds("copy-quoted-from", 'FROM localhost/box AS one\nFROM localhost/box\nCOPY --from="one" /data/a /x\n')
refuses(
    "copy-own-earlier-name",
    "FROM localhost/box AS x\nCOPY a /a\nFROM localhost/box AS y\nCOPY --from=x /a /a\nFROM y AS x\nCOPY --from=y /a /b\n",
    TREE,
    at=False,
)
builds(
    "copy-chain",
    "FROM scratch AS a\nCOPY a /1\nFROM scratch AS b\nCOPY --from=a /1 /2\nFROM scratch AS c\nCOPY --from=b /2 /3\nFROM scratch\nCOPY --from=c / /\nCOPY --from=a / /\n",
    TREE,
)
builds(
    "copy-ignores-dockerignore",
    "FROM localhost/box AS one\nCOPY d /d\nFROM scratch\nCOPY --from=one /d /x\n",
    {**TREE, ".dockerignore": "one\n"},
)
builds(
    "diamond",
    "FROM localhost/box AS b\nCOPY a /a\nFROM b AS l\nCOPY d/one /l\nFROM b AS r\nCOPY d/two /r\nFROM b\nCOPY --from=l /l /\nCOPY --from=r /r /\n",
    TREE,
)
builds(
    "merge-same-file",
    "FROM scratch AS l\nCOPY a /x\nFROM scratch AS r\nCOPY d/one /x\nFROM scratch\nCOPY --from=l / /\nCOPY --from=r / /\n",
    TREE,
)

refuses("from-later-stage", "FROM localhost/box\nCOPY --from=later /a /b\nFROM localhost/box AS later\n", target="0")
refuses("from-itself", "FROM localhost/box AS one\nCOPY --from=one /a /b\n", at=False)
refuses("from-itself-number", "FROM localhost/box\nCOPY --from=0 /a /b\n", at=False)
refuses("number-too-big", "FROM localhost/box\nCOPY --from=3 /a /b\n")
refuses(
    "cycle", "FROM localhost/box AS a\nCOPY --from=b /x /x\nFROM localhost/box AS b\nCOPY --from=a /x /x\n", at=False
)
refuses("missing-in-stage", "FROM localhost/box AS a\nFROM localhost/box\nCOPY --from=a /nothing /x\n")
refuses("from-unknown", "FROM localhost/box\nCOPY --from=nobody.invalid/x /a /b\n")
refuses("from-variable", "FROM localhost/box AS one\nFROM localhost/box\nARG S=one\nCOPY --from=$S /data/a /x\n")
refuses("bad-name", "FROM localhost/box AS 1st\nFROM localhost/box\n")
refuses("bad-name-characters", "FROM localhost/box AS a/b\n")
refuses("as-without-name", "FROM localhost/box AS\n")
refuses("three-words", "FROM localhost/box one\n")
refuses("wrong-word", "FROM localhost/box IS one\n")
refuses("from-alone", "FROM\n")
refuses("five-words", "FROM localhost/box AS one two\n")
refuses("unknown-image", "FROM localhost/nothing\n")
refuses("bad-reference", "FROM localhost/Box\n")
refuses("bad-tag", "FROM localhost/box:\n")
builds("scratch-name", "FROM localhost/box AS scratch\nFROM scratch\nCOPY --from=scratch /data/a /x\n")
refuses("context-name", "FROM localhost/box AS context\nFROM scratch\nCOPY --from=context /data/b/nothing /x\n")
refuses("run-on-scratch", "FROM scratch\nRUN true\n")
refuses("run-exec-on-scratch", 'FROM scratch\nRUN ["/bin/true"]\n')
builds("tag-and-digestless", "FROM localhost/box:latest\nLABEL a=b\n")
builds("platform-same", "FROM --platform=linux/amd64 localhost/box\nLABEL a=b\n")
builds("platform-variable", "FROM --platform=$BUILDPLATFORM localhost/box\nLABEL a=b\n")
builds("platform-target-variable", "FROM --platform=${TARGETPLATFORM} localhost/box AS x\nFROM x\nLABEL a=b\n")
refuses("platform-bad", "FROM --platform=what/ever/is/this localhost/box\n")
refuses("platform-unknown-flag", "FROM --plattform=linux/amd64 localhost/box\n")
builds("platform-scratch-other", "FROM --platform=linux/arm64 scratch\nCOPY a /a\n", TREE)
builds("platform-scratch-windows", "FROM --platform=linux/arm/v7 scratch\nCOPY a /a\n", TREE)
