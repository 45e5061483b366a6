"""Every case, built by bennu, gives what Docker gave: the tree, the configuration, or a refusal at the same line.

The cases are in ``areas``, what Docker made of them in ``recorded``; ``script/record-builds`` records. One store serves
all cases, and each has a context of its own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bennu.build.builder import BuildRequest, Built
from bennu.build.secrets import Grants, SecretSource
from bennu.build.trees import in_trees
from bennu.config import Settings
from bennu.errors import BennuError, Unsupported
from bennu.host.files import remove_tree
from bennu.oci.image_config import encode_config
from bennu.oci.platform import platform_of_machine
from bennu.store.images import Image
from bennu.wiring import Runtime
from tests.conformance.builder import bases, tree
from tests.conformance.builder.case import Case, all_areas
from tests.conformance.builder.files import Disk
from tests.conformance.builder.recording import Outcome, load, matches, normalised
from tests.conformance.builder.remote import Server, serving

pytestmark = pytest.mark.root

AREAS = all_areas()
CASES = [case for area in AREAS for case in area.cases.values()]
RECORDED = {area.name: load(area.name) for area in AREAS}


@dataclass
class Conformance:
    """A store with the base images, and the trees of these."""

    runtime: Runtime
    place: Path
    server: Server
    trees: dict[str, dict[str, str]]

    def tree(self, image: Image) -> dict[str, str]:
        snapshot = self.runtime.images.snapshot(image)
        if snapshot is None:
            return {}
        mount = self.runtime.snapshots.mounts(snapshot)
        return in_trees(self.runtime.settings, (mount,), lambda roots: tree.told(tree.of_directory(roots[0])))

    def build(self, case: Case) -> Built:
        context = self.place / case.area / case.name
        Disk(context).write(case.files)
        file = context / case.file
        if case.file not in case.files:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(self.server.addressed(case.dockerfile))
            os.utime(context, (1_000_000_000, 1_000_000_000))
        self.server.files = case.remote
        request = BuildRequest(
            context=context,
            dockerfile=file,
            build_args=case.args,
            labels=case.labels,
            target=case.target,
            network="none",
            grants=Grants({name: SecretSource(name, env=name) for name in case.secrets}, environ=dict(case.secrets)),
        )
        return self.runtime.builder.build(request, lambda _: None)

    def base(self, name: str) -> dict[str, str]:
        return self.trees[name] if name else {}


@pytest.fixture(scope="module")
def conformance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Conformance]:
    place = tmp_path_factory.mktemp("conformance")
    settings = Settings.from_environ({"BENNU_ROOT": str(place / "root")})
    with Runtime(settings) as runtime, serving() as server:
        made = Conformance(runtime, place, server, {})
        for name in bases.NAMES:
            (archive := place / f"{name}.tar").write_bytes(bases.make(name))
            ((image, _),) = runtime.loader.load(archive, platform_of_machine(os.uname().machine))
            archive.unlink()
            made.trees[name] = made.tree(image)
        yield made
    remove_tree(settings.run)


@pytest.mark.parametrize("case", CASES, ids=[f"{case.area}/{case.name}" for case in CASES])
def test_builds_what_docker_builds(conformance, case):
    assert matches(case, RECORDED[case.area]), "not recorded as it stands: script/record-builds"
    outcome = RECORDED[case.area][case.name][1]
    if outcome.refused:
        _is_refused(conformance, case, outcome)
        return
    built = conformance.build(case)
    config = json.loads(encode_config(built.image.config))
    changes = tree.changes(conformance.base(outcome.base), conformance.tree(built.image))
    found = Outcome(
        outcome.base,
        changes,
        conformance.server.unaddressed(normalised(config)),
        len(built.image.config.diff_ids),
    )
    differences = sorted(lines(found) ^ lines(outcome), key=lambda each: (each[1], each[0]))
    assert not differences, "\n" + "\n".join(f"{who:6} {line}" for who, line in differences)


def lines(outcome: Outcome) -> Differences:
    """Everything that an outcome says, each apart."""
    return Differences(
        [f"{path} {line}" for path, line in outcome.tree.items()]
        + [f"{key}: {value!r}" for key, value in outcome.config["config"].items()]
        + [f"history {number}: {each}" for number, each in enumerate(outcome.config["history"])]
        + [f"{key}: {value}" for key, value in outcome.config.items() if key not in {"config", "history"}]
        + [f"{outcome.layers} layers"]
    )


class Differences(list[str]):
    """Lines, of which those that two lists do not share are told with who has them."""

    def __xor__(self, docker: Differences) -> list[tuple[str, str]]:
        return [("bennu", line) for line in self if line not in docker] + [
            ("Docker", line) for line in docker if line not in self
        ]


def _is_refused(conformance: Conformance, case: Case, outcome: Outcome) -> None:
    with pytest.raises(BennuError) as refusal:
        conformance.build(case)
    assert not isinstance(refusal.value, Unsupported), refusal.value
    if case.at:
        assert f"Dockerfile:{outcome.line or ''}" in str(refusal.value)
