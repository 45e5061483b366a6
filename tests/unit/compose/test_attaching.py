"""Networks, configs and secrets: at the top level and in a service."""

from __future__ import annotations

import pytest

from bennu.compose.attachments import Attachment, FileMount, FileSource, Network, Subnet
from bennu.compose.render import compose_document
from tests.unit.compose.support import errors, project

WEB = "services:\n  web: {image: x%s}\n"


def only(text: str, use: str = ""):
    return project(WEB % use + text)


def error(text: str, use: str = ""):
    (found,) = errors(only, text, use)
    return found


def test_where_content_comes_from():
    found = only(
        "configs:\n  a: {file: ./a.conf}\n  b: {content: 'x $$y'}\n  c: {environment: C}\n  d: {external: true}\n"
        "secrets:\n  e: {file: /e, name: own}\n  f: {external: {name: old}}\n"
    )
    assert found.configs == {
        "a": FileSource(name="shop_a", file="/work/shop/a.conf"),
        "b": FileSource(name="shop_b", content="x $y"),
        "c": FileSource(name="shop_c", environment="C"),
        "d": FileSource(name="d", external=True),
    }
    assert found.secrets == {"e": FileSource(name="own", file="/e"), "f": FileSource(name="old", external=True)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("configs: {a: }", "says nothing of its content"),
        ("configs: {a: {labels: [x]}}", "has none of file, environment, content"),
        ("configs: {a: {file: x, content: y}}", "has file and content"),
        ("secrets: {a: {content: y}}", "where everybody reads it"),
        ("secrets: {a: {file: x, external: true}}", "is external"),
        ("secrets: {a: {fil: x}}", "key 'fil' is not known"),
        ("secrets: {'a b': {file: x}}", "cannot be the name of a secret"),
    ],
)
def test_content_from_nowhere(text, said):
    assert any(said in each.message for each in errors(only, text))


def test_where_files_are_in_a_replica():
    found = only(
        "configs: {a: {file: a}}\nsecrets: {s: {file: s}}\n",
        ", configs: [a, {source: a, target: /etc/a, uid: '33', gid: 33, mode: 0440}]"
        ", secrets: [s, {source: s, target: t}]",
    ).services["web"]
    assert found.configs == (
        FileMount(source="a", target="/a"),
        FileMount(source="a", target="/etc/a", uid=33, gid=33, mode=0o440),
    )
    assert found.secrets == (
        FileMount(source="s", target="/run/secrets/s"),
        FileMount(source="s", target="/run/secrets/t"),
    )


@pytest.mark.parametrize(
    ("use", "said"),
    [
        (", configs: [b]", "config 'b' is not declared under 'configs'"),
        (", secrets: [{source: b}]", "secret 'b' is not declared under 'secrets'"),
        (", secrets: [{target: b}]", "has no 'source'"),
        (", secrets: [s, s]", "target '/run/secrets/s' is taken by 's'"),
        (", secrets: [{source: s, mode: x}]", "'x'"),
        (", networks: [back]", "network 'back' is not declared under 'networks'"),
        (", networks: {back: {aliases: [x]}}", "network 'back' is not declared under 'networks'"),
        (", networks: {default: {ipv4_address: x}}", "'x' is no IPv4 address"),
        (", networks: [default], network_mode: host", ""),
    ],
)
def test_what_a_service_cannot_name(use, said):
    found = errors(only, "configs: {a: {file: a}}\nsecrets: {s: {file: s}}\n", use) if said else []
    assert all(said in each.message for each in found)
    assert bool(found) == bool(said)


def test_networks():
    found = only(
        "networks:\n"
        "  front: \n"
        "  back:\n"
        "    driver: bridge\n"
        "    internal: true\n"
        "    enable_ipv6: true\n"
        "    driver_opts: {com.docker.network.bridge.name: br0, mtu: 9000}\n"
        "    ipam: {driver: default, config: [{subnet: 172.28.0.0/16, gateway: 172.28.0.1, "
        "aux_addresses: {h: 172.28.1.5}}]}\n"
        "  corp: {external: true, name: corp-net}\n",
        ", networks: {front: , back: {aliases: [api], ipv4_address: 172.28.0.9, priority: 10}}",
    )
    assert found.networks["front"] == Network(name="shop_front")
    assert found.networks["corp"] == Network(name="corp-net", external=True)
    back = found.networks["back"]
    assert (back.internal, back.enable_ipv6, back.driver_opts["mtu"]) == (True, True, "9000")
    assert back.subnets == (Subnet(subnet="172.28.0.0/16", gateway="172.28.0.1", aux_addresses={"h": "172.28.1.5"}),)
    assert found.services["web"].networks == {
        "front": Attachment(),
        "back": Attachment(aliases=("api",), ipv4_address="172.28.0.9", priority=10),
    }
    assert [each.place.line for each in found.unserved] == [4, 5, 11]


def test_a_subnet_that_is_none():
    assert "'172.28' is no subnet" in error("networks: {a: {ipam: {config: [{subnet: 172.28}]}}}\n").message


def test_what_is_printed_reads_the_same():
    found = only(
        "configs: {a: {content: 'price: $$5'}}\nsecrets: {s: {environment: S}}\n"
        "networks: {back: {internal: true, ipam: {config: [{subnet: 10.9.0.0/24}]}, x-note: 1}}\n",
        ", configs: [a], secrets: [{source: s, mode: 0400}], networks: {back: {aliases: [b]}}",
    )
    document = compose_document(found)
    from bennu.compose.render import yaml_text

    again = project(yaml_text(document))
    assert compose_document(again) == document
    assert again.configs == found.configs
    assert again.services["web"].secrets == found.services["web"].secrets
