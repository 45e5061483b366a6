"""The checks' options, their places, and that no file that parses can break them."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bennu.dockerfile import ignore
from bennu.dockerfile.checks.facts import Facts
from bennu.dockerfile.checks.options import Options, parse_options
from bennu.dockerfile.checks.rules import RULES
from bennu.dockerfile.checks.run import check
from bennu.dockerfile.outline import outline, targets
from bennu.dockerfile.parser import parse
from bennu.errors import Invalid
from bennu.oci.platform import Platform

HOST = Platform("amd64", "linux")
FACTS = Facts(
    predefined={"TARGETPLATFORM": "linux/amd64"},
    build_args={},
    platform=HOST,
    image=lambda _name, _platform: None,
    rules=ignore.parse("*.log\ndir\n", ".dockerignore"),
)
EVERYTHING = Options(experimental=frozenset({"all"}))


def found(text: str):
    return check(parse(text, "D"), FACTS, EVERYTHING)


@pytest.mark.parametrize(
    ("text", "skip", "experimental", "is_error"),
    [
        ("", (), (), False),
        ("  ", (), (), False),
        ("skip=A", ("A",), (), False),
        ("skip=A,B", ("A", "B"), (), False),
        (" skip = A , B ", ("A", "B"), (), False),
        ("skip=all;error=true", ("all",), (), True),
        ("error=1;experimental=A;skip=B", ("B",), ("A",), True),
        ("error=false", (), (), False),
        ("skip=A;skip=B", ("B",), (), False),
        ("skip=", ("",), (), False),
    ],
)
def test_options_are_read(text, skip, experimental, is_error):
    assert parse_options(text) == Options(frozenset(skip), frozenset(experimental), is_error)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("skip", "'skip' is not KEY=VALUE"),
        ("=A", "'=A' is not KEY=VALUE"),
        ("skpi=A", "'skpi=A' is not KEY=VALUE"),
        ("error=yes", "neither true nor false but 'yes'"),
        ("error=", "neither true nor false but ''"),
        ("skip=A;error=true;skip=B;skip=C", None),
        ("skip=A;skip=B;error=true;skip=C", "neither true nor false but 'true;skip=C'"),
    ],
)
def test_options_that_are_none(text, message):
    if message is None:
        assert parse_options(text).is_error
        return
    with pytest.raises(Invalid) as caught:
        parse_options(text)
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("text", "rule", "line", "column", "marked"),
    [
        ("FROM scratch AS foo\nFROM foo AS Foo", "StageNameCasing", 2, 13, "Foo"),
        ("FROM as as as", "FromAsCasing", 1, 9, "as"),
        ("FROM scratch AS a\nFROM scratch AS a", "DuplicateStageName", 2, 17, "a"),
        ("FROM scratch\nENV a=1 \\\n\n  b=2", "NoEmptyContinuation", 3, 1, ""),
        ("FROM scratch\nenv a=1\nENV b=2", "ConsistentInstructionCasing", 2, 1, "env"),
        ("FROM scratch\nCOPY a \\\n  ${fooo} /x/", "UndefinedVar", 3, 3, "${fooo"),
        ("FROM scratch\nARG a MY_TOKEN", "SecretsUsedInArgOrEnv", 2, 7, "MY_TOKEN"),
        ("FROM scratch\nEXPOSE 80 81/TCP", "ExposeProtoCasing", 2, 11, "81/TCP"),
        ("FROM scratch\nEXPOSE 1:80", "ExposeInvalidFormat", 2, 8, "1:80"),
        ("FROM scratch\nCOPY x.txt a.log /b/", "CopyIgnoredFile", 2, 12, "a.log"),
        ("FROM --platform=linux/amd64 scratch", "FromPlatformFlagConstDisallowed", 1, 6, "--platform"),
        ("FROM --platform=$TARGETPLATFORM scratch", "RedundantTargetPlatform", 1, 6, "--platform"),
        ("ARG a\nFROM $a", "InvalidDefaultArgInFrom", 2, 6, "$a"),
        ("FROM ${b:-scratch}", "UndefinedArgInFrom", 1, 6, "${b"),
        ("FROM scratch\nWORKDIR a", "WorkdirRelativePath", 2, 9, "a"),
        ("FROM scratch\nMAINTAINER a", "MaintainerDeprecated", 2, 1, "MAINTAINER"),
    ],
)
def test_the_part_that_is_meant_is_marked(text, rule, line, column, marked):
    (place,) = (warning.place for warning in found(text) if warning.rule == rule)
    assert (place.line, place.column, place.text) == (line, column, marked)


def test_one_thing_is_said_once():
    assert [warning.rule for warning in found("FROM scratch\nCOPY $a $a $b /x/")] == ["UndefinedVar", "UndefinedVar"]


def test_suggestions():
    messages = [each.message for each in found("FROM scratch\nARG VERSION=1\nENV a=$VERSOIN b=$version c=$other")]
    assert messages == [
        "$VERSOIN is not set here, did you mean $VERSION?",
        "$other is not set here",
        "$version is not set here, did you mean $VERSION?",
    ]


KEYWORDS = st.sampled_from(
    [
        *("FROM", "from", "COPY", "ADD", "RUN", "ENV", "ARG", "LABEL", "EXPOSE", "CMD", "Cmd", "WORKDIR", "USER"),
        *(
            "ONBUILD COPY",
            "ONBUILD CMD",
            "VOLUME",
            "ENTRYPOINT",
            "HEALTHCHECK CMD",
            "SHELL",
            "STOPSIGNAL",
            "MAINTAINER",
        ),
    ]
)
WORDS = st.sampled_from(
    [
        *(
            "a",
            "$a",
            "${b:-$c}",
            "${d:?no}",
            "a=$b",
            "TOKEN=1",
            "AS",
            "as",
            "A",
            "b",
            "/x",
            ".",
            "a.log",
            "'$q'",
            '"$q"',
        ),
        *("--from=a", "--from=0", "--from=b", "--mount=type=secret,id=$x", "--mount=type=bind,from=a,target=/m"),
        *(
            "--platform=$a",
            "--platform=linux/arm64",
            "80/TCP",
            "1:80",
            '["a"]',
            "\\\n",
            "\\\n\n",
            "<<E\n$h\nE",
            "scratch",
        ),
    ]
)
COMMENTS = st.sampled_from(["", "", "", "# check=skip=all\n", "# a is it\n", "#\n", "# check=error=x\n"])
LINES = st.tuples(COMMENTS, KEYWORDS, st.lists(WORDS, max_size=4)).map(
    lambda each: each[0] + " ".join([each[1], *each[2]])
)


@given(st.lists(LINES, max_size=8))
def test_whatever_parses_can_be_checked_and_outlined(lines):
    text = "\n".join(["FROM scratch AS a", *lines])
    try:
        dockerfile = parse(text, "D")
    except Invalid:
        return
    warnings = check(dockerfile, FACTS, EVERYTHING)
    assert [warning.span.line for warning in warnings] == sorted(warning.span.line for warning in warnings)
    for warning in warnings:
        assert warning.rule in RULES
        for span in (warning.span, warning.place):
            assert text[span.start : span.end] == span.text
    assert check(dockerfile, FACTS, Options(skip=frozenset({"all"}))) == ()
    assert len(targets(dockerfile)) == len(dockerfile.stages)
    with suppress(Invalid):
        outline(dockerfile, FACTS)


def test_an_outline_of_what_cannot_be_expanded_is_refused():
    with pytest.raises(Invalid) as caught:
        outline(parse("FROM scratch AS a\nFROM ${d:?no}", "D"), FACTS)
    assert (caught.value.line, caught.value.column) == (2, 6)
