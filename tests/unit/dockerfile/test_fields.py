"""Which fields take variables."""

from __future__ import annotations

import pytest

from bennu.dockerfile.fields import expand_instruction, expand_value, resolve_mounts
from bennu.dockerfile.instructions import Copy, Env, ExecForm, Expose, Pair, Run, ShellForm
from bennu.dockerfile.mounts import MountType
from bennu.dockerfile.parser import parse
from bennu.errors import Invalid

ENV = {"v": "1", "two": "a b", "ports": "80 443"}


def one(text: str):
    (instruction,) = parse(f"FROM a\n{text}", "Dockerfile").stages[0].instructions
    return instruction


def expanded(text: str):
    return expand_instruction(one(text), ENV).instruction


def test_copy_and_its_flags():
    instruction = expanded("COPY --chown=$v:$v --chmod=$v --exclude=$v --from=x $v 'q' /$two/")
    assert isinstance(instruction, Copy)
    assert (instruction.chown, instruction.chmod, instruction.exclude, instruction.from_) == ("1:1", "1", ("$v",), "x")
    assert (instruction.sources, instruction.destination) == (("1", "q"), "/a b/")


def test_inline_files_unless_quoted():
    instruction = expanded("COPY <<-a <<'b' /d\n\t\"$v\" \\$v it's\na\n$v\nb\n")
    assert [doc.body for doc in instruction.heredocs] == ['"1" $v it\'s\n', "$v\n"]


def test_keys_and_values_see_the_variables_before_the_instruction():
    instruction = expanded('ENV v=2 w=$v $two="x y"')
    assert isinstance(instruction, Env)
    assert instruction.pairs == (Pair("v", "2"), Pair("w", "1"), Pair("a b", "x y"))


def test_a_variable_may_hold_several_ports():
    instruction = expanded("EXPOSE $ports 8${v}/udp")
    assert isinstance(instruction, Expose)
    assert instruction.ports == ("80", "443", "81/udp")


@pytest.mark.parametrize(
    ("text", "field", "want"),
    [
        ("ADD --checksum=$v a b", "checksum", "1"),
        ("LABEL a=$v", "pairs", (Pair("a", "1"),)),
        ("STOPSIGNAL SIG$v", "signal", "SIG1"),
        ("USER $v:$v", "user", "1:1"),
        ("VOLUME /$v /b", "paths", ("/1", "/b")),
        ("WORKDIR /$v", "path", "/1"),
        ("RUN echo $v", "command", ShellForm("echo $v")),
        ('CMD ["$v"]', "command", ExecForm(("$v",))),
        ("ENTRYPOINT $v", "command", ShellForm("$v")),
        ("HEALTHCHECK CMD $v", "command", ShellForm("$v")),
        ('SHELL ["$v"]', "command", ("$v",)),
        ("ONBUILD RUN $v", "expression", "RUN $v"),
    ],
)
def test_other_fields(text, field, want):
    assert getattr(expanded(text), field) == want


def test_from():
    stage = parse("FROM --platform=$p a:${v}", "D").stages[0]
    result = expand_instruction(stage.from_, {"v": "1"})
    assert (result.instruction.image, result.instruction.platform) == ("a:1", "")
    assert (result.used, result.unset) == ({"v"}, {"p"})


def test_mounts():
    run = one("RUN --mount=type=secret,id=s$v --mount=target=/$two,ro=0 x")
    assert isinstance(run, Run)
    secret, bind = resolve_mounts(run, ENV)
    assert (secret.type, secret.id) == (MountType.SECRET, "s1")
    assert (bind.type, bind.target, bind.read_only) == (MountType.BIND, "/a b", False)


def test_the_error_stands_at_the_word():
    with pytest.raises(Invalid, match="cannot expand 'x\\$\\{'") as caught:
        expand_instruction(one("COPY a \\\n  x${ /d"), ENV)
    assert (caught.value.line, caught.value.column, caught.value.excerpt) == (3, 3, "  x${ /d")


def test_a_single_value():
    instruction = one("ARG a=$v")
    assert expand_value("$v", ENV, instruction.span).text == "1"
