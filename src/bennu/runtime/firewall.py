"""The nftables table of a root's networks, as text: a pure function of the networks there are.

What it grants: replicas of one network reach each other; every replica reaches the outside, masqueraded. What it
refuses: packets between two networks, packets from outside straight to a replica, and packets from a replica to the
host's 127.0.0.0/8 (bridges have ``route_localnet``, so that a UDP port published on 127.0.0.1 works). What the switch
has translated to a replica (``ct status dnat``) passes.

A firewall of the host's own that drops forwarded packets still drops them: in nftables an accept ends one table's
chain only.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network

from bennu.host.nftables import table_header


def table_name(key: str) -> str:
    """The name of a root's table."""
    return f"bennu_{key}"


def ruleset(key: str, networks: Sequence[tuple[str, IPv4Network]]) -> str:
    """The script that makes the table as it should be for these (bridge, subnet) pairs; no table where there are none.

    The same networks give the same text.
    """
    name = table_name(key)
    if not networks:
        return table_header(name)
    bridges = ", ".join(f'"{bridge}"' for bridge, _ in sorted(networks))
    pairs = ", ".join(f'"{bridge}" . "{bridge}"' for bridge, _ in sorted(networks))
    subnets = ", ".join(sorted(str(subnet) for _, subnet in networks))
    return (
        table_header(name)
        + f"""table ip {name} {{
    set bridges {{ type ifname; elements = {{ {bridges} }}; }}
    set within {{ type ifname . ifname; elements = {{ {pairs} }}; }}
    set subnets {{ type ipv4_addr; flags interval; elements = {{ {subnets} }}; }}
    chain forward {{
        type filter hook forward priority filter; policy accept;
        ct state established,related accept
        iifname . oifname @within accept
        oifname @bridges ct status dnat accept
        oifname @bridges drop
        iifname @bridges accept
    }}
    chain input {{
        type filter hook input priority filter; policy accept;
        iifname @bridges ip daddr 127.0.0.0/8 ct state != {{ established, related }} drop
    }}
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr @subnets oifname != @bridges masquerade
        ip saddr @subnets ip daddr @subnets ct status dnat masquerade
        ip saddr 127.0.0.0/8 oifname @bridges masquerade
    }}
}}
"""
    )
