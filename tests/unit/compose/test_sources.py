"""Which project a directory's fleet file is, whatever else is in it."""

import pytest

from bennu.compose.sources import name_of_project
from bennu.errors import Invalid, NotFound


def named(here, environ=None, **options):
    return name_of_project(environ=environ or {}, working_directory=str(here), **options)


def test_a_name_needs_no_file_that_is_right(tmp_path):
    (tmp_path / "compose.yaml").write_text("name: ${STAGE:-shop}\nservices: {web: {imaje: x}}\n")
    assert named(tmp_path) == "shop"
    assert named(tmp_path, {"STAGE": "test"}) == "test"
    assert named(tmp_path, {"COMPOSE_PROJECT_NAME": "other"}) == "other"
    (tmp_path / ".env").write_text("STAGE=dot\n")
    assert named(tmp_path) == "dot"


def test_without_a_name_it_is_the_directory(tmp_path):
    below = tmp_path / "Shop"
    below.mkdir()
    (below / "compose.yaml").write_text("services: {}\n")
    assert named(below) == "shop"


def test_what_cannot_be_read_is_said(tmp_path):
    with pytest.raises(NotFound, match=r"no compose\.yaml"):
        named(tmp_path)
    (tmp_path / "compose.yaml").write_text("name: [\n")
    with pytest.raises(Invalid):
        named(tmp_path)
    (tmp_path / "compose.yaml").write_text("name: UP\n")
    with pytest.raises(Invalid, match="is not allowed") as caught:
        named(tmp_path)
    assert caught.value.excerpt == "name: UP"
