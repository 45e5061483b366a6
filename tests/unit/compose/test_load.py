import pytest

from bennu.compose.load import load
from bennu.errors import Invalid, InvalidMany, NotFound

MINIMAL = "services: {web: {image: 'x:${TAG:-none}'}}\n"


@pytest.fixture
def here(tmp_path):
    directory = tmp_path / "shop" / "deep"
    directory.mkdir(parents=True)
    return directory


def image(here, *files, **options):
    options.setdefault("environ", {})
    return load(files, working_directory=str(here), **options).services["web"].image


def test_the_file_is_found_upward(here):
    (here.parent / "docker-compose.yml").write_text(MINIMAL)
    found = load(environ={}, working_directory=str(here))
    assert (found.name, found.directory) == ("shop", str(here.parent))
    (here.parent / "compose.yaml").write_text("services: {web: {image: first}}")
    assert image(here) == "first"


def test_the_override_lies_over_it(here):
    (here / "compose.yaml").write_text("services: {web: {image: a, user: u}}")
    (here / "compose.override.yml").write_text("services: {web: {image: b}}")
    found = load(environ={}, working_directory=str(here))
    assert (found.services["web"].image, found.services["web"].user) == ("b", "u")
    assert found.files == ("compose.yaml", "compose.override.yml")
    assert image(here, "compose.yaml") == "a"


def test_named_files_and_the_directory_of_the_first(here):
    (here / "one.yaml").write_text("services: {web: {build: ., volumes: ['./d:/d']}}")
    (here.parent / "two.yaml").write_text("services: {web: {image: two}}")
    found = load(["deep/one.yaml", "two.yaml"], environ={}, working_directory=str(here.parent))
    assert (found.directory, found.name) == (str(here), "deep")
    assert found.services["web"].build.context == str(here)
    assert found.services["web"].mounts[0].source == str(here / "d")


def test_compose_file_of_the_environment(here):
    (here / "a.yaml").write_text("services: {web: {image: a}}")
    (here / "b.yaml").write_text("services: {web: {image: b}}")
    assert image(here, environ={"COMPOSE_FILE": "a.yaml:b.yaml"}) == "b"
    assert image(here, environ={"COMPOSE_FILE": "b.yaml,a.yaml", "COMPOSE_PATH_SEPARATOR": ","}) == "a"
    (here / ".env").write_text("COMPOSE_FILE=a.yaml\n")
    assert image(here) == "a"


def test_variables_come_from_the_process_and_then_from_the_env_file(here):
    (here / "compose.yaml").write_text(MINIMAL)
    assert image(here) == "x:none"
    (here / ".env").write_text("TAG=file\nCOMPOSE_PROJECT_NAME=named\n")
    assert image(here) == "x:file"
    assert image(here, environ={"TAG": "process"}) == "x:process"
    assert load(environ={}, working_directory=str(here)).name == "named"
    assert load(environ={}, working_directory=str(here), name="given").name == "given"


def test_profiles(here):
    (here / "compose.yaml").write_text("services: {web: {image: a}, d: {image: b, profiles: [dev]}}")
    assert list(load(environ={}, working_directory=str(here)).services) == ["web"]
    assert "d" in load(environ={"COMPOSE_PROFILES": "x, dev"}, working_directory=str(here)).services
    assert "d" in load(environ={}, profiles=["dev"], working_directory=str(here)).services


def test_env_files_are_read(here):
    (here / "compose.yaml").write_text(
        "services: {web: {image: a, env_file: [web.env, {path: no.env, required: false}]}}"
    )
    (here / "web.env").write_text("A=1\n")
    assert load(environ={}, working_directory=str(here)).services["web"].environment == {"A": "1"}


def test_what_is_not_there(here):
    with pytest.raises(NotFound, match=r"no compose.yaml in") as caught:
        load(environ={}, working_directory=str(here))
    assert "-f FILE" in caught.value.hint
    with pytest.raises(NotFound, match=r"'gone.yaml' does not exist"):
        load(["gone.yaml"], environ={}, working_directory=str(here))


def test_errors_show_their_line(here):
    (here / "compose.yaml").write_text("services:\n  web:\n    imge: x\n    image: y\n    usr: z\n")
    with pytest.raises(InvalidMany) as caught:
        load(environ={}, working_directory=str(here))
    assert [(error.where, error.excerpt) for error in caught.value.errors] == [
        ("compose.yaml:3:5", "    imge: x"),
        ("compose.yaml:5:5", "    usr: z"),
    ]


def test_errors_of_several_broken_files_come_together(here):
    (here / "a.yaml").write_text("a: [")
    (here / "b.yaml").write_text("a: 1\na: 2")
    with pytest.raises(InvalidMany) as caught:
        load(["a.yaml", "b.yaml"], environ={}, working_directory=str(here))
    assert [error.where for error in caught.value.errors] == ["a.yaml:2:1", "b.yaml:2:1"]


def test_bytes_that_are_no_text(here):
    (here / "compose.yaml").write_bytes(b"services:\n  a\xff: 1\n")
    with pytest.raises(Invalid, match="not UTF-8") as caught:
        load(environ={}, working_directory=str(here))
    assert caught.value.where == "compose.yaml:2:4"


def test_a_byte_order_mark_is_no_text(here):
    (here / "compose.yaml").write_bytes(b"\xef\xbb\xbf" + MINIMAL.encode())
    assert image(here) == "x:none"


def test_files_are_bounded(here):
    (here / "compose.yaml").write_bytes(b"#" * (4 << 20) + b"#")
    with pytest.raises(Invalid, match="larger than"):
        load(environ={}, working_directory=str(here))
