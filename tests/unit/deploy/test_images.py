"""Which image each service of a fleet file runs."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from bennu.compose.model import Build, Place, Project, Service
from bennu.deploy.images import Wanted, resolve_images, wanted_images
from bennu.deploy.release import resolve
from bennu.digest import Digest, digest_of
from bennu.errors import Invalid, NotFound


def found(name: str, _policy: str) -> Digest | None:
    return None if name.startswith("no") else digest_of(name.encode())


class Builder:
    def __init__(self) -> None:
        self.calls: list[dict[str, Wanted]] = []

    def __call__(self, wanted: Mapping[str, Wanted]) -> dict[str, Digest]:
        self.calls.append(dict(wanted))
        return {name: digest_of(f"built {each.build.context}".encode()) for name, each in wanted.items()}


def project(**services: Service) -> Project:
    places = {f"services.{name}.image": Place(file="compose.yaml", line=3, column=12) for name in services}
    return Project(name="shop", directory="/", services=services, places=places)


def test_equal_sections_are_built_once_and_named_for_all():
    section = Build(context="/a", args={"X": "1", "Y": "2"})
    same = Build(context="/a", args={"Y": "2", "X": "1"})
    builder = Builder()
    images = resolve_images(
        project(
            web=Service(name="web", build=section),
            worker=Service(name="worker", build=same, image="mine:1"),
            other=Service(name="other", build=Build(context="/b")),
            db=Service(name="db", image="postgres"),
        ),
        found,
        builder,
    )
    assert builder.calls == [
        {
            "web": Wanted(("web", "worker"), section, ("shop-web", "mine:1")),
            "other": Wanted(("other",), Build(context="/b"), ("shop-other",)),
        }
    ]
    assert images["web"] == images["worker"] != images["other"]
    assert images["db"] == digest_of(b"postgres")


def test_without_building_it_has_to_be_there():
    web = Service(name="web", build=Build(context="/a"))
    assert resolve_images(project(web=web), found, None) == {"web": digest_of(b"shop-web")}
    with pytest.raises(Invalid, match="'nowhere:1' is not in the store") as caught:
        resolve_images(project(web=Service(name="web", build=Build(context="/a"), image="nowhere:1")), found, None)
    assert (caught.value.file, caught.value.line, caught.value.column) == ("compose.yaml", 3, 12)
    assert "--no-build" in caught.value.hint


def test_some_services_are_built_for_themselves():
    services = {
        "web": Service(name="web", build=Build(context="/a")),
        "worker": Service(name="worker", build=Build(context="/a")),
        "db": Service(name="db", image="postgres"),
    }
    assert wanted_images(project(**services), ["worker", "db", "worker"]) == {
        "worker": Wanted(("worker",), Build(context="/a"), ("shop-worker",))
    }
    with pytest.raises(NotFound, match="service 'wep'") as caught:
        wanted_images(project(**services), ["wep"])
    assert caught.value.hint == "its services are web, worker, db"


def test_a_service_may_run_what_another_one_builds():
    services = {
        "job": Service(name="job", image="shop-web:latest"),
        "web": Service(name="web", build=Build(context="/a")),
        "same": Service(name="same", image="no/built", build=Build(context="/b")),
        "tail": Service(name="tail", image="no/built"),
    }
    builder = Builder()
    images = resolve_images(project(**services), found, builder)
    assert images["job"] == images["web"] == digest_of(b"built /a")
    assert images["tail"] == images["same"] == digest_of(b"built /b")


def test_nothing_is_built_where_an_image_is_missing():
    builder = Builder()
    services = {"web": Service(name="web", build=Build(context="/a")), "db": Service(name="db", image="none")}
    with pytest.raises(Invalid):
        resolve_images(project(**services), found, builder)
    assert builder.calls == []


def test_an_image_that_nobody_builds():
    with pytest.raises(Invalid, match="image 'none'") as caught:
        resolve_images(project(web=Service(name="web", image="none")), found, Builder())
    assert "bennu pull" in caught.value.hint
    placeless = Project(name="shop", directory="/", services={"web": Service(name="web", image="none")})
    with pytest.raises(NotFound):
        resolve_images(placeless, found, None)


def test_how_an_image_was_built_is_no_part_of_the_release():
    built = Service(name="web", image="web", build=Build(context="/a"), profiles=("x",), extensions={"x-note": 1})
    plain = Service(name="web", image="web")
    images = {"web": digest_of(b"web")}
    assert resolve(project(web=built), images).digest == resolve(project(web=plain), images).digest
