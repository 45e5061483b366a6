import io
import json

import pytest

from bennu.cli import config
from bennu.cli.command import Arguments
from bennu.cli.context import Context
from bennu.errors import Invalid

TEXT = """
name: p
services:
  web: {build: ., tty: true, volumes: [data:/d], depends_on: [db]}
  db: {image: postgres}
  tool: {image: postgres, profiles: [dev]}
volumes: {data: }
"""


@pytest.fixture
def run(tmp_path):
    (tmp_path / "compose.yaml").write_text(TEXT)

    def call(**given):
        arguments = {
            "files": (str(tmp_path / "compose.yaml"),),
            "project": None,
            "profiles": (),
            "quiet": False,
            "format": "yaml",
            "services": False,
            "volumes": False,
            "images": False,
            "hash": None,
            **given,
        }
        out, err = io.StringIO(), io.StringIO()
        assert config.run(Arguments(**arguments), Context({}, stdout=out, stderr=err)) == 0
        return out.getvalue(), err.getvalue()

    return call


def test_the_file_is_printed_and_warnings_go_to_stderr(run, tmp_path):
    out, err = run()
    assert out.startswith("name: p\n")
    assert f"context: {tmp_path}\n" in out
    assert err.startswith("warning: ")
    assert "compose.yaml:4:19: services.web.tty: has no effect" in err


def test_json(run):
    out, _ = run(format="json")
    assert json.loads(out)["services"]["db"]["image"] == "postgres"


def test_quiet(run):
    assert run(quiet=True)[0] == ""


def test_lists(run):
    assert run(services=True)[0] == "web\ndb\n"
    assert run(services=True, profiles=("dev",))[0] == "web\ndb\ntool\n"
    assert run(volumes=True)[0] == "data\n"
    assert run(images=True)[0] == "p-web\npostgres\n"
    assert run(images=True, project="q")[0] == "q-web\npostgres\n"


def test_hashes(run):
    every = run(hash="*")[0].splitlines()
    assert [line.split()[0] for line in every] == ["web", "db"]
    assert all(len(line.split()[1]) == 64 for line in every)
    assert run(hash="db")[0] == every[1] + "\n"
    with pytest.raises(Invalid, match="service 'dx' is not known"):
        run(hash="dx")
