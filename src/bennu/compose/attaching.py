"""Networks, configs and secrets: their nodes to values, at the top level and in a service.

Source: the Compose Specification, 06-networks.md, 08-configs.md, 09-secrets.md and 05-services.md.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from bennu.compose import schema, values
from bennu.compose.attachments import Attachment, FileMount, FileSource, Network, Subnet
from bennu.compose.fields import Field
from bennu.compose.model import DEFAULT_NETWORK
from bennu.compose.mounts import Base
from bennu.compose.nodes import plain

SECRETS_DIRECTORY: Final = "/run/secrets"
_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_NO_NETWORKS: Final = "is not supported by this version: every service of a project is on its default network"
_SOURCES: Final = ("file", "environment", "content")


def read_networks(field: Field | None, project: str) -> dict[str, Network]:
    """The networks of a file, the default one among them whether it is declared or not."""
    found: dict[str, Network] = {}
    for key, value in field.entries() if field is not None and field.expect_mapping() else ():
        if not _NAME.fullmatch(key):
            value.problems.add(f"{key!r} cannot be the name of a network", value.key_place)
            continue
        if key != DEFAULT_NETWORK:
            value.problems.stated(f"{value.path}: {_NO_NETWORKS}", value.key_place)
        if value.is_null:
            found[key] = Network(name=f"{project}_{key}")
        elif schema.check(value, schema.NETWORK, "a network"):
            found[key] = _network(key, value, project)
    found.setdefault(DEFAULT_NETWORK, Network(name=f"{project}_{DEFAULT_NETWORK}"))
    return found


def _network(key: str, field: Field, project: str) -> Network:
    name, external = _named(field)
    driver, ipam = field.get("driver"), field.get("ipam")
    subnets: tuple[Subnet, ...] = ()
    if ipam is not None and schema.check(ipam, schema.IPAM, "'ipam'"):
        config = ipam.get("config")
        subnets = tuple(_subnet(item) for item in config.items()) if config else ()
    network = Network(
        name=name or (key if external else f"{project}_{key}"),
        driver=driver.filled() if driver else None,
        driver_opts=field.texts_at("driver_opts"),
        external=external,
        internal=field.boolean_at("internal") or False,
        attachable=field.boolean_at("attachable") or False,
        enable_ipv4=field.boolean_at("enable_ipv4"),
        enable_ipv6=field.boolean_at("enable_ipv6"),
        labels=field.texts_at("labels"),
        subnets=subnets,
        ipam_driver=ipam.filled_at("driver") if ipam else None,
        ipam_options=ipam.texts_at("options") if ipam else {},
        extensions=_extensions(field),
    )
    if key == DEFAULT_NETWORK:
        for part in ("driver_opts", "external", "internal", "enable_ipv4", "enable_ipv6", "ipam"):
            given = field.get(part)
            if given is not None:
                given.problems.stated(f"{given.path}: {schema.NOT_BUILT}", given.key_place)
        if network.driver not in (None, "bridge", "default"):
            assert driver is not None
            driver.problems.stated(f"{driver.path}: driver {network.driver!r} is not supported", driver.key_place)
    return network


def _subnet(field: Field) -> Subnet:
    if not schema.check(field, schema.IPAM_CONFIG, "a subnet of a network"):
        return Subnet()
    subnet = field.get("subnet")
    text = subnet.filled() if subnet else None
    if subnet is not None and text is not None:
        try:
            ipaddress.ip_network(text, strict=False)
        except ValueError:
            subnet.fail(f"{text!r} is no subnet", "write ADDRESS/LENGTH, such as 172.28.0.0/16")
    return Subnet(
        subnet=text,
        ip_range=field.filled_at("ip_range"),
        gateway=field.filled_at("gateway"),
        aux_addresses=field.texts_at("aux_addresses"),
    )


def read_attachments(field: Field | None) -> dict[str, Attachment]:
    """The networks of a service by key; nothing where it is on the default one alone and nothing is said of that."""
    if field is None:
        return {}
    pairs = list(field.entries()) if field.is_mapping else [(item.text() or "", item) for item in field.items()]
    found: dict[str, Attachment] = {}
    for name, value in pairs:
        found[name] = Attachment()
        if (
            field.is_mapping
            and not value.is_null
            and schema.check(value, schema.SERVICE_NETWORK, "a service's network")
        ):
            found[name] = _attachment(value)
        if name == DEFAULT_NETWORK and found[name] != Attachment():
            value.problems.stated(f"{value.path}: {schema.NOT_BUILT}", value.key_place)
    return {} if found == {DEFAULT_NETWORK: Attachment()} else found


def _attachment(field: Field) -> Attachment:
    aliases, local = field.get("aliases"), field.get("link_local_ips")
    priority, gateway = field.get("priority"), field.get("gw_priority")
    return Attachment(
        aliases=aliases.strings() if aliases else (),
        ipv4_address=_address(field.get("ipv4_address"), 4),
        ipv6_address=_address(field.get("ipv6_address"), 6),
        link_local_ips=local.strings() if local else (),
        mac_address=field.filled_at("mac_address"),
        interface_name=field.filled_at("interface_name"),
        driver_opts=field.texts_at("driver_opts"),
        priority=priority.integer() if priority else None,
        gw_priority=gateway.integer() if gateway else None,
    )


def _address(field: Field | None, version: int) -> str | None:
    text = field.filled() if field else None
    if field is not None and text is not None:
        try:
            right = ipaddress.ip_address(text).version == version
        except ValueError:
            right = False
        if not right:
            field.fail(f"{text!r} is no IPv{version} address")
            return None
    return text


def read_sources(field: Field | None, project: str, base: Base, what: str) -> dict[str, FileSource]:
    """The configs or secrets of a file; ``what`` is ``config`` or ``secret``."""
    found: dict[str, FileSource] = {}
    for key, value in field.entries() if field is not None and field.expect_mapping() else ():
        if not _NAME.fullmatch(key):
            value.problems.add(f"{key!r} cannot be the name of a {what}", value.key_place)
        elif value.is_null:
            value.fail(f"says nothing of its content; a {what} has one of {', '.join(_SOURCES)}, or is external")
        elif schema.check(value, schema.FILE_SOURCE, f"a {what}"):
            found[key] = _source(key, value, project, base, what)
    return found


def _source(key: str, field: Field, project: str, base: Base, what: str) -> FileSource:
    name, external = _named(field)
    given = [source for source in _SOURCES if field.get(source) is not None]
    if what == "secret" and "content" in given:
        field.fail("has its content in the file, where everybody reads it", "write file: or environment:")
    elif external and given:
        field.fail(f"is external, so it has no {given[0]!r} of its own")
    elif not external and len(given) != 1 and not (field.get("driver") or field.get("template_driver")):
        both = " and ".join(given) or f"none of {', '.join(_SOURCES)}"
        field.fail(f"has {both}; a {what} has one of them, or is external")
    file, content = field.get("file"), field.get("content")
    path = file.filled() if file else None
    return FileSource(
        name=name or (key if external else f"{project}_{key}"),
        file=base.path(path) if path else None,
        content=content.text() if content else None,
        environment=field.filled_at("environment"),
        external=external,
        labels=field.texts_at("labels"),
        template_driver=field.filled_at("template_driver"),
        other=schema.stated(field, schema.FILE_SOURCE),
        extensions=_extensions(field),
    )


def read_file_mounts(field: Field | None, what: str) -> tuple[FileMount, ...]:
    """The configs or secrets of a service."""
    found: dict[str, FileMount] = {}
    for item in field.items() if field else ():
        mount = _short_mount(item, what) if not item.is_mapping else _long_mount(item, what)
        if mount is not None and mount.target in found:
            item.fail(f"target {mount.target!r} is taken by {found[mount.target].source!r}")
        elif mount is not None:
            found[mount.target] = mount
    return tuple(found.values())


def _short_mount(item: Field, what: str) -> FileMount | None:
    name = item.filled()
    return None if name is None else FileMount(source=name, target=_target(name, None, what))


def _long_mount(item: Field, what: str) -> FileMount | None:
    if not schema.check(item, schema.FILE_MOUNT, f"a service's {what}"):
        return None
    source = item.filled_at("source")
    if source is None:
        item.fail("has no 'source'", f"name a {what} of the file")
        return None
    uid, gid, mode = item.get("uid"), item.get("gid"), item.get("mode")
    given = mode.read(values.file_mode) if mode else None
    return FileMount(
        source=source,
        target=_target(source, item.filled_at("target"), what),
        uid=uid.integer(0) if uid else None,
        gid=gid.integer(0) if gid else None,
        mode=0o444 if given is None else given,
    )


def _target(source: str, target: str | None, what: str) -> str:
    wanted = target or source
    if wanted.startswith("/"):
        return wanted
    return f"{SECRETS_DIRECTORY}/{wanted}" if what == "secret" else f"/{wanted}"


def _named(field: Field) -> tuple[str | None, bool]:
    """The given name, and whether something is external: ``external: {name: ...}`` is the old form of both."""
    name, external = field.filled_at("name"), field.get("external")
    if external is None:
        return name, False
    if external.is_mapping:
        return external.filled_at("name") or name, True
    return name, bool(external.boolean())


def _extensions(field: Field) -> dict[str, object]:
    return {key: plain(value.node) for key, value in field.entries() if key.startswith("x-")}
