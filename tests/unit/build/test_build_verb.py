"""``bennu build`` from its words to what it says, with images that need no container and no mount."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from bennu.cli.main import main
from bennu.config import Settings
from bennu.wiring import Store


@pytest.fixture
def context(tmp_path: Path) -> Path:
    place = tmp_path / "context"
    place.mkdir()
    (place / "Dockerfile").write_text("FROM scratch\nARG A=default\nLABEL a=$A\n")
    return place


class Said:
    """What a command line came to."""

    def __init__(self, context: Path, *words: str, typed: str = "", **environ: str) -> None:
        self.root = context.parent / "root"
        out, err, typing = io.StringIO(), io.StringIO(), io.TextIOWrapper(io.BytesIO(typed.encode()))
        variables = {"BENNU_ROOT": str(self.root), **environ}
        self.status = main(["build", *words], variables, stdin=typing, stdout=out, stderr=err)
        self.out, self.err = out.getvalue(), err.getvalue()

    def image(self, name: str):
        with Store(Settings.from_environ({"BENNU_ROOT": str(self.root)})) as store:
            return store.images.resolve(name)


def test_the_image_is_named_and_told(context):
    said = Said(context, "-t", "one:1", "-t", "host.example:5000/two", "--label", "b=2", str(context))
    assert (said.status, said.out) == (0, "")
    image = said.image("one:1")
    assert said.err.startswith(f"one:1 {image.id[:19]}: 0 layers, 0B; 0 steps, 0 from the cache, in ")
    assert said.image("host.example:5000/two:latest").manifest == image.manifest
    assert dict(image.config.config.labels) == {"a": "default", "b": "2"}


def test_quietly_only_the_id_is_said(context):
    said = Said(context, "-q", "-t", "one", str(context))
    assert (said.out, said.err) == (f"{said.image('one').id}\n", "")


def test_the_id_goes_to_a_file(context, tmp_path):
    said = Said(context, "--iidfile", str(tmp_path / "id"), "-t", "one", str(context))
    assert (tmp_path / "id").read_text() == said.image("one").id


def test_the_dockerfile_may_come_from_standard_input(context):
    said = Said(context, "-q", "-f", "-", "-t", "one", str(context), typed="FROM scratch\nLABEL typed=yes\n")
    assert dict(said.image("one").config.config.labels) == {"typed": "yes"}


@pytest.mark.parametrize("name", ["Other", "deep/Other"])
def test_the_dockerfile_may_be_named_from_the_context(context, name):
    (context / name).parent.mkdir(exist_ok=True)
    (context / name).write_text("FROM scratch\nLABEL other=yes\n")
    assert Said(context, "-q", "-f", name, "-t", "one", str(context)).status == 0
    said = Said(context, "-q", "-f", str(context / name), "-t", "one", str(context))
    assert dict(said.image("one").config.config.labels) == {"other": "yes"}


@pytest.mark.parametrize(
    ("words", "environ", "value"),
    [
        (("--build-arg", "A=given"), {}, "given"),
        (("--build-arg", "A"), {"A": "inherited"}, "inherited"),
        (("--build-arg", "A"), {}, "default"),
        (("--build-arg", "A="), {"A": "inherited"}, ""),
    ],
)
def test_an_argument_has_its_value_or_that_of_the_environment(context, words, environ, value):
    said = Said(context, "-q", "-t", "one", *words, str(context), **environ)
    assert dict(said.image("one").config.config.labels) == {"a": value}


def test_the_epoch_is_the_images_time(context):
    said = Said(context, "-q", "-t", "one", str(context), SOURCE_DATE_EPOCH="86400")
    assert said.image("one").config.created == "1970-01-02T00:00:00Z"


def test_what_nobody_declared_is_warned_about(context):
    said = Said(context, "--build-arg", "AA=1", str(context))
    assert said.status == 0
    assert "Dockerfile:1:1: warning: build argument 'AA'" in said.err


def test_json_is_all_that_json_says(context):
    for line in Said(context, "--progress", "rawjson", str(context)).err.splitlines()[:-1]:
        json.loads(line)


@pytest.mark.parametrize(
    ("words", "message", "status"),
    [
        (("-f", "one", "-f", "two", "{context}"), "--file is given 2 times", 64),
        (("--service", "web", "{context}"), "--service is about a Compose file", 64),
        (("-p", "shop", "{context}"), "--project-name is about a Compose file", 64),
        (("nowhere",), "context 'nowhere' is not a directory", 1),
        (("{context}/Dockerfile",), "is a file, not a directory", 1),
        (("-",), "standard input is empty", 1),
        (("-f", "-", "-"), "cannot be both", 64),
        (("-f", "missing", "{context}"), "Dockerfile 'missing' does not exist", 1),
        (("-t", "Not A Name", "{context}"), "Not A Name", 1),
        (("--target", "nothing", "{context}"), "target stage 'nothing'", 1),
        (("--network", "bridge", "{context}"), "--network 'bridge' is not one of", 64),
        (("--progress", "loud", "{context}"), "--progress 'loud' is not one of", 64),
    ],
)
def test_what_cannot_be_built_is_refused(context, words, message, status):
    said = Said(context, *(word.format(context=context) for word in words))
    assert said.status == status
    assert message in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize("value", ["soon", "-1", "1.5", "\u0663"])
def test_an_epoch_is_a_number(context, value):
    for said in (
        Said(context, str(context), SOURCE_DATE_EPOCH=value),
        Said(context, "--build-arg", f"SOURCE_DATE_EPOCH={value}", str(context)),
    ):
        assert said.status == 1
        assert "SOURCE_DATE_EPOCH is" in said.err


def test_errors_of_the_dockerfile_stand_at_their_place(context):
    (context / "Dockerfile").write_text("FROM scratch\nLABLE a=b\n")
    said = Said(context, str(context))
    assert said.status == 1
    assert "Dockerfile:2:1: error: unknown instruction 'LABLE'" in said.err
    assert "did you mean LABEL?" in said.err
