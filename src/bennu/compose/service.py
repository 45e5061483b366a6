"""One service: its node to a ``Service``.

The reading of larger keys is in ``ports``, ``mounts``, ``environment``, ``healthcheck``, ``resources`` and
``privileges``. Everything is looked at within the service here; what needs the others is in ``consistency``.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from bennu.compose import schema, values
from bennu.compose.attaching import read_attachments, read_file_mounts
from bennu.compose.build import read_build
from bennu.compose.confining import check_security, read_confinement
from bennu.compose.environment import read_environment, read_labels
from bennu.compose.expectations import read_quiesce, read_validations
from bennu.compose.extension import XBennu
from bennu.compose.fields import Field
from bennu.compose.healthcheck import read_healthcheck, read_probe
from bennu.compose.hosts import HOST_NAME, read_extra_hosts
from bennu.compose.model import Condition, DependsOn, Service
from bennu.compose.mounts import Base, read_mounts
from bennu.compose.nodes import plain
from bennu.compose.ports import read_expose, read_ports
from bennu.compose.privileges import read_capabilities, read_ulimits
from bennu.compose.problems import did_you_mean
from bennu.compose.resources import read_deploy, read_restart
from bennu.compose.tolerances import read_canary, read_watch

_SIGNALS: Final = frozenset(name for name in signal.Signals.__members__ if "_" not in name)
_REAL_TIME: Final = re.compile(r"SIGRTM(IN\+|AX-)[0-9]{1,2}")
_CONDITIONS: Final = ("service_started", "service_healthy", "service_completed_successfully")
_PULL_POLICY: Final = re.compile(r"always|never|missing|if_not_present|build|daily|weekly|every_(\d+[wdhms])+")
_OBJECT_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a service is read in: host paths, variables, and the texts of the env files that count."""

    base: Base
    environ: Mapping[str, str]
    env_texts: Mapping[str, str | None]


def read_profiles(field: Field) -> tuple[str, ...]:
    """The profiles of a service."""
    profiles = field.get("profiles")
    for item in profiles.items() if profiles else ():
        text = item.text()
        if text is not None and not _OBJECT_NAME.fullmatch(text):
            item.fail(f"{text!r} cannot be the name of a profile")
    return profiles.strings() if profiles else ()


def read_service(name: str, field: Field, around: Surroundings) -> Service:
    """The service; what is wrong with it is reported, and the rest read."""
    schema.check(field, schema.SERVICE, "a service")
    extension = _x_bennu(field.get("x-bennu"), around.base)
    check_security(field.get("security_opt"))
    image, shm, grace = field.get("image"), field.get("shm_size"), field.get("stop_grace_period")
    return Service(
        name=name,
        image=image.filled() if image else None,
        build=read_build(field.get("build"), around.base, around.environ),
        pull_policy=_pull_policy(field.get("pull_policy")),
        command=_command(field.get("command")),
        entrypoint=_command(field.get("entrypoint")),
        environment=read_environment(field, around.base, around.environ, around.env_texts),
        labels=read_labels(field, around.base, around.environ, around.env_texts),
        ports=read_ports(field.get("ports")),
        expose=read_expose(field.get("expose")),
        mounts=read_mounts(field.get("volumes"), field.get("tmpfs"), around.base, executable=extension.exec),
        healthcheck=read_healthcheck(field.get("healthcheck")),
        depends_on=_depends_on(field.get("depends_on"), field.get("links")),
        deploy=read_deploy(field),
        restart=read_restart(field),
        user=field.filled_at("user"),
        working_dir=_working_dir(field.get("working_dir")),
        hostname=_named(field, "hostname", HOST_NAME),
        container_name=_named(field, "container_name", _OBJECT_NAME),
        read_only=field.boolean_at("read_only"),
        init=field.boolean_at("init"),
        stop_signal=_signal(field.get("stop_signal")),
        stop_grace_period_seconds=grace.read(values.duration_seconds) if grace else None,
        cap_add=read_capabilities(field.get("cap_add")),
        cap_drop=read_capabilities(field.get("cap_drop")),
        extra_hosts=read_extra_hosts(field.get("extra_hosts")),
        ulimits=read_ulimits(field.get("ulimits")),
        shm_size_bytes=shm.read(values.size_bytes) if shm else None,
        profiles=read_profiles(field),
        networks=read_attachments(field.get("networks")),
        configs=read_file_mounts(field.get("configs"), "config"),
        secrets=read_file_mounts(field.get("secrets"), "secret"),
        links=_links(field.get("links")),
        confinement=read_confinement(field),
        other=schema.stated(field, schema.SERVICE),
        x_bennu=extension,
        extensions=read_extensions(field),
    )


def read_extensions(field: Field) -> dict[str, Any]:
    """All ``x-`` keys but bennu's own, as they stand."""
    return {key: plain(value.node) for key, value in field.entries() if key.startswith("x-") and key != "x-bennu"}


def _x_bennu(field: Field | None, base: Base) -> XBennu:
    if field is None or not schema.check(field, schema.X_BENNU, "x-bennu of a service"):
        return XBennu()
    return XBennu(
        exec=bool(field.boolean_at("exec")),
        probe=read_probe(field.get("probe")),
        writes=field.boolean_at("writes"),
        validate=read_validations(field.get("validate"), base),
        canary=read_canary(field.get("canary")),
        watch=read_watch(field.get("watch")),
        quiesce=read_quiesce(field.get("quiesce")),
    )


def _pull_policy(field: Field | None) -> str | None:
    text = field.filled() if field else None
    if field is not None and text is not None and not _PULL_POLICY.fullmatch(text):
        field.fail(f"{text!r} is no policy", "write always, never, missing, build, daily, weekly or every_12h")
        return None
    return "missing" if text == "if_not_present" else text


def _named(field: Field, key: str, form: re.Pattern[str]) -> str | None:
    found = field.get(key)
    text = found.filled() if found else None
    if found is not None and text is not None and not form.fullmatch(text):
        found.fail(f"{text!r} cannot be a {key.replace('_', ' ')}")
        return None
    return text


def _command(field: Field | None) -> tuple[str, ...] | None:
    """A list of words, or a line that is split into words; an empty one means none at all."""
    if field is None:
        return None
    return field.strings() if field.is_list else field.read(values.words)


def _links(field: Field | None) -> dict[str, str]:
    """``SERVICE:NAME``; a service by its own name is there anyway."""
    pairs = (text.partition(":") for text in (field.strings() if field else ()))
    return {name: service for service, _, name in pairs if name and name != service}


def _depends_on(field: Field | None, links: Field | None) -> dict[str, DependsOn]:
    """What is said, and what is linked to, which has to be there first."""
    linked = {text.partition(":")[0]: DependsOn() for text in (links.strings() if links else ())}
    if field is None:
        return linked
    if not field.is_mapping:
        return {**linked, **{name: DependsOn() for name in field.strings()}}
    found = linked
    for name, value in field.entries():
        if value.is_null or not schema.check(value, schema.DEPENDENCY, "'depends_on'"):
            found[name] = DependsOn()
            continue
        condition = value.get("condition")
        chosen = condition.choice(_CONDITIONS, "condition") if condition else None
        found[name] = DependsOn(
            condition=cast("Condition", chosen or "service_started"),
            restart=bool(value.boolean_at("restart")),
            required=value.boolean_at("required") is not False,
        )
    return found


def _working_dir(field: Field | None) -> str | None:
    text = field.filled() if field else None
    if field is not None and text is not None and not text.startswith("/"):
        field.fail(f"{text!r} is not an absolute path")
    return text


def _signal(field: Field | None) -> str | None:
    """``SIGQUIT``, ``QUIT`` or a number."""
    text = field.filled() if field else None
    if field is None or text is None:
        return None
    name = text.upper() if text.upper().startswith("SIG") else f"SIG{text.upper()}"
    if text.isdigit() and 1 <= int(text) <= 64:
        return text
    if name in _SIGNALS or _REAL_TIME.fullmatch(name):
        return name
    field.fail(f"{text!r} is no signal", did_you_mean(name, _SIGNALS))
    return None
