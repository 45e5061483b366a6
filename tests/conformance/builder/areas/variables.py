"""ARG and the putting in of values: scopes, build arguments, every operator, quotes and escapes."""

# ruff: noqa: E501 - a case is a line

from __future__ import annotations

from tests.conformance.builder.case import Area

AREA = Area("variables")
builds, refuses = AREA.builds, AREA.refuses


def expands(name: str, *values: str, before: str = "ENV A=one E= S='x y' P=/a/b/c.tar.gz R=aXbXc") -> None:
    """Labels with these values, one an instruction."""
    labels = "\n".join(f"LABEL v{number}={value}" for number, value in enumerate(values))
    builds(name, f"FROM localhost/box\n{before}\n{labels}\n")


def fails(name: str, value: str, before: str = "ENV A=one E= S='x y' P=/a/b/c.tar.gz") -> None:
    refuses(name, f"FROM localhost/box\n{before}\nLABEL v={value}\n")


# scopes
builds("arg-default", "FROM localhost/box\nARG A=1\nLABEL a=$A\n")
builds("arg-build-arg", "FROM localhost/box\nARG A=1\nLABEL a=$A\n", args={"A": "2"})
builds("arg-no-default", "FROM localhost/box\nARG A\nLABEL a=$A b=${A-unset} c=${A:-empty}\n")
builds("arg-empty-build-arg", "FROM localhost/box\nARG A=1\nLABEL a=$A b=${A-unset} c=${A:-empty}\n", args={"A": ""})
builds("arg-empty-default", "FROM localhost/box\nARG A=\nLABEL b=${A-unset} c=${A:-empty}\n")
builds("arg-before-declaration", "FROM localhost/box\nLABEL a=$A\nARG A=1\nLABEL b=$A\n", args={"A": "2"})
builds("arg-declared-twice", "FROM localhost/box\nARG A=1\nARG A=2\nLABEL a=$A\nARG A\nLABEL b=$A\n")
builds("arg-declared-twice-build-arg", "FROM localhost/box\nARG A=1\nARG A=2\nLABEL a=$A\n", args={"A": "3"})
builds("arg-of-arg", "FROM localhost/box\nARG A=1\nARG B=${A}2\nARG C=$B$A\nLABEL c=$C\n", args={"A": "x"})
builds("arg-several", "FROM localhost/box\nARG A=1 B=2 C D=$A\nLABEL a=$A b=$B c=$C d=$D\n", args={"C": "3"})
builds("arg-several-same-line-order", "FROM localhost/box\nARG A=1 B=${A}x A=2 C=$A\nLABEL b=$B c=$C\n")
builds("arg-quoted", "FROM localhost/box\nARG A=\"one two\" B='three four' C=five\\ six\nLABEL a=$A b=$B c=$C\n")
builds("arg-env-wins", "FROM localhost/box\nARG A=1\nENV A=2\nLABEL a=$A\n", args={"A": "3"})
builds("arg-after-env", "FROM localhost/box\nENV A=1\nARG A=2\nLABEL a=$A\n")
builds("arg-after-env-build-arg", "FROM localhost/box\nENV A=1\nARG A=2\nLABEL a=$A\n", args={"A": "3"})
builds("arg-after-env-no-default", "FROM localhost/box\nENV A=1\nARG A\nLABEL a=$A\n", args={"A": "3"})
builds("arg-of-base-env", "FROM localhost/rich\nARG COLOUR=green\nLABEL a=$COLOUR\n")
builds("arg-into-env", "FROM localhost/box\nARG A=1\nENV A=$A B=$A\n", args={"A": "2"})
builds("arg-not-in-image", "FROM localhost/box\nARG SECRET=1\nCMD echo $SECRET\n")
builds("global-in-from", "ARG NAME=box\nFROM localhost/$NAME\nLABEL a=$NAME\n")
builds("global-in-from-build-arg", "ARG NAME=rich TAG=latest\nFROM localhost/${NAME}:$TAG\n", args={"NAME": "box"})
builds("global-redeclared", "ARG A=1\nFROM localhost/box\nARG A\nLABEL a=$A\n")
builds("global-redeclared-default", "ARG A=1\nFROM localhost/box\nARG A=2\nLABEL a=$A\n")
builds("global-redeclared-build-arg", "ARG A=1\nFROM localhost/box\nARG A=2\nLABEL a=$A\n", args={"A": "3"})
builds(
    "global-each-stage",
    "ARG A=1\nFROM localhost/box AS x\nARG A\nLABEL x=$A\nFROM localhost/box\nLABEL y=$A\nCOPY --from=x /srv/file /\n",
)
builds("global-of-global", "ARG A=b\nARG B=${A}ox\nFROM localhost/$B\nARG B\nLABEL b=$B\n")
builds("global-modifiers", "ARG A=\nFROM localhost/${A:-box}\n")
builds(
    "global-in-alias-is-not-expanded", "ARG P=linux/amd64\nFROM --platform=$P localhost/box AS x\nFROM x\nLABEL a=b\n"
)
builds("global-whole-reference", "ARG BASE=localhost/box:latest\nFROM ${BASE} AS b\nFROM b\nLABEL a=b\n")
builds(
    "global-stage-name",
    "ARG S=two\nFROM localhost/box AS one\nLABEL a=1\nFROM localhost/box AS two\nLABEL a=2\nFROM $S\n",
)
builds("global-trim", "ARG BASE=localhost/box-dev\nFROM ${BASE%-dev}\n")
builds("unused-build-arg", "FROM localhost/box\nLABEL a=b\n", args={"NOBODY": "1"})
builds("undeclared-build-arg-not-seen", "FROM localhost/box\nLABEL a=$A\n", args={"A": "1"})
builds(
    "predefined-platform",
    "FROM localhost/box\nARG TARGETPLATFORM\nARG TARGETOS\nARG TARGETARCH\nARG TARGETVARIANT\nARG BUILDPLATFORM\nARG BUILDOS\nARG BUILDARCH\nARG BUILDVARIANT\nLABEL a=$TARGETPLATFORM b=$TARGETOS c=$TARGETARCH d=$TARGETVARIANT e=$BUILDPLATFORM f=$BUILDOS g=$BUILDARCH h=$BUILDVARIANT\n",
)
builds("predefined-platform-undeclared", "FROM localhost/box\nLABEL a=$TARGETPLATFORM b=${TARGETARCH:-none}\n")
builds("predefined-platform-default", "FROM localhost/box\nARG TARGETARCH=other\nLABEL a=$TARGETARCH\n")
builds(
    "predefined-platform-overridden",
    "FROM localhost/box\nARG TARGETARCH\nLABEL a=$TARGETARCH\n",
    args={"TARGETARCH": "mine"},
)
builds("predefined-global-redefined", "ARG TARGETARCH=mine\nFROM localhost/box\nARG TARGETARCH\nLABEL a=$TARGETARCH\n")
builds("predefined-stage", "FROM localhost/box AS here\nARG TARGETSTAGE\nLABEL a=$TARGETSTAGE\n", target="here")
builds("predefined-stage-default", "FROM localhost/box AS here\nARG TARGETSTAGE\nLABEL a=$TARGETSTAGE\n")
builds("proxy-undeclared", "FROM localhost/box\nLABEL a=$HTTP_PROXY\n", args={"HTTP_PROXY": "http://proxy"})
builds(
    "proxy-declared", "FROM localhost/box\nARG HTTP_PROXY\nLABEL a=$HTTP_PROXY\n", args={"HTTP_PROXY": "http://proxy"}
)
builds("arg-history-values", "FROM localhost/box\nARG A=\"q q\" B='$x' C\nARG D=1\n", args={"C": "c c"})
refuses("arg-alone", "FROM localhost/box\nARG\n")
refuses("arg-empty-name", "FROM localhost/box\nARG =1\n")
builds("arg-blank-word", "FROM localhost/box\nARG A B\nLABEL a=b\n")
refuses("global-missing-in-from", "FROM localhost/$NOTHING\n")
refuses("from-variable-empty", "ARG A\nFROM $A\n")
refuses("from-stage-arg", "FROM localhost/box AS x\nARG N=box\nFROM localhost/$N\n")
refuses("only-args", "ARG A=1\n")
refuses("instruction-before-from", "ENV A=1\nFROM localhost/box\n")
refuses("label-before-from", "ARG A\nLABEL a=b\nFROM localhost/box\n")

# operators
expands("plain", "$A", "${A}", "$A$A", "${A}x", "$Ax", "x$A", "x${A}y", "$E", "$NONE", "${NONE}")
expands("minus", "${A-d}", "${E-d}", "${NONE-d}", "${NONE-}", "${NONE-$A}", "${NONE-${E:-deep}}", '"${NONE-a b}"')
expands("colon-minus", "${A:-d}", "${E:-d}", "${NONE:-d}", "${NONE:-}", "${NONE:-$A}", '"${E:-a b}"', "${NONE:--}")
expands("plus", "${A+s}", "${E+s}", "${NONE+s}", "${A+$S}", "${A+}")
expands("colon-plus", "${A:+s}", "${E:+s}", "${NONE:+s}", "${A:+${A}${A}}")
expands("question-set", "${A?no}", "${A:?no}", "${E?no}")
expands(
    "hash", "${P#*/}", "${P#/a}", "${P#b}", "${P#*.}", "${P##*/}", "${P##*.}", "${P#?}", "${E#x}", "${NONE#x}", "${P#}"
)
expands("percent", "${P%.*}", "${P%%.*}", "${P%gz}", "${P%/*}", "${P%%/*}", "${P%?}", "${E%x}", "${NONE%x}", "${P%%*}")
expands("slash-star", "${R/*/z}", "${R//X*/z}", "${R/[a-b]/z}", "${R/b*/z}", "${R/X/$A}", "${R/$E/z}")
expands("nested-braces", "${NONE:-${NONE:-${A}}}", "${A:+a${A:+b${A:+c}}}", "${NONE-{\\}}")
expands("escapes", "\\$A", "\\${A}", "\\\\$A", "\\\\\\$A", '"\\$A"', "'\\$A'", '"\\\\"', "a\\ b", "\\a\\b", '"\\a"')
expands("quotes", "'$A'", '"$A"', "\"'$A'\"", "'\"$A\"'", "$A'$A'\"$A\"", "''", '""', "'a'b\"c\"")
expands("blanks-kept", "$S", '"$S"', "${S}", "'$S'")
expands("dollars", "$", "$$", "$$A", "a$", "$-", "$.", "$/", "$'A'", '$"A"', "${A}$", "$ A=x")
expands("positional", "$0", "$1", "$9x", "${10}", "$#", "$?", "$!", "$@", "$*", "$_", "${_}")
expands("case-of-names", "$a", "${a-lower}", "$A_", "$A.b", "$A-b", "$A:b", "${A}_")
expands("unicode", "$\u00e9", "${A}\u00e9", "\u65e5$A", "${NONE:-\u65e5\u672c}")
expands("hash-is-no-comment", "a#b", "$A#b", "'#'")
expands("tilde", "~", "~/x", "$A~")
expands("backslash-at-end-of-quotes", '"a\\\\"', "'a\\'", "a\\\\")
expands("value-is-not-expanded-again", "$D", '"$D"', before="ENV D='$A' A=1")
expands("value-has-quotes", "$Q", '"$Q"', before="ENV Q='\"a b\"'")
expands("value-has-backslash", "$B", '"$B"', before="ENV B='a\\nb'")
expands("default-with-quotes", '${NONE:-"a b"}', "${NONE:-'a b'}", "\"${NONE:-'a'}\"", '"${NONE:-\\"a\\"}"')
expands("default-with-colon-and-slash", "${NONE:-http://x:80/y}", "${NONE:-a:b}", "${NONE:-:-}")
fails("question-unset", "${NONE?message}")
fails("question-unset-no-message", "${NONE?}")
fails("colon-question-empty", "${E:?message}")
fails("colon-question-unset", "${NONE:?}")
fails("unclosed", "${A")
fails("unclosed-default", "${A:-x")
fails("empty-braces", "${}")
fails("bad-operator", "${A:=x}")
fails("bad-operator-equals", "${A=x}")
fails("bad-operator-caret", "${A^}")
fails("bad-operator-comma", "${A,,}")
fails("bad-operator-at", "${A@Q}")
fails("substring", "${A:1:2}")
fails("length", "${#A}")
fails("indirect", "${!A}")
fails("blank-in-braces", '"${A }"')
fails("colon-alone", "${A:}")
fails("unclosed-single", "'a")
fails("unclosed-double", '"$A')
fails("slash-alone", "${P/}")
builds("command-substitution-is-text", "FROM localhost/box\nLABEL a=$(date) b=`date`\n")
builds("cmd-not-expanded", 'FROM localhost/box\nENV A=1\nCMD echo $A ${A} ${A:?x} ${\nENTRYPOINT ["$A"]\n')
builds("healthcheck-not-expanded", "FROM localhost/box\nENV A=1\nHEALTHCHECK CMD $A ${\n")
builds("maintainer-not-expanded", "FROM localhost/box\nENV A=1\nMAINTAINER $A ${A}\n")
builds("onbuild-not-expanded", "FROM localhost/box\nENV A=1\nONBUILD ENV B=$A C=${NONE:-x}\n")
builds("workdir-expanded", "FROM localhost/box\nENV A=x B=/y\nWORKDIR $B/${A}\nWORKDIR ${NONE:-z}\nWORKDIR '$A'\n")
builds(
    "stopsignal-user-volume-expose",
    "FROM localhost/box\nARG N=9\nSTOPSIGNAL ${N}\nUSER $N:${N}\nVOLUME /v$N\nEXPOSE ${N}0\n",
)
