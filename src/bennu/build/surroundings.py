"""What a whole build says of its RUNs: the network, lines of /etc/hosts, limits; and what none may do unasked. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import msgspec

from bennu.build.graph import Graph, Network, Run, Surroundings, Ulimit, Vertex
from bennu.dockerfile import spelling
from bennu.errors import Invalid

ALLOWED: Final = ("network.host", "security.insecure")
"""What ``--allow`` may name, by BuildKit's names. The first one is allowed anyhow."""


HOST_GATEWAY: Final = "host-gateway"
"""Stands for the address at which a RUN reaches this host."""
_LIMITS: Final = (
    *("as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio"),
    *("rttime", "sigpending", "stack"),
)


def limit(name: str, soft: int, hard: int) -> Ulimit:
    """A resource limit. ``Invalid`` for one that there is not."""
    if name not in _LIMITS:
        hint = spelling.hint(name, _LIMITS, f"they are {', '.join(_LIMITS)}")
        raise Invalid(f"--ulimit {name!r} is no resource limit", hint)
    if hard != -1 and (soft == -1 or soft > hard):
        raise Invalid(f"--ulimit {name}={soft}:{hard}: the soft limit is above the hard one", "swap them")
    return Ulimit(name, soft, hard)


def address(name: str, text: str) -> str:
    """The address for a line of /etc/hosts. ``Invalid`` for what is neither one nor ``host-gateway``."""
    import ipaddress

    if text == HOST_GATEWAY:
        return text
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        message = f"--add-host {name!r}: {text!r} is no IP address"
        raise Invalid(message, "write NAME:ADDRESS, or NAME:host-gateway for this host") from None


def surround(steps: Graph, network: Network, around: Surroundings, allowed: Collection[str]) -> None:
    """Give every RUN the build's surroundings, and its network to those that ask for none in particular.

    ``Invalid`` at a RUN that wants every privilege where ``security.insecure`` is not ``allowed``.
    """
    for index, vertex in enumerate(steps.vertices):
        if isinstance(vertex.step, Run):
            if vertex.step.security == "insecure" and "security.insecure" not in allowed:
                raise _not_allowed(vertex)
            chosen = network if vertex.step.network == "default" else vertex.step.network
            step = msgspec.structs.replace(vertex.step, network=chosen, around=around)
            steps.vertices[index] = msgspec.structs.replace(vertex, step=step)


def _not_allowed(vertex: Vertex) -> Invalid:
    message = "RUN: --security=insecure gives a process every privilege on this host, which this build does not allow"
    hint = "build with --allow security.insecure if you trust this Dockerfile and its images"
    if vertex.span is None:
        return Invalid(message, hint)
    return vertex.span.narrow("--security").invalid(message, hint)
