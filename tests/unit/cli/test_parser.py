"""Words to arguments, with Docker's habits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bennu.cli import values
from bennu.cli.command import GLOBAL, Arguments, Command, operand, option, switch
from bennu.cli.parser import parse
from bennu.errors import Usage

RUN = Command(
    "run",
    "Run",
    arguments=(
        switch("-d", "--detach", help="Detach"),
        switch("-i", "--interactive", help="Interactive"),
        switch("-t", "--tty", help="Terminal"),
        switch("--sig-proxy", help="Pass signals on", default=True),
        option("-e", "--env", metavar="K=V", help="Variable", repeatable=True),
        option("-p", "--publish", metavar="PORT", help="Port", repeatable=True),
        option("--cpus", metavar="N", help="CPUs", convert=values.positive),
        option("--network", metavar="NAME", help="Network", choices=("none", "host")),
        operand("IMAGE", help="Image"),
        operand("COMMAND", help="Command", remainder=True),
    ),
)
BUILD = Command(
    "build",
    "Build",
    arguments=(
        option("-t", "--tag", metavar="NAME", help="Name", repeatable=True),
        option("--progress", metavar="TYPE", help="Progress", environ="BUILDKIT_PROGRESS", choices=("plain", "tty")),
        switch("-q", "--quiet", help="Quiet", environ="QUIET"),
        option("--add", metavar="FILE", help="Files", repeatable=True, environ="ADD_FILES"),
        operand("CONTEXT", help="Directory"),
    ),
)
REMOVE = Command(
    "rm", "Remove", arguments=(switch("-f", "--force", help="F"), operand("NAME", help="N", repeatable=True))
)
TAG = Command("tag", "Tag", arguments=(operand("SOURCE", help="From"), operand("TARGET", help="To", required=False)))


def read(command: Command, *words: str, **environ: str) -> Arguments:
    return parse(command, words, environ, extra=GLOBAL).arguments


def test_what_follows_the_image_belongs_to_the_container():
    arguments = read(RUN, "-it", "-e", "A=1", "busybox", "ls", "-l", "--env", "X", "--", "-d")
    assert (arguments.interactive, arguments.tty, arguments.detach) == (True, True, False)
    assert arguments.env == ("A=1",)
    assert arguments.image == "busybox"
    assert arguments.command == ("ls", "-l", "--env", "X", "--", "-d")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["-p80:80", "i"], ("80:80",)),
        (["-p=80:80", "i"], ("80:80",)),
        (["-p", "80", "--publish", "81", "--publish=82", "i"], ("80", "81", "82")),
        (["-dp", "80", "i"], ("80",)),
        (["-dp80", "i"], ("80",)),
        (["-p", "-1", "i"], ("-1",)),
    ],
)
def test_values_joined_apart_and_with_a_leading_dash(words: list[str], expected: tuple[str, ...]):
    assert read(RUN, *words).publish == expected


def test_a_switch_can_be_said_aloud():
    assert read(RUN, "--sig-proxy=false", "i").sig_proxy is False
    assert read(RUN, "i").sig_proxy is True
    assert read(RUN, "--detach=1", "i").detach is True
    with pytest.raises(Usage, match="'maybe' is neither true nor false"):
        read(RUN, "--detach=maybe", "i")


def test_flags_may_follow_operands_where_nothing_is_left_to_a_container():
    arguments = read(BUILD, ".", "-t", "a", "--tag=b", "-q")
    assert (arguments.context, arguments.tag, arguments.quiet) == (".", ("a", "b"), True)


def test_two_dashes_end_the_flags():
    assert read(REMOVE, "-f", "--", "-f", "--force").name == ("-f", "--force")
    assert read(RUN, "--", "i", "-d").command == ("-d",)


def test_a_single_dash_is_an_operand():
    assert read(BUILD, "-").context == "-"


def test_the_words_win_over_the_environment_and_that_over_the_default():
    assert read(BUILD, ".").progress is None
    assert read(BUILD, ".", BUILDKIT_PROGRESS="plain").progress == "plain"
    assert read(BUILD, ".", "--progress", "tty", BUILDKIT_PROGRESS="plain").progress == "tty"
    assert read(BUILD, ".", QUIET="yes").quiet is True
    assert read(BUILD, ".", ADD_FILES="a:b").add == ("a", "b")
    with pytest.raises(Usage, match="BUILDKIT_PROGRESS 'tyt' is not one of plain, tty"):
        read(BUILD, ".", BUILDKIT_PROGRESS="tyt")
    with pytest.raises(Usage, match="QUIET 'x' is neither"):
        read(BUILD, ".", QUIET="x")


def test_absent_arguments_have_their_shapes():
    arguments = read(RUN, "i")
    assert (arguments.env, arguments.cpus, arguments.command, arguments.root) == ((), None, (), None)


@pytest.mark.parametrize(
    ("command", "words", "message", "hint"),
    [
        (RUN, ["--detatch", "i"], "'run' has no flag --detatch", "did you mean --detach?"),
        (RUN, ["-x", "i"], "'run' has no flag -x", "bennu run --help"),
        (RUN, ["-dx", "i"], "'run' has no flag -x", "bennu run --help"),
        (RUN, [], "'run' needs IMAGE", "bennu run --help"),
        (RUN, ["-e"], "-e needs a value", "bennu run --help"),
        (RUN, ["--cpus", "0", "i"], "--cpus '0' is not a number above zero", "bennu run --help"),
        (RUN, ["--network", "hots", "i"], "--network 'hots' is not one of none, host", "did you mean host?"),
        (TAG, ["a", "b", "c"], "'tag' takes no argument 'c'", "bennu tag --help"),
        (REMOVE, ["-f"], "'rm' needs NAME", "bennu rm --help"),
    ],
)
def test_what_does_not_fit_is_named(command: Command, words: list[str], message: str, hint: str):
    with pytest.raises(Usage) as caught:
        read(command, *words)
    assert caught.value.message == message
    assert caught.value.hint == hint


def test_help_wins_over_what_is_missing_but_not_past_the_image():
    assert parse(RUN, ["-d", "--help"], {}).help
    assert parse(RUN, ["-h"], {}).help
    assert not parse(RUN, ["i", "--help"], {}).help


def test_a_flag_named_h_is_not_help():
    command = Command("x", "X", arguments=(option("-h", "--hostname", metavar="NAME", help="Name"),))
    assert parse(command, ["-h", "web"], {}).arguments.hostname == "web"


@given(st.lists(st.text(st.characters(blacklist_categories=["Cs"]), max_size=6)))
def test_the_container_gets_its_words_as_they_are(words: list[str]):
    assert read(RUN, "-d", "image", *words).command == tuple(words)


@given(st.lists(st.sampled_from(["-d", "-i", "-t", "-dit", "--tty", "-e", "--env=x", "--", "a", "-", "-h", "--cpus"])))
def test_every_line_is_read_or_refused_by_usage(words: list[str]):
    try:
        parsed = parse(RUN, words, {})
    except Usage:
        return
    assert parsed.help or isinstance(parsed.arguments.image, str)


@pytest.mark.parametrize(
    ("word", "expected"), [("512m", 512 << 20), ("1.5G", 3 << 29), ("10", 10), ("4kb", 4096), ("2GiB", 2 << 30)]
)
def test_sizes(word: str, expected: int):
    assert values.size_bytes(word) == expected


@pytest.mark.parametrize(
    ("word", "expected"), [("90s", 90), ("1h30m", 5400), ("7d", 604800), ("1.5", 1.5), ("500ms", 0.5)]
)
def test_durations(word: str, expected: float):
    assert values.duration_seconds(word) == expected


@pytest.mark.parametrize("word", ["", "m", "1x", "1h 30m", "-5s", "s1"])
def test_bad_durations_and_sizes(word: str):
    with pytest.raises(ValueError, match="is not a duration"):
        values.duration_seconds(word)
    with pytest.raises(ValueError, match="is not a size"):
        values.size_bytes(word)


def test_assignments_and_counts():
    assert values.assignment("A=b=c") == ("A", "b=c")
    assert values.assignment("A") == ("A", None)
    assert values.assignment("A=") == ("A", "")
    assert values.count("12") == 12
    for bad, convert in (
        ("=x", values.assignment),
        ("-1", values.count),
        ("²", values.count),
        ("nan", values.positive),
    ):
        with pytest.raises(ValueError, match=" "):
            convert(bad)
