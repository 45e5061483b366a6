"""``ports`` and ``expose``: short forms, long forms, ranges.

Source: the Compose Specification, 05-services.md, "ports" and "expose". A range is spelled out into single ports.
Refused: SCTP, and a range of host ports for one port of the replica, which would leave the choice to chance.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Literal, cast

from bennu.compose import schema, values
from bennu.compose.fields import Field
from bennu.compose.model import Exposed, Port
from bennu.compose.nodes import Mapping

Protocol = Literal["tcp", "udp"]
Mode = Literal["ingress", "host"]


def read_ports(field: Field | None) -> tuple[Port, ...]:
    """All published ports of a service, in the file's order; the same one twice is reported."""
    ports: dict[tuple[object, ...], Port] = {}
    for item in field.items() if field else ():
        for port in _long(item) if isinstance(item.node, Mapping) else _short(item):
            key = (port.host_ip, port.published, port.protocol, port.target if port.published is None else None)
            if key in ports and ports[key] != port:
                item.fail(f"host port {port.published}/{port.protocol} is published twice")
            ports[key] = port
    return tuple(ports.values())


def read_expose(field: Field | None) -> tuple[Exposed, ...]:
    """All exposed ports of a service."""
    exposed: list[Exposed] = []
    for item in field.items() if field else ():
        text = item.filled()
        if text is None:
            continue
        target, _, suffix = text.partition("/")
        protocol = _protocol(item, suffix or "tcp")
        ports = _range(item, target)
        if protocol and ports:
            exposed.extend(Exposed(target=port, protocol=protocol) for port in ports)
    return tuple(dict.fromkeys(exposed))


def _short(item: Field) -> Iterator[Port]:
    """``[[host_ip:][published]:]target[/protocol]``; an IPv6 address may stand in brackets."""
    text = item.filled()
    if text is None:
        return
    rest, _, suffix = text.partition("/")
    protocol = _protocol(item, suffix or "tcp")
    host, _, target = rest.rpartition(":")
    address, published = "", host
    if ":" in host:
        address, _, published = host.rpartition(":")
        if not address:
            item.fail(f"{text!r} has an empty host address", 'short form: "[[HOST_IP:]HOST_PORT:]PORT[/PROTOCOL]"')
            return
    host_ip = _address(item, address) if address else None
    targets = _range(item, target)
    sources = _range(item, published, zero=True) if published else None
    wrong = protocol is None or targets is None or (published and sources is None) or (address and host_ip is None)
    if wrong or targets is None or protocol is None:
        return
    yield from _pairs(item, Port(target=1, host_ip=host_ip, protocol=protocol), targets, sources)


def _pairs(item: Field, like: Port, targets: range, sources: range | None) -> Iterator[Port]:
    if sources is not None and len(sources) != len(targets):
        if len(targets) == 1:
            item.refuse("a range of host ports for one port is not supported", "name the one host port")
        else:
            item.fail(f"{len(sources)} host ports and {len(targets)} ports of the replica do not pair up")
        return
    for number, target in enumerate(targets):
        published = sources[number] if sources is not None else 0
        yield Port(
            target=target,
            published=published or None,
            host_ip=like.host_ip,
            protocol=like.protocol,
            app_protocol=like.app_protocol,
            name=like.name,
            mode=like.mode,
        )


def _long(item: Field) -> Iterator[Port]:
    schema.check(item, schema.PORT, "a port")
    given = {name: item.get(name) for name in schema.PORT}
    target_field = given["target"]
    if target_field is None:
        item.fail("has no 'target'")
        return
    target = target_field.integer()
    if target is not None and not 1 <= target <= 65535:
        target_field.fail(f"{target} is not a port: ports go from 1 to 65535")
        target = None
    protocol_field, mode_field, published_field = given["protocol"], given["mode"], given["published"]
    protocol = _protocol(protocol_field, protocol_field.text() or "") if protocol_field else "tcp"
    mode = mode_field.choice(("ingress", "host"), "mode of a port") if mode_field else "ingress"
    published_text = published_field.text() if published_field else ""
    sources = _range(published_field, published_text, zero=True) if published_field and published_text else None
    host_ip = given["host_ip"]
    address = _address(host_ip, host_ip.text() or "") if host_ip else None
    if target is None or protocol is None or mode is None or (published_text and sources is None):
        return
    like = Port(
        target=target,
        host_ip=address,
        protocol=protocol,
        app_protocol=_optional(given["app_protocol"]),
        name=_optional(given["name"]),
        mode=cast("Mode", mode),
    )
    yield from _pairs(published_field or item, like, range(target, target + 1), sources)


def _optional(field: Field | None) -> str | None:
    return field.filled() if field else None


def _protocol(field: Field, text: str) -> Protocol | None:
    lowered = text.lower()
    if lowered in ("tcp", "udp"):
        return cast("Protocol", lowered)
    if lowered == "sctp":
        field.refuse("SCTP is not supported")
    else:
        field.fail(f"{text!r} is no protocol", "one of tcp, udp")
    return None


def _address(field: Field, text: str) -> str | None:
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        field.fail(f"{text!r} is not an IP address")
        return None


def _range(field: Field, text: str, *, zero: bool = False) -> range | None:
    """One port or several. ``zero``: port 0 is allowed and stands for any."""
    try:
        first, last = values.ports(text)
    except ValueError as error:
        field.fail(str(error))
        return None
    if first == 0 and not (zero and last == 0):
        field.fail(f"{text!r} is not a port: ports go from 1 to 65535")
        return None
    return range(first, last + 1)
