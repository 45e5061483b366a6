"""For every test: a root of its own, nothing left behind by the run, and no silent skips where skips are failures."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from bennu.config import Settings
from tests.leftovers import MARK, Leftovers

IN_CI = os.environ.get("CI") == "true"

# No test depends on how fast the machine is; in CI the examples are the same every time.
hypothesis.settings.register_profile("bennu", deadline=None, derandomize=IN_CI)
hypothesis.settings.load_profile("bennu")


@pytest.fixture(scope="session", autouse=True)
def leftovers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Leftovers]:
    """Watches the host from the first test to the last; what the run leaves behind fails it."""
    mark = secrets.token_hex(8)
    os.environ[MARK] = mark
    watch = Leftovers(tmp_path_factory.getbasetemp(), mark, is_alone=IN_CI)
    yield watch
    left = watch.find()
    assert left == [], "the run left behind:\n" + "\n".join(left)


@pytest.fixture
def root_settings(tmp_path: Path) -> Settings:
    """Settings of a root of this test's own."""
    return Settings.from_environ({"BENNU_ROOT": str(tmp_path / "root")})


@pytest.fixture(autouse=True)
def _no_variables_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a person has set for their own bennu must not change a test."""
    for name in [name for name in os.environ if name.startswith(("BENNU_", "COMPOSE_", "BUILDKIT_")) and name != MARK]:
        monkeypatch.delenv(name)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that need root say so when they are run without it."""
    if os.geteuid() == 0:
        return
    for item in items:
        if item.get_closest_marker("root"):
            item.add_marker(pytest.mark.skip(reason="needs root: script/test"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """In CI a test that did not run is a failure: nobody would see the skip."""
    report = yield
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped: {report.longrepr}"
    return report
