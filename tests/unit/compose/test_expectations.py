"""``validate`` of ``x-bennu``."""

import pytest

from bennu.compose.canonical import service_digest
from bennu.compose.extension import Expectation, Validation
from tests.unit.compose.support import service, service_error


def validations(text: str) -> tuple[Validation, ...]:
    return service(f"x-bennu: {{validate: {text}}}").x_bennu.validate


def test_an_address_alone_is_a_request():
    wanted = (Validation(http=Expectation(port=80, path="/up?a=b")),)
    assert validations("'http://:80/up?a=b'") == validations("['http://:80/up?a=b']") == wanted
    assert validations("[{http: 'http://:8080'}]") == (Validation(http=Expectation(port=8080)),)


def test_all_of_a_request():
    (found,) = validations(
        "[{http: 'http://:80/in', method: POST, headers: {A: b, N: 1}, body: x=1, status: [201, 3xx],"
        " contains: [hi, ho], timeout: 2s, retries: 3}]"
    )
    assert found == Validation(
        http=Expectation(
            port=80, path="/in", method="POST", headers={"A": "b", "N": "1"}, body="x=1", status=("201", "3xx"),
            contains=("hi", "ho"),
        ),
        timeout_seconds=2,
        retries=3,
    )  # fmt: skip


def test_commands_run_beside_and_scripts_on_the_host():
    command, plain, script, word = validations(
        "[{command: [a, 'b c'], image: tools}, {command: \"a 'b c'\"}, {script: ./s.sh x}, {script: curl -f y}]"
    )
    assert command == Validation(command=("a", "b c"), image="tools")
    assert plain == Validation(command=("a", "b c"))
    assert script.script[0].endswith("/s.sh")
    assert script.script[0].startswith("/")
    assert word.script == ("curl", "-f", "y")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("['http://host:80/']", "is no address of a replica"),
        ("['http://:70000/']", "is no address of a replica"),
        ("[{}]", "none of http, command and script"),
        ("[{http: 'http://:80/', script: x}]", "has http and script"),
        ("[{script: x, image: y}]", "means nothing for a validation by script"),
        ("[{command: x, status: 200}]", "means nothing for a validation by command"),
        ("[{http: 'http://:80/', status: 2x}]", "is no status"),
        ("[{http: 'http://:80/', state: 200}]", "is not known in a validation"),
        ("[{command: []}]", "is empty"),
    ],
)
def test_what_is_wrong_is_said(text, message):
    assert message in service_error(f"x-bennu: {{validate: {text}}}").message


def test_how_a_set_is_proven_is_no_part_of_what_it_is():
    bare = service("x-bennu: {writes: false}")
    proven = service("x-bennu: {writes: false, validate: 'http://:80/', canary: 5s, watch: 9s}")
    assert service_digest(proven) == service_digest(bare)
