"""From text to instructions, and every refusal with its place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bennu.dockerfile.grammar import READERS
from bennu.dockerfile.instructions import (
    Add,
    Arg,
    ArgDeclaration,
    Cmd,
    Copy,
    Entrypoint,
    Env,
    ExecForm,
    Expose,
    From,
    Healthcheck,
    Label,
    Maintainer,
    Onbuild,
    Pair,
    Run,
    Shell,
    ShellForm,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from bennu.dockerfile.parser import parse, parse_trigger
from bennu.errors import Invalid

SHARED = ("keyword", "text", "span", "comments")
SECOND = 1_000_000_000


def one(text: str):
    """The single instruction behind ``FROM a``."""
    (stage,) = parse(f"FROM a\n{text}", "Dockerfile").stages
    (instruction,) = stage.instructions
    return instruction


def written(instruction) -> dict[str, object]:
    """Its own fields, without those that say that nothing was written."""
    values = {name: getattr(instruction, name) for name in instruction.__struct_fields__ if name not in SHARED}
    return {name: value for name, value in values.items() if value not in (None, (), False)}


@pytest.mark.parametrize(
    ("text", "cls", "want"),
    [
        ("ADD a b c/", Add, {"sources": ("a", "b"), "destination": "c/"}),
        ('ADD ["a b", "c"]', Add, {"sources": ("a b",), "destination": "c"}),
        (
            "ADD --chown=1:2 --chmod=755 --link --keep-git-dir --checksum=sha256:0 --unpack https://x/y z",
            Add,
            {
                "sources": ("https://x/y",),
                "destination": "z",
                "chown": "1:2",
                "chmod": "755",
                "link": True,
                "keep_git_dir": True,
                "checksum": "sha256:0",
                "unpack": True,
            },
        ),
        ("ARG A", Arg, {"declarations": (ArgDeclaration("A", None),)}),
        (
            'ARG A= B="x y" C',
            Arg,
            {"declarations": (ArgDeclaration("A", ""), ArgDeclaration("B", '"x y"'), ArgDeclaration("C", None))},
        ),
        ('CMD ["a", "b c"]', Cmd, {"command": ExecForm(("a", "b c"))}),
        ("CMD a | b", Cmd, {"command": ShellForm("a | b")}),
        ("CMD []", Cmd, {"command": ExecForm(())}),
        ("CMD ['a']", Cmd, {"command": ShellForm("['a']")}),
        ('CMD ["a",]', Cmd, {"command": ShellForm('["a",]')}),
        ("CMD [NaN]", Cmd, {"command": ShellForm("[NaN]")}),
        ("COPY a b", Copy, {"sources": ("a",), "destination": "b"}),
        (
            "COPY --from=0 --parents --link=false --exclude=*.md --exclude=x a b",
            Copy,
            {"sources": ("a",), "destination": "b", "from_": "0", "parents": True, "exclude": ("*.md", "x")},
        ),
        ("ENTRYPOINT exec top -b", Entrypoint, {"command": ShellForm("exec top -b")}),
        ("ENTRYPOINT", Entrypoint, {"command": ShellForm("")}),
        ("ENV a=b", Env, {"pairs": (Pair("a", "b"),)}),
        (
            'ENV a="b c" d=e\\ f g=\'h "i\' j=',
            Env,
            {"pairs": (Pair("a", '"b c"'), Pair("d", "e\\ f"), Pair("g", "'h \"i'"), Pair("j", ""))},
        ),
        ("ENV a  b  c ", Env, {"pairs": (Pair("a", "b  c"),), "legacy": True}),
        ("ENV a b=c", Env, {"pairs": (Pair("a", "b=c"),), "legacy": True}),
        ("EXPOSE 80 443/udp $P", Expose, {"ports": ("$P", "443/udp", "80")}),
        ("HEALTHCHECK NONE", Healthcheck, {}),
        ("healthcheck none", Healthcheck, {}),
        ('HEALTHCHECK CMD ["x"]', Healthcheck, {"command": ExecForm(("x",))}),
        (
            "HEALTHCHECK --interval=1m30s --timeout=500ms --start-period=0s --start-interval=2s --retries=5 cmd x y",
            Healthcheck,
            {
                "command": ShellForm("x y"),
                "interval_nanoseconds": 90 * SECOND,
                "timeout_nanoseconds": SECOND // 2,
                "start_interval_nanoseconds": 2 * SECOND,
                "retries": 5,
            },
        ),
        ('LABEL a.b="c" "d e"=f', Label, {"pairs": (Pair("a.b", '"c"'), Pair('"d e"', "f"))}),
        ("MAINTAINER me <me@x>", Maintainer, {"name": "me <me@x>"}),
        ("RUN a && b", Run, {"command": ShellForm("a && b")}),
        (
            "run --network=none --security=insecure a",
            Run,
            {"command": ShellForm("a"), "network": "none", "security": "insecure"},
        ),
        ("RUN --device=gpu a", Run, {"command": ShellForm("a"), "devices": ("gpu",)}),
        ("RUN -- --x", Run, {"command": ShellForm("--x")}),
        ("RUN a --mount=x", Run, {"command": ShellForm("a --mount=x")}),
        ('SHELL ["/bin/bash", "-c"]', Shell, {"command": ("/bin/bash", "-c")}),
        ("STOPSIGNAL SIGQUIT", StopSignal, {"signal": "SIGQUIT"}),
        ("USER a:b", User, {"user": "a:b"}),
        ("VOLUME /a /b", Volume, {"paths": ("/a", "/b")}),
        ('VOLUME ["/a b"]', Volume, {"paths": ("/a b",)}),
        ("WORKDIR /a b", Workdir, {"path": "/a b"}),
    ],
)
def test_instructions(text, cls, want):
    instruction = one(text)
    assert type(instruction) is cls
    assert written(instruction) == want


def test_all_eighteen_instructions_have_a_reader():
    assert len(READERS) == 18


def test_a_flag_that_is_off_is_not_one_that_is_missing():
    assert one("ADD --keep-git-dir=False --unpack=false a b").keep_git_dir is False
    assert one("ADD a b").unpack is None


def test_mounts_keep_their_text_and_place():
    instruction = one("RUN --mount=type=cache,target=/c \\\n  --mount=target=/d,from=x a")
    assert [mount.text for mount in instruction.mounts] == ["type=cache,target=/c", "target=/d,from=x"]
    assert [(mount.span.line, mount.span.column) for mount in instruction.mounts] == [(2, 5), (3, 3)]
    assert instruction.command == ShellForm("a")


def test_inline_files():
    instruction = one("COPY <<a.txt b <<'c' /d/\n$x\na.txt\n$y\nc\n")
    assert instruction.sources == ("b",)
    assert instruction.destination == "/d/"
    assert [(doc.name, doc.content, doc.expand) for doc in instruction.heredocs] == [
        ("a.txt", "$x\n", True),
        ("c", "$y\n", False),
    ]


def test_onbuild_keeps_the_expression_and_its_parse():
    instruction = one("ONBUILD  copy <<X /d\nhi\nX\n")
    assert isinstance(instruction, Onbuild)
    assert instruction.expression == "copy <<X /d\nhi\nX"
    assert isinstance(instruction.trigger, Copy)
    again = parse_trigger(instruction.expression, "img")
    assert isinstance(again, Copy)
    assert again.heredocs[0].content == "hi\n"


def test_stages_and_global_args():
    dockerfile = parse(
        "# syntax=x\nARG V=1\nFROM a:$V AS Build\nRUN x\nARG V\nFROM --platform=$P build\nFROM scratch as last\n", "D"
    )
    assert [arg.declarations[0].name for arg in dockerfile.global_args] == ["V"]
    assert [(stage.index, stage.name, stage.from_.image) for stage in dockerfile.stages] == [
        (0, "build", "a:$V"),
        (1, None, "build"),
        (2, "last", "scratch"),
    ]
    assert dockerfile.stages[1].from_.platform == "$P"
    assert len(dockerfile.stages[0].instructions) == 2
    assert dockerfile.stage("BUILD") is dockerfile.stages[0]
    assert dockerfile.stage("1") is dockerfile.stages[1]
    assert dockerfile.stage("1", before=1) is None
    assert dockerfile.stage("3") is None
    assert dockerfile.named("0") is None
    directive = dockerfile.directive("syntax")
    assert directive is not None
    assert directive.value == "x"


def test_from_means_a_stage_as_written_or_in_lower_case():
    dockerfile = parse("FROM a AS Build\nFROM b AS other\nFROM build\n", "D")
    assert [dockerfile.base(name, 2) for name in ("build", "Build", "other")] == [
        *dockerfile.stages[:1] * 2,
        dockerfile.stages[1],
    ]
    assert [dockerfile.base(name, 2) for name in ("BUILD", "Other", "b", "0")] == [None] * 4
    assert dockerfile.base("other", 1) is None


def test_spans_cover_the_instruction_with_its_heredocs():
    source = "FROM a\n  RUN x \\\n   y <<E\nz\nE\nUSER u\n"
    run, user = parse(source, "D").stages[0].instructions
    assert source[run.span.start : run.span.end] == run.span.text == "RUN x \\\n   y <<E\nz\nE"
    assert (run.span.line, run.span.column, run.span.end_line, run.span.end_column) == (2, 3, 5, 2)
    assert user.span.line == 6
    narrowed = run.span.narrow("y")
    assert (narrowed.line, narrowed.column, narrowed.excerpt) == (3, 4, "   y <<E")


@pytest.mark.parametrize(
    ("text", "line", "column", "message", "hint"),
    [
        ("", 1, 1, "no instructions", "FROM"),
        ("# only\n", 1, 1, "no instructions", "FROM"),
        ("ARG a", 1, 1, "no FROM", "FROM"),
        ("RUN a\nFROM b", 1, 1, "RUN stands before the first FROM", "ARG"),
        ("FRMO a", 1, 1, "unknown instruction 'FRMO'", "did you mean FROM?"),
        ("FROM a\n  cpoy a b", 2, 3, "unknown instruction 'cpoy'", "did you mean COPY?"),
        ("FROM a\nQWERTYUIOP", 2, 1, "unknown instruction", "the instructions are ADD"),
        ("FROM", 1, 5, "FROM: takes an image", "AS"),
        ("FROM a b", 1, 8, "FROM: takes an image", "AS"),
        ("FROM a AS", 1, 8, "FROM: takes an image", "AS"),
        ("FROM a AS 1b", 1, 11, "'1b' is no name", "letter"),
        ("FROM --platfrom=x a", 1, 6, "unknown flag '--platfrom'", "did you mean --platform?"),
        ("FROM --platform a", 1, 6, "lacks its value", "--platform=VALUE"),
        ("FROM a\nCOPY a", 2, 6, "needs a source and a destination", "COPY SOURCE"),
        ("FROM a\nCOPY --from=x --from=y a b", 2, 15, "'--from' is given a second time", "remove"),
        ("FROM a\nCOPY --from=$x a b", 2, 6, "--from takes no variable", "stage"),
        ("FROM a\nCOPY --link=maybe a b", 2, 6, "'--link' is neither true nor false but 'maybe'", "alone"),
        ("FROM a\nCOPY --link= a b", 2, 6, "lacks its value", ""),
        ("FROM a\nADD --from=x a b", 2, 5, "unknown flag '--from'", "--link"),
        ("FROM a\nCOPY a <<b\nx\nb", 2, 8, "a heredoc cannot be the destination", "behind"),
        ("FROM a\nUSER --x=y z", 2, 6, "unknown flag '--x'", "USER takes no flags"),
        ("FROM a\nENV", 2, 4, "at least one argument", None),
        ("FROM a\nENV a", 2, 5, "'a' has no value", "a=VALUE"),
        ("FROM a\nENV a=b \\\n  c", 3, 3, "'c' is no name=value pair", "quotes"),
        ("FROM a\nLABEL =b", 2, 7, "no name before '='", None),
        ("FROM a\nARG =b", 2, 5, "no name before '='", None),
        ("FROM a\nARG", 2, 4, "at least one argument", None),
        ('FROM a\nCMD ["a", 1]', 2, 5, "other than strings", "double quotes"),
        ("FROM a\nVOLUME []", 2, 8, "at least one argument", None),
        ('FROM a\nVOLUME ["/a", " "]', 2, 8, "path is empty", None),
        ("FROM a\nSHELL bash", 2, 7, "JSON array only", "SHELL ["),
        ("FROM a\nSHELL []", 2, 7, "at least one argument", None),
        ("FROM a\nUSER", 2, 1, "exactly one argument", None),
        ("FROM a\nHEALTHCHECK", 2, 12, "at least one argument", None),
        ("FROM a\nHEALTHCHECK NONE x", 2, 18, "NONE takes no arguments", None),
        ("FROM a\nHEALTHCHECK curl x", 2, 13, "unknown type 'curl'", "CMD"),
        ("FROM a\nHEALTHCHECK CMD", 2, 13, "no command behind CMD", "COMMAND"),
        ("FROM a\nHEALTHCHECK --interval=5 CMD x", 2, 13, "no duration but '5'", "did you mean 5s?"),
        ("FROM a\nHEALTHCHECK --timeout=10us CMD x", 2, 13, "less than 1ms", None),
        ("FROM a\nHEALTHCHECK --retries=-1 CMD x", 2, 13, "no number from 0 on", None),
        ("FROM a\nONBUILD", 2, 1, "needs an instruction", None),
        ("FROM a\nONBUILD ONBUILD RUN a", 2, 9, "cannot stand behind another ONBUILD", None),
        ("FROM a\nONBUILD FROM a", 2, 9, "FROM is not allowed", None),
        ("FROM a\nRUN --mount=type=x a", 2, 13, "unknown mount type 'x'", "bind"),
        ("FROM a\nRUN --network=hots a", 2, 5, "unknown --network 'hots'", "did you mean host?"),
        ("FROM a\nRUN --security=x a", 2, 5, "unknown --security 'x'", "sandbox"),
    ],
)
def test_refusals(text, line, column, message, hint):
    with pytest.raises(Invalid) as caught:
        parse(text, "Dockerfile")
    error = caught.value
    assert message in error.message
    assert (error.file, error.line, error.column) == ("Dockerfile", line, column)
    assert hint is None or hint in (error.hint or "")
    if text:
        assert error.excerpt is None or error.excerpt in text


def test_bytes_that_are_not_utf8_are_replaced_but_in_a_run():
    parse(b"# caf\xe9\nFROM a\nRUN x \\\n# \xff\n y", "D")
    (label,) = parse(b"FROM a\nLABEL x=caf\xe9\xe8", "D").stages[0].instructions
    assert (label.pairs[0].value, label.text) == ("caf\ufffd\ufffd", "LABEL x=caf\ufffd\ufffd")
    with pytest.raises(Invalid, match="byte 0xe9 is not UTF-8") as caught:
        parse(b"FROM a\nRUN echo caf\xe9", "D")
    assert (caught.value.line, caught.value.column) == (2, 13)
    with pytest.raises(Invalid, match="byte 0xff is not UTF-8") as caught:
        parse(b"FROM a\nRUN <<E\n\xff\nE", "D")
    assert caught.value.line == 3


KEYWORDS = st.sampled_from([*READERS, "frm", ""])
WORDS = st.sampled_from(
    [
        *(
            '["a","b"]',
            "[]",
            "[1]",
            "a=b",
            "=",
            "x",
            "--from=a",
            "--mount=type=cache",
            "--",
            "--x",
            '"',
            "'",
            "\\",
            "\\\n",
        ),
        *("CMD", "NONE", "as", "RUN", "ONBUILD", "$v", "${", "<<E", "é", "\udcff", "80/tcp", "--interval=1s", "\t"),
    ]
)
LINES = st.tuples(KEYWORDS, st.lists(WORDS, max_size=5)).map(lambda pair: " ".join([pair[0], *pair[1]]))


@given(st.lists(LINES, max_size=5))
def test_anything_parses_or_is_refused_with_a_place(lines):
    text = "\n".join(["FROM a", *lines])
    try:
        dockerfile = parse(text, "D")
    except Invalid as error:
        assert error.file == "D"
        assert error.line is not None
        assert 1 <= error.line <= text.count("\n") + 1
        assert error.column is not None
        assert error.column >= 1
    else:
        spans = [stage.from_.span for stage in dockerfile.stages]
        spans += [instruction.span for stage in dockerfile.stages for instruction in stage.instructions]
        assert all(text[span.start : span.end] == span.text for span in spans)
        assert isinstance(dockerfile.stages[0].from_, From)
