"""``bennu build`` without a CONTEXT: the services of a Compose file, with images that need no container."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from bennu.cli.main import main
from bennu.config import Settings
from bennu.wiring import Store

FLEET = """name: shop
services:
  web:
    build: web
  api:
    build: {context: api, args: {A: file}}
    image: mine/api:1
  worker:
    build: {context: api, args: {A: file}}
  later:
    build: later
    profiles: [later]
  db:
    image: postgres
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project that is worked in."""
    place = tmp_path / "shop"
    for name, text in {
        "compose.yaml": FLEET,
        "web/Dockerfile": "FROM scratch\nARG A=none\nLABEL web=$A\n",
        "api/Dockerfile": "FROM scratch\nARG A=none\nLABEL api=$A\n",
        "later/Dockerfile": "FROM shop-web\nLABEL later=yes\n",
    }.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
    monkeypatch.chdir(place)
    return place


class Said:
    """What ``bennu build`` came to, in the project's directory."""

    def __init__(self, shop: Path, *words: str, before: tuple[str, ...] = (), **environ: str) -> None:
        self.root = shop.parent / "root"
        out, err = io.StringIO(), io.StringIO()
        variables = {"BENNU_ROOT": str(self.root), **environ}
        self.status = main([*before, "build", *words], variables, stdin=io.StringIO(), stdout=out, stderr=err)
        self.out, self.err = out.getvalue(), err.getvalue()

    @property
    def names(self) -> list[str]:
        with Store(Settings.from_environ({"BENNU_ROOT": str(self.root)})) as store:
            return sorted(name for image in store.images.walk() for name in image.familiar_names)

    def labels(self, name: str) -> dict[str, str]:
        with Store(Settings.from_environ({"BENNU_ROOT": str(self.root)})) as store:
            return dict(store.images.resolve(name).config.config.labels)


def test_every_service_is_built_and_told_of(shop):
    said = Said(shop)
    assert (said.status, said.out) == (0, "")
    assert said.names == ["mine/api:1", "shop-web:latest", "shop-worker:latest"]
    assert said.err.splitlines()[0].startswith("web: shop-web:latest sha256:")
    assert said.err.splitlines()[1].startswith("api, worker: ")
    assert said.labels("mine/api:1") == {"api": "file"}


def test_some_services_alone(shop):
    said = Said(shop, "-q", "--service", "worker")
    assert (said.status, said.err) == (0, "")
    assert said.names == ["shop-worker:latest"]
    assert len(said.out.splitlines()) == 1


def test_a_profile_has_its_services_and_one_image_stands_on_another(shop):
    said = Said(shop, "--profile", "later")
    assert said.status == 0
    assert said.labels("shop-later") == {"web": "none", "later": "yes"}


def test_what_the_command_line_says_wins_and_counts_for_all(shop):
    said = Said(shop, "--build-arg", "A=typed", "--label", "by=me", "-p", "other")
    assert said.status == 0
    assert said.labels("other-web") == {"web": "typed", "by": "me"}
    assert said.labels("mine/api:1") == {"api": "typed", "by": "me"}


@pytest.mark.parametrize("before", [(), ("-f", "prod.yml")])
def test_another_file_is_named(shop, before):
    (shop / "prod.yml").write_text("name: prod\nservices: {web: {build: web}}\n")
    said = Said(shop, *(() if before else ("-f", "prod.yml")), before=before)
    assert (said.status, said.names) == (0, ["prod-web:latest"])


def test_a_variable_names_the_project_and_does_no_harm_to_a_context(shop):
    assert Said(shop, COMPOSE_PROJECT_NAME="mine").names == ["mine-web:latest", "mine-worker:latest", "mine/api:1"]
    assert Said(shop, "-t", "one", "web", COMPOSE_PROJECT_NAME="mine", COMPOSE_FILE="none.yaml").status == 0


def test_a_project_without_builds_is_told_so(shop):
    (shop / "compose.yaml").write_text("name: shop\nservices: {db: {image: postgres}}\n")
    said = Said(shop)
    assert (said.status, said.err) == (
        0,
        "project shop: no service has a build section, there is nothing to build\n",
    )


@pytest.mark.parametrize(
    ("words", "message", "hint", "status"),
    [
        (("-t", "one"), "--tag is about one image", "`bennu build --tag ... .`", 64),
        (("--iidfile", "x"), "--iidfile is about one image", "", 64),
        (("--target", "x"), "--target is about one image", "", 64),
        (("--build-context", "a=b"), "--build-context is about one image", "", 64),
        (("--service", "wep"), "service 'wep' is not in project 'shop'", "web, api, worker, db", 1),
        (("--service", "db"), "service 'db' has no build section: its image is 'postgres'", "bennu load", 64),
        (("-f", "Dockerfile.test"), "'Dockerfile.test' without a CONTEXT", "`bennu build -f Dockerfile.test .`", 64),
        (("-f", "none.yaml"), "none.yaml", "", 1),
        (("web ",), "context 'web ' is not a directory", "--service", 1),
    ],
)
def test_what_cannot_be_meant_is_refused(shop, words, message, hint, status):
    said = Said(shop, *words)
    assert said.status == status, said.err
    assert message in said.err
    assert hint in said.err
    assert "Traceback" not in said.err
    assert said.names == []


def test_where_there_is_no_compose_file_both_ways_are_named(shop, monkeypatch):
    monkeypatch.chdir(shop.parent)
    said = Said(shop)
    assert said.status == 64
    assert "no CONTEXT, and no compose.yaml in" in said.err
    assert "`bennu build .`" in said.err


def test_one_bad_dockerfile_ends_all(shop):
    (shop / "api/Dockerfile").write_text("FROM scratch\nLABLE a=b\n")
    said = Said(shop)
    assert said.status == 1
    assert "api/Dockerfile:2:1" in said.err
