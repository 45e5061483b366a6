"""``bennu build --check`` and ``--call``: what is said, in which form, with which status; and warnings of builds."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import pytest

from bennu.cli.main import main

TEXT = "FROM scratch AS Web\nCOPY a \\\n  $foo /x/\nCMD run\n"


class Said:
    """What ``bennu build`` said of a file."""

    def __init__(self, tmp_path: Path, text: str, *words: str, name: str = "Dockerfile") -> None:
        place = tmp_path / "context"
        place.mkdir(exist_ok=True)
        (place / name).write_text(text)
        out, err = io.StringIO(), io.StringIO()
        environ = {"BENNU_ROOT": str(tmp_path / "root")}
        self.status = main(["build", *words, str(place)], environ, stdout=out, stderr=err)
        self.out, self.err = out.getvalue().replace(f"{place}/", ""), err.getvalue().replace(f"{place}/", "")

    @property
    def lines(self) -> list[str]:
        """Of standard output, without the directory in front of the file's name."""
        return [line[line.index("Dockerfile") :] if "Dockerfile" in line else line for line in self.out.splitlines()]


@pytest.mark.parametrize("flag", ["--check", "--call=check", "--call=check,format=text"])
def test_a_check_shows_each_warning_with_its_place(tmp_path, flag):
    said = Said(tmp_path, TEXT, flag)
    assert said.status == 1
    assert said.err == ""
    assert said.lines == [
        "Dockerfile:1:17: warning: StageNameCasing: the stage's name 'Web' is not in lower case",
        "  1 | FROM scratch AS Web",
        "    |                 ^~~",
        "",
        "Dockerfile:2:1: warning: UndefinedVar: $foo is not set here",
        "  3 |   $foo /x/",
        "    |   ^~~~",
        "",
        (
            "Dockerfile:4:1: warning: JSONArgsRecommended: CMD runs in a shell, which keeps signals from the program: "
            'write CMD ["PROGRAM", ...]'
        ),
        "  4 | CMD run",
        "    | ^~~~~~~",
        "",
        "Dockerfile: 3 warnings",
    ]


def test_a_file_without_faults_is_said_to_have_none(tmp_path):
    said = Said(tmp_path, "FROM scratch\n", "--check")
    assert (said.status, said.lines) == (0, ["Dockerfile: no warnings"])


def test_nothing_is_built(tmp_path):
    Said(tmp_path, "FROM scratch\n", "--check", "-t", "one")
    images = io.StringIO()
    main(["images", "-q"], {"BENNU_ROOT": str(tmp_path / "root")}, stdout=images, stderr=io.StringIO())
    assert images.getvalue() == ""


def test_a_missing_base_image_stops_no_check(tmp_path):
    said = Said(tmp_path, "FROM nosuch:1\nENV a=$HOMEE b=$c\nCMD x\n", "--check")
    assert said.status == 1
    assert [line.split(": ")[2] for line in said.lines if "warning:" in line] == [
        "UndefinedVar",
        "UndefinedVar",
        "JSONArgsRecommended",
    ]
    assert "unless the image nosuch:1 sets it" in said.out


def test_what_would_stop_the_build_is_an_error_of_the_check(tmp_path):
    said = Said(tmp_path, "FROM scratch AS A\nEXPOSE 99999\n", "--check")
    assert said.status == 1
    assert "StageNameCasing" in said.out
    assert "Dockerfile:2:8: error: EXPOSE: '99999' is no port\n  2 | EXPOSE 99999" in said.err


@pytest.mark.parametrize(
    ("text", "status"),
    [("FROM scratch\nRUNN x\n", 1), ("FROM scratch\nEXPOSE 99999\n", 1), ("FROM scratch\n", 0)],
)
def test_errors_in_json(tmp_path, text, status):
    said = Said(tmp_path, text, "--check", "--format", "json")
    document = json.loads(said.out)
    assert (said.status, document["warnings"], said.err) == (status, [], "")
    if status:
        assert document["buildError"]["location"] == {"ranges": [{"start": {"line": 2}, "end": {"line": 2}}]}
    else:
        assert "buildError" not in document


@pytest.mark.parametrize("flags", [("--check", "--format=json"), ("--call=check,format=json",)])
def test_a_check_as_json_has_dockers_members(tmp_path, flags):
    said = Said(tmp_path, TEXT, *flags)
    document = json.loads(said.out)
    assert said.status == 1
    assert [each["ruleName"] for each in document["warnings"]] == [
        "StageNameCasing",
        "UndefinedVar",
        "JSONArgsRecommended",
    ]
    assert document["warnings"][1]["location"] == {
        "ranges": [{"start": {"line": 2}, "end": {"line": 2}}, {"start": {"line": 3}, "end": {"line": 3}}]
    }
    assert base64.b64decode(document["sources"][0]["data"]).decode() == TEXT


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--call=lint",), "--call 'lint' is not one of build, check, outline, targets"),
        (("--call=check,format=xml",), "is not METHOD or METHOD,format=json"),
        (("--check", "--call=targets"), "--check and --call=targets cannot both be done"),
        (("--format=json",), "--format is about --check and --call"),
    ],
)
def test_calls_that_make_no_sense_are_refused(tmp_path, flags, message):
    said = Said(tmp_path, "FROM scratch\n", *flags)
    assert said.status == 64
    assert message in said.err


def test_the_outline_as_text(tmp_path):
    text = (
        "# V of all\nARG V=1\nFROM scratch\n# web serves\nFROM scratch AS web\nARG V\n"
        "RUN --mount=type=secret,id=token,required=true --mount=type=ssh x\n"
    )
    assert Said(tmp_path, text, "--call=outline").out == (
        "TARGET: web\nDESCRIPTION: serves\n\n"
        "BUILD ARG   VALUE   DESCRIPTION\nV           1       of all\n\n"
        "SECRET   REQUIRED\ntoken    true\n\n"
        "SSH       REQUIRED\ndefault   false\n"
    )


def test_the_targets_as_text(tmp_path):
    text = "# build makes it\nFROM scratch AS build\nFROM scratch\n"
    assert Said(tmp_path, text, "--call=targets").out == "TARGET      DESCRIPTION\nbuild       makes it\n(default)\n"


def test_an_outline_of_no_stage_is_refused(tmp_path):
    said = Said(tmp_path, "FROM scratch AS web\n", "--call=outline", "--target", "wbe")
    assert said.status == 1
    assert "did you mean web?" in said.err


def test_a_build_says_its_warnings_in_short(tmp_path):
    said = Said(tmp_path, "FROM scratch AS Web\nCMD run\n", "--build-arg", "X=1")
    lines = [line[line.index("Dockerfile") :] for line in said.err.splitlines() if "warning:" in line]
    assert said.status == 0
    assert lines[0].startswith("Dockerfile:1:1: warning: StageNameCasing: ")
    assert lines[1].startswith("Dockerfile:2:1: warning: JSONArgsRecommended: ")
    assert lines[2].startswith("Dockerfile:1:1: warning: build argument 'X'")
    assert "3 warnings, `bennu build --check` shows what is meant:" in said.err


def test_a_build_looks_into_the_stages_that_it_needs(tmp_path):
    text = "FROM scratch AS a\nCMD run\nFROM scratch AS b\nENTRYPOINT run\n"
    assert "CMD" not in Said(tmp_path, text).err
    assert "ENTRYPOINT" not in Said(tmp_path, text, "--target=a").err
    assert Said(tmp_path, text, "--check").lines[-1] == "Dockerfile: 2 warnings"
    assert Said(tmp_path, text, "--check", "--target=a").lines[-1] == "Dockerfile: 1 warning"


def test_quiet_builds_say_no_warnings(tmp_path):
    assert Said(tmp_path, "FROM scratch AS Web\n", "-q").err == ""


def test_warnings_can_be_errors(tmp_path):
    said = Said(tmp_path, "# check=error=true\nFROM scratch AS Web\nCMD a\n")
    assert said.status == 1
    assert "2:17: error: StageNameCasing: the stage's name 'Web' is not in lower case" in said.err
    assert "found in all: StageNameCasing, JSONArgsRecommended" in said.err
    option = "--build-arg=BUILDKIT_DOCKERFILE_CHECK=skip=StageNameCasing,JSONArgsRecommended;error=true"
    assert Said(tmp_path, "FROM scratch AS Web\nCMD a\n", option).status == 0


@pytest.mark.parametrize("value", ["skip", "sikp=all", "error=perhaps"])
def test_options_that_are_none_are_refused(tmp_path, value):
    said = Said(tmp_path, "FROM scratch\n", f"--build-arg=BUILDKIT_DOCKERFILE_CHECK={value}")
    assert said.status == 1
    assert "build argument BUILDKIT_DOCKERFILE_CHECK: check option" in said.err
    said = Said(tmp_path, f"# check={value}\nFROM scratch\n")
    assert "Dockerfile:1:9: error: check option" in said.err


def test_what_is_left_out_of_the_context_is_found(tmp_path):
    (tmp_path / "context").mkdir()
    (tmp_path / "context/.dockerignore").write_text("*.log\n")
    said = Said(tmp_path, "FROM scratch\nCOPY a.log b.txt /\n", "--check")
    assert "Dockerfile:2:6: warning: CopyIgnoredFile: 'a.log' is left out by .dockerignore" in said.out
