"""``extra_hosts``: further lines of /etc/hosts, of replicas and of builds."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from bennu.compose.fields import Field

HOST_NAME: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_][A-Za-z0-9_-]{0,62})*")


def read_extra_hosts(field: Field | None) -> dict[str, tuple[str, ...]]:
    """``name: address``, ``name: [address...]``, or a list of ``name=address`` and ``name:address``."""
    found: dict[str, tuple[str, ...]] = {}
    pairs: list[tuple[str, str | None, Field]] = []
    if field is not None and field.is_mapping:
        for name, value in field.entries():
            pairs += [(name, item.text(), item) for item in value.items_or_one()]
    elif field is not None:
        for item in field.items():
            text = item.text() or ""
            name, _, address = text.partition("=" if "=" in text else ":")
            pairs.append((name, address, item))
    for name, given, place in pairs:
        address = (given or "").strip().removeprefix("[").removesuffix("]")
        if not HOST_NAME.fullmatch(name):
            place.fail(f"{name!r} cannot be a host name", 'write "NAME=ADDRESS"')
        elif address == "host-gateway" or _is_address(address):
            found[name] = (*found.get(name, ()), address)
        else:
            place.fail(f"{address!r} is neither an IP address nor host-gateway")
    return found


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
