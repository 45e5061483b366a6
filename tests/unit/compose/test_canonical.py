import json

import msgspec

from bennu.compose.canonical import canonical_json, project_json, service_digest
from bennu.compose.model import Mount, Port, Project, Service
from tests.unit.compose.support import project, service

TEXT = """
services:
  web:
    build: .
    environment: {B: 1, A: 2}
    ports: ["80:80", "81:81/tcp"]
    scale: 3
    depends_on: [db]
  db: {image: x}
"""


def test_equal_values_have_equal_encodings():
    # Defaults that are equal but not identical, as a parsed text makes them.
    made = bytes([116, 99, 112]).decode()
    assert canonical_json(Port(target=80, protocol=made)) == canonical_json(Port(target=80)) == b'{"target":80}'


def test_keys_are_sorted():
    text = project_json(project(TEXT)).decode()
    found = json.loads(text)
    assert text == json.dumps(found, sort_keys=True, separators=(",", ":"))


def test_encodings_come_back():
    found = project(TEXT)
    assert msgspec.json.decode(canonical_json(found), type=Project) == found


def test_what_needs_no_new_replica_is_no_part_of_the_digest():
    base = service_digest(service("environment: {A: 1}"))
    for more in (
        "scale: 3",
        "depends_on: []",
        "profiles: []",
        "x-note: 1",
        "build: ./elsewhere",
        "deploy: {labels: [a]}",
    ):
        assert service_digest(service(f"environment: {{A: 1}}\n{more}")) == base, more
    for other in ("environment: {A: 2}", "environment: {A: 1}\nuser: x", "environment: {A: 1}\nmem_limit: 1m"):
        assert service_digest(service(other)) != base, other


def test_where_the_checkout_is_does_not_count():
    assert service_digest(service("build: .", directory="/a")) == service_digest(service("build: .", directory="/b"))


def test_the_order_of_variables_ports_and_mounts_does_not_count():
    one = service("environment: {A: 1, B: 2}\nports: ['80:80', '81:81']\nvolumes: [/a, /b]")
    two = service("environment: {B: 2, A: 1}\nports: ['81:81', '80:80']\nvolumes: [/b, /a]")
    assert service_digest(one) == service_digest(two)


def test_the_digest_of_a_configuration_stays():
    # A release that is stored names this digest: only a change of what it says may move it.
    found = Service(name="web", image="x", environment={"A": "1"}, mounts=(Mount(type="tmpfs", target="/tmp"),))
    assert service_digest(found) == "sha256:8fad13b3154df014b0dd656095e28685c6a733e04cae80bae8ecc94e28b7b297"
