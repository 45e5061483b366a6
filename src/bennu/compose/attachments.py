"""What a project declares beside its services, and how a service takes part in it: networks, configs, secrets. Values.

Pure. ``attaching`` reads them. A config or secret is known here by where its content comes from, never by the content:
that is looked up when a release is made.
"""

from __future__ import annotations

from typing import Any

from bennu.compose.struct import Value


class Subnet(Value, frozen=True, kw_only=True, omit_defaults=True):
    """One range of a network's addresses, as written."""

    subnet: str | None = None
    ip_range: str | None = None
    gateway: str | None = None
    aux_addresses: dict[str, str] = {}


class Network(Value, frozen=True, kw_only=True, omit_defaults=True):
    """A network. ``name`` is its name on the host: the file's, or the project's and the key."""

    name: str
    driver: str | None = None
    driver_opts: dict[str, str] = {}
    external: bool = False
    internal: bool = False
    attachable: bool = False
    enable_ipv4: bool | None = None
    enable_ipv6: bool | None = None
    labels: dict[str, str] = {}
    subnets: tuple[Subnet, ...] = ()
    ipam_driver: str | None = None
    ipam_options: dict[str, str] = {}
    extensions: dict[str, Any] = {}


class Attachment(Value, frozen=True, kw_only=True, omit_defaults=True):
    """How a service is on a network."""

    aliases: tuple[str, ...] = ()
    ipv4_address: str | None = None
    ipv6_address: str | None = None
    link_local_ips: tuple[str, ...] = ()
    mac_address: str | None = None
    interface_name: str | None = None
    driver_opts: dict[str, str] = {}
    priority: int | None = None
    gw_priority: int | None = None


class FileSource(Value, frozen=True, kw_only=True, omit_defaults=True):
    """A config or a secret: where its content comes from. One of ``file`` (an absolute path), ``content`` (of a config)
    and ``environment`` (the name of a variable) is set, or it is external.
    """

    name: str
    file: str | None = None
    content: str | None = None
    environment: str | None = None
    external: bool = False
    labels: dict[str, str] = {}
    template_driver: str | None = None
    other: dict[str, Any] = {}
    """Stated keys, as they stand."""
    extensions: dict[str, Any] = {}


class FileMount(Value, frozen=True, kw_only=True, omit_defaults=True):
    """A config or secret in a replica: ``source`` is its key, ``target`` an absolute path, ``mode`` permission bits."""

    source: str
    target: str
    uid: int | None = None
    gid: int | None = None
    mode: int = 0o444
