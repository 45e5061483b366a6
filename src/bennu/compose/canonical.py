"""Canonical JSON of the model, and the digests that are made of it.

Two services have the same configuration exactly when ``service_digest`` says so. What does not reach the inside of a
running replica stays out: the number of replicas, the order of start, profiles, where the image is built, how a new set
is proven, ``x-`` keys of others, and every path of the checkout except the sources of bind mounts, which a replica
really sees. The encoding sorts keys and leaves defaults out, so that a field which is added to the model later changes
no digest of a file that does not use it.
"""

from __future__ import annotations

from functools import cache

import msgspec

from bennu.compose.model import Deploy, Port, Project, Service
from bennu.compose.struct import Value
from bennu.digest import Digest, digest_of


def canonical_json(value: Value) -> bytes:
    """The one encoding of a value: keys sorted, defaults left out, no white space."""
    return msgspec.json.encode(plain(value), order="sorted")


def plain(value: object) -> object:
    """A value of the model as dictionaries and lists, without the fields that have their default.

    msgspec's own ``omit_defaults`` compares most defaults by identity, which would let two equal values differ.
    """
    if isinstance(value, Value):
        pairs = ((name, getattr(value, name), default) for name, default in _defaults(type(value)))
        return {name: plain(given) for name, given, default in pairs if given != default}
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [plain(inner) for inner in value]
    return value


@cache
def _defaults(kind: type[Value]) -> tuple[tuple[str, object], ...]:
    """The fields of a class with their defaults. Kept: msgspec evaluates every annotation for each such question."""
    fields = msgspec.structs.fields(kind)
    return tuple(
        (one.name, one.default if one.default_factory is msgspec.NODEFAULT else one.default_factory()) for one in fields
    )


def service_digest(service: Service) -> Digest:
    """The digest of what makes a replica of this service what it is, its image apart (that has a digest of its own)."""
    return digest_of(canonical_json(replica_configuration(service)))


def replica_configuration(service: Service) -> Service:
    """The service with everything removed that a change of needs no new replica."""
    deploy = Deploy(limits=service.deploy.limits, reservations=service.deploy.reservations)
    return msgspec.structs.replace(
        service,
        image=None,
        build=None,
        pull_policy=None,
        deploy=deploy,
        depends_on={},
        profiles=(),
        extensions={},
        x_bennu=service.x_bennu.without_proof(),
        ports=tuple(sorted(service.ports, key=_port_key)),
    )


def project_json(project: Project) -> bytes:
    """The project in canonical form, without what only people and error messages need."""
    return canonical_json(
        msgspec.structs.replace(
            project, directory="", files=(), inactive={}, notices=(), unserved=(), places={}, extensions={}
        )
    )


def _port_key(port: Port) -> tuple[int, str, int, str]:
    return (port.target, port.protocol, port.published or 0, port.host_ip or "")
