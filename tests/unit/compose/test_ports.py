import pytest

from bennu.compose.model import Exposed, Port
from bennu.errors import Unsupported
from tests.unit.compose.support import project, service, service_error


def ports(text):
    return service(f"ports: [{text}]").ports


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("80", Port(target=80)),
        ('"8080:80"', Port(target=80, published=8080)),
        ("8080:80", Port(target=80, published=8080)),
        ('"0:80"', Port(target=80)),
        ('":80"', Port(target=80)),
        ('"8080:80/udp"', Port(target=80, published=8080, protocol="udp")),
        ('"127.0.0.1:8080:80"', Port(target=80, published=8080, host_ip="127.0.0.1")),
        ('"127.0.0.1::80"', Port(target=80, host_ip="127.0.0.1")),
        ('"[::1]:8080:80"', Port(target=80, published=8080, host_ip="::1")),
        ("{target: 80}", Port(target=80)),
        (
            "{target: 80, published: '8080', host_ip: 127.0.0.1, app_protocol: http, name: w, mode: host}",
            Port(target=80, published=8080, host_ip="127.0.0.1", app_protocol="http", name="w", mode="host"),
        ),
    ],
)
def test_one_port(text, expected):
    assert ports(text) == (expected,)


def test_ranges_are_spelled_out():
    assert ports('"9000-9001:80-81"') == (Port(target=80, published=9000), Port(target=81, published=9001))
    assert ports('"80-82"') == (Port(target=80), Port(target=81), Port(target=82))


def test_the_same_port_twice_is_one():
    assert ports('"8080:80", "8080:80"') == (Port(target=80, published=8080),)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('"80:90:100:1"', "'80:90' is not an IP address"),
        ("99999", "ports go from 1 to 65535"),
        ('"0"', "ports go from 1 to 65535"),
        ('"x:80"', "'x' is not a port"),
        ('"80:"', "'' is not a port"),
        ('"8080:80/icmp"', "no protocol"),
        ('"9000-9003:80-81"', "do not pair up"),
        ('"82-80"', "ends before it begins"),
        ('"::80"', "an empty host address"),
        ('"8080:80", "8080:81"', "published twice"),
        ("{published: 80}", "has no 'target'"),
        ("{target: 80, publishd: 81}", "key 'publishd' is not known in a port"),
        ("{target: 80, mode: hst}", "'hst' is no mode of a port"),
        ("{target: x}", "'x' is not a whole number"),
        ("{target: 70000}", "70000 is not a port"),
        ("[80]", "is a list, should be a single value"),
    ],
)
def test_what_is_refused(text, words):
    error = service_error(f"ports: [{text}]")
    assert words in error.message
    assert error.line == 4


@pytest.mark.parametrize("text", ['"80/sctp"', '"9000-9003:80"', '{target: 80, published: "1-3"}'])
def test_what_is_not_supported(text):
    assert isinstance(service_error(f"ports: [{text}]"), Unsupported)


def test_two_services_cannot_publish_one_port():
    def text(first, second):
        return f"services:\n  a: {{image: x, ports: [{first}]}}\n  b: {{image: x, ports: [{second}]}}\n"

    (found,) = project(text("'80:80'", "'127.0.0.1:80:81'")).unserved
    assert found.message == "services.b.ports: host port 80/tcp is published by 'a' already"
    assert found.place.line == 3
    assert project(text("'127.0.0.1:80:80'", "'127.0.0.2:80:80'")).unserved == ()
    assert project(text("'80:80/udp'", "'80:80'")).unserved == ()


def test_expose():
    found = service('expose: ["3000", 3001, "4000-4001/udp", "3000"]').expose
    assert found == (
        Exposed(target=3000),
        Exposed(target=3001),
        Exposed(target=4000, protocol="udp"),
        Exposed(target=4001, protocol="udp"),
    )
    assert "is not a port" in service_error("expose: [web]").message
