"""Routing: services and replicas as the switch's values."""

import pytest

from bennu.compose.extension import Probe, XBennu
from bennu.compose.model import Exposed, Port, Service
from bennu.digest import digest_of
from bennu.engine.embedded.routing import frontends, servers
from bennu.engine.sets import ReplicaObservation, SetId, SetSpec
from bennu.oci.image_config import NOTHING, ContainerConfig
from bennu.switch.model import Bind, Frontend, Server, SwitchState, with_frontends

ADDRESS = {"web": "10.1.0.254"}


def made(service: Service, config: ContainerConfig | None = None, chosen: dict | None = None) -> list[Frontend]:
    configs = {} if config is None else {service.name: config}
    found = frontends([service], configs, ADDRESS, chosen or {})
    with_frontends(SwitchState(), found)  # the switch takes it
    return sorted(found, key=lambda one: (one.port, one.protocol))


def web(*ports: Port, **fields: object) -> Service:
    return Service(name="web", ports=ports, **fields)


def test_published_exposed_and_the_images():
    service = web(Port(target=80, published=8080), expose=(Exposed(target=9000),))
    config = ContainerConfig(exposed_ports={"80/tcp": NOTHING, "443": NOTHING, "53/udp": NOTHING, "x/tcp": NOTHING})
    assert made(service, config) == [
        Frontend("web", 53, "udp", (Bind("10.1.0.254", 53),)),
        Frontend("web", 80, "http", (Bind("10.1.0.254", 80), Bind("*", 8080))),
        Frontend("web", 443, "tcp", (Bind("10.1.0.254", 443),)),
        Frontend("web", 9000, "tcp", (Bind("10.1.0.254", 9000),)),
    ]


def test_one_port_published_twice():
    service = web(Port(target=80, published=8080), Port(target=80, published=8081, host_ip="127.0.0.1"))
    (found,) = made(service)
    assert found.binds == (Bind("10.1.0.254", 80), Bind("*", 8080), Bind("127.0.0.1", 8081))


def test_tcp_and_udp_of_one_number():
    assert [one.protocol for one in made(web(Port(target=53), Port(target=53, protocol="udp")))] == ["tcp", "udp"]


def test_ports_chosen_for_those_published_anywhere():
    (found,) = made(web(Port(target=5432)), chosen={("web", 5432, "tcp"): 40001})
    assert found.binds == (Bind("10.1.0.254", 5432), Bind("*", 40001))


@pytest.mark.parametrize(
    ("port", "protocol"),
    [
        (Port(target=80), "http"),
        (Port(target=8080), "http"),
        (Port(target=80, app_protocol="tcp"), "tcp"),
        (Port(target=8080, app_protocol="h2c"), "tcp"),
        (Port(target=9000, app_protocol="http"), "http"),
        (Port(target=443), "tcp"),
        (Port(target=5432), "tcp"),
        (Port(target=80, protocol="udp"), "udp"),
    ],
)
def test_which_ports_are_http(port, protocol):
    assert [one.protocol for one in made(web(port))] == [protocol]


def test_the_port_of_an_http_probe_is_http():
    ports = (Port(target=3000), Port(target=3001))
    service = web(*ports, x_bennu=XBennu(probe=Probe(kind="http", port=3000)))
    assert [one.protocol for one in made(service)] == ["http", "tcp"]
    service = web(*ports, x_bennu=XBennu(probe=Probe(kind="tcp", port=3000)))
    assert [one.protocol for one in made(service)] == ["tcp", "tcp"]


def test_servers_are_replicas_with_an_address():
    spec = SetSpec(id=SetId("web-1"), project="p", image=digest_of(b""), image_name="i", service=web())
    replicas = [
        ReplicaObservation(
            service="web", set=spec.id, index=n, container=str(n), state=state, health=health, address=address
        )
        for n, state, health, address in (
            (1, "running", "healthy", "10.1.0.2"),
            (2, "running", "unhealthy", "10.1.0.3"),
            (3, "exited", "none", None),
        )
    ]
    assert servers(spec, replicas, {}) == (Server("web-1.1", "10.1.0.2"), Server("web-1.2", "10.1.0.3", ready=False))
    assert [one.ready for one in servers(spec, replicas, {"1": False, "2": True})] == [False, True]
