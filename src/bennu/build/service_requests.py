"""The builds that a Compose file asks for: each ``build`` section as a request.

``prototype`` is what the command line says of all of them; where both say something of one thing, it wins, and where
there can be several (arguments, labels, hosts, agents), its own come on top. What cannot be is ``Invalid`` and names
the service.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import msgspec

from bennu.build.graph import Network, Surroundings
from bennu.build.origins import NamedOrigin, Origin, parse_named, parse_remote
from bennu.build.request import BuildRequest
from bennu.build.secrets import Grants, parse_agent
from bennu.build.surroundings import address, limit
from bennu.compose.model import Build
from bennu.errors import BennuError, Invalid
from bennu.oci.platform import parse_platform, platform_of_machine
from bennu.oci.reference import parse_name


def service_request(
    service: str, section: Build, names: Sequence[str], prototype: BuildRequest, environ: Mapping[str, str]
) -> BuildRequest:
    """The build of one section, for a service. ``environ`` is where agents are looked up."""
    try:
        return _request(section, names, prototype, environ)
    except BennuError as error:
        error.message = f"service {service!r}: {error.message}"
        raise


def _request(section: Build, names: Sequence[str], prototype: BuildRequest, environ: Mapping[str, str]) -> BuildRequest:
    host = platform_of_machine(os.uname().machine)
    context, dockerfile = _context(section)
    inline = None if section.dockerfile_inline is None else section.dockerfile_inline.encode()
    network = section.network if prototype.network == "default" and section.network else prototype.network
    return msgspec.structs.replace(
        prototype,
        context=context,
        contexts={**_named(section), **prototype.contexts},
        dockerfile=dockerfile if inline is None else None,
        text=inline,
        names=tuple(dict.fromkeys(parse_name(name) for name in (*names, *section.tags))) if names else (),
        build_args={**section.args, **prototype.build_args},
        labels={**section.labels, **prototype.labels},
        target=section.target,
        platforms=tuple(dict.fromkeys(parse_platform(each, host) for each in section.platforms)),
        use_cache=prototype.use_cache and not section.no_cache,
        pull=prototype.pull or section.pull,
        fresh_stages=(*section.no_cache_filter, *prototype.fresh_stages),
        network=cast("Network", network),
        around=_around(section, prototype.around),
        allowed=tuple(dict.fromkeys((*section.entitlements, *prototype.allowed))),
        grants=_grants(section, prototype.grants, environ),
    )


def _context(section: Build) -> tuple[Path | Origin, Path]:
    if not section.is_elsewhere:
        return Path(section.context), Path(section.dockerfile_path)
    remote = parse_remote(section.context)
    if remote is None:
        raise Invalid(f"context {section.context!r} is neither a directory nor a URL or repository")
    return remote, Path(section.dockerfile)


def _named(section: Build) -> dict[str, NamedOrigin]:
    return dict(parse_named(f"{name}={place}") for name, place in section.additional_contexts.items())


def _around(section: Build, above: Surroundings) -> Surroundings:
    hosts = tuple((name, address(name, each)) for name, several in section.extra_hosts.items() for each in several)
    given = {each.name for each in above.ulimits}
    limits = tuple(limit(name, each.soft, each.hard) for name, each in section.ulimits.items() if name not in given)
    shm = section.shm_size_bytes if above.shm_bytes is None else above.shm_bytes
    return Surroundings(hosts=(*hosts, *above.hosts), ulimits=(*limits, *above.ulimits), shm_bytes=shm)


def _grants(section: Build, above: Grants, environ: Mapping[str, str]) -> Grants:
    agents = [parse_agent(word, environ) for word in section.ssh]
    return msgspec.structs.replace(above, agents={**{each.id: each for each in agents}, **above.agents})
