"""``--call=outline`` and ``--call=targets`` say what Docker's say, member by member, sources aside."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from bennu.cli.main import main
from bennu.config import Settings
from bennu.wiring import Store
from tests.conformance.checks.cases import Case, cases, recorded_outlines
from tests.conformance.checks.images import CONFIGURATIONS

RECORDED = recorded_outlines()


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    from bennu.oci.reference import parse_name

    place = tmp_path_factory.mktemp("root")
    with Store(Settings.from_environ({"BENNU_ROOT": str(place)})) as store:
        for name, config in CONFIGURATIONS.items():
            store.images.create(config, None, names=(parse_name(name),), durable=False)
    return place


@pytest.mark.parametrize("call", ["outline", "targets"])
@pytest.mark.parametrize("case", cases("outlines.txt"), ids=lambda case: case.name)
def test_documents_are_dockers(case: Case, call: str, root: Path, tmp_path: Path):
    (tmp_path / "Dockerfile").write_text(case.text)
    out, err = io.StringIO(), io.StringIO()
    words = [f"--build-arg={name}={value}" for name, value in case.args.items()]
    words += ["--target", case.target] if case.target else []
    words = ["build", f"--call={call},format=json", *words, str(tmp_path)]
    assert main(words, {"BENNU_ROOT": str(root)}, stdout=out, stderr=err) == 0, err.getvalue()
    document = json.loads(out.getvalue())
    del document["sources"]
    assert document == RECORDED[case.name][call]
