"""The ``build`` section of a service: a context alone, or each key of the Compose Specification that can be honoured.

What is looked at here is the form of each value; whether a path is there is for the build to say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from bennu.compose import schema, values
from bennu.compose.fields import Field
from bennu.compose.hosts import read_extra_hosts
from bennu.compose.model import Build
from bennu.compose.mounts import Base
from bennu.compose.privileges import read_ulimits

NETWORKS: Final = ("default", "none", "host")
ENTITLEMENTS: Final = ("network.host", "security.insecure")
_ELSEWHERE: Final = re.compile(r"[a-z][a-z0-9+-]*://|[A-Za-z0-9_-]+@[A-Za-z0-9.-]+:|github\.com/")


def read_build(field: Field | None, base: Base, environ: Mapping[str, str]) -> Build | None:
    """How the image is built; None where nothing is said."""
    if field is None:
        return None
    if not field.is_mapping:
        context = field.filled()
        return None if context is None else Build(context=_place(context, base))
    schema.check(field, schema.BUILD, "'build'")
    written = field.filled_at("context") or "."
    shm, hosts = field.get("shm_size"), field.get("extra_hosts")
    inline = _text(field, "dockerfile_inline")
    if inline is not None and (named := field.get("dockerfile")) is not None:
        named.fail("stands beside 'dockerfile_inline'", "the Dockerfile is one of the two")
    return Build(
        context=_place(written, base),
        dockerfile=field.filled_at("dockerfile") or "Dockerfile",
        dockerfile_inline=inline,
        args=_args(field.get("args"), environ),
        target=field.filled_at("target"),
        additional_contexts=_contexts(field.get("additional_contexts"), base),
        entitlements=_entitlements(field),
        extra_hosts=read_extra_hosts(hosts),
        labels=field.texts_at("labels"),
        network=_network(field.get("network")),
        no_cache=bool(field.boolean_at("no_cache")),
        pull=bool(field.boolean_at("pull")),
        no_cache_filter=_strings(field.get("no_cache_filter")),
        platforms=_strings(field.get("platforms")),
        ssh=_agents(field.get("ssh")),
        shm_size_bytes=shm.read(values.size_bytes) if shm else None,
        tags=_strings(field.get("tags")),
        ulimits=read_ulimits(field.get("ulimits")),
    )


def _place(text: str, base: Base) -> str:
    """An absolute path, or what is elsewhere as it stands."""
    return text if _ELSEWHERE.match(text) else base.path(text)


def _text(field: Field, key: str) -> str | None:
    found = field.get(key)
    return found.text() if found else None


def _strings(field: Field | None) -> tuple[str, ...]:
    texts = (item.filled() for item in field.items_or_one()) if field else ()
    return tuple(text for text in texts if text is not None)


def _args(field: Field | None, environ: Mapping[str, str]) -> dict[str, str]:
    """Arguments that have a value: a name alone has that of the environment."""
    found: dict[str, str] = {}
    for name, value, _ in field.pairs() if field else ():
        resolved = environ.get(name) if value is None else value
        if resolved is not None:
            found[name] = resolved
    return found


def _contexts(field: Field | None, base: Base) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value, place in field.pairs() if field else ():
        if not value:
            place.fail(f"context {name!r} has no place", "write NAME=PATH, or NAME=docker-image://IMAGE")
        elif value.startswith("service:"):
            message = "the image of another service is not supported as a context"
            place.refuse(f"{message}; give that service an image name and write docker-image://NAME")
        else:
            found[name] = _place(value, base)
    return found


def _entitlements(field: Field) -> tuple[str, ...]:
    listed = field.get("entitlements")
    found: list[str] = []
    for item in listed.items() if listed else ():
        name = item.choice(ENTITLEMENTS, "entitlement")
        if name is not None:
            found.append(name)
    if field.boolean_at("privileged"):
        found.append("security.insecure")
    return tuple(dict.fromkeys(found))


def _network(field: Field | None) -> str | None:
    text = field.filled() if field else None
    if field is None or text is None or text in NETWORKS:
        return text
    field.refuse(f"network {text!r} is not supported for a build: it is one of {', '.join(NETWORKS)}")
    return None


def _agents(field: Field | None) -> tuple[str, ...]:
    """As ``--ssh`` has them: ``default``, ``ID=PATH``; in a mapping, ``default`` without a path too."""
    if field is None or not (field.is_mapping or field.is_list):
        return _strings(field)
    return tuple(name if not value else f"{name}={value}" for name, value, _ in field.pairs())
