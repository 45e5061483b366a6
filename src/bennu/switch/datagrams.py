"""UDP ports: an nftables table for each project that sends datagrams straight to the active set's replicas.

HAProxy 2.6 carries no UDP, so the kernel does: a flow's first packet is translated to one of the replicas at random,
and connection tracking keeps the flow there; the client's address stays. A switch replaces the table and forgets the
flows (``host.nftables.forget_datagrams``), so that the next packet of each goes to the new set. Rendering is pure.
"""

from __future__ import annotations

from collections.abc import Iterator

from bennu.host.nftables import table_header
from bennu.switch.model import ANY, Frontend, SwitchState


def targets(state: SwitchState) -> dict[Frontend, tuple[tuple[str, int], ...]]:
    """Where the datagrams of each UDP frontend go: the ready replicas of the active set, as (address, port)."""
    found = {}
    for frontend in state.frontends:
        active = state.active_set(frontend.service)
        if frontend.protocol == "udp" and active is not None:
            found[frontend] = tuple((one.address, one.port_of(frontend)) for one in active.servers if one.ready)
    return found


def ruleset(table: str, state: SwitchState) -> str:
    """The script that makes the table as the state says; no table where there is nothing to translate."""
    rules = [rule for frontend, replicas in targets(state).items() for rule in _rules(frontend, replicas)]
    if not rules:
        return table_header(table)
    body = "\n".join(f"        {rule}" for rule in rules)
    # -100 is dstnat; nft 1.0.6 knows that word in prerouting only
    chains = "".join(
        f"    chain {name} {{\n        type nat hook {name} priority -100; policy accept;\n{body}\n    }}\n"
        for name in ("prerouting", "output")  # packets from elsewhere, and those of the host's own programs
    )
    return f"{table_header(table)}table ip {table} {{\n{chains}}}\n"


def _rules(frontend: Frontend, replicas: tuple[tuple[str, int], ...]) -> Iterator[str]:
    if not replicas:
        return
    choices = ", ".join(f"{number} : {address} . {port}" for number, (address, port) in enumerate(replicas))
    for bind in frontend.binds:
        place = "fib daddr type local" if bind.address == ANY else f"ip daddr {bind.address}"
        pick = f"numgen random mod {len(replicas)} map {{ {choices} }}"
        yield f"{place} udp dport {bind.port} dnat ip addr . port to {pick}"
