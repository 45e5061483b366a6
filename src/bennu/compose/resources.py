"""``deploy`` and the keys of a service that say the same in another place: ``scale``, ``mem_limit``, ``restart``, ....

Source: the Compose Specification, deploy.md and 05-services.md. Where both places speak they must agree. An amount of
0 is no limit, and so is -1 for pids, as in Docker.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, TypeVar, cast

from bennu.compose import schema, values
from bennu.compose.fields import Field
from bennu.compose.model import Deploy, Resources, Restart, RestartCondition

T = TypeVar("T", int, float)

_RESTART: Final = re.compile(r"(no|always|unless-stopped|on-failure)(?::([0-9]+))?")
_POLICY_CONDITIONS: Final[dict[str, RestartCondition]] = {"none": "no", "on-failure": "on-failure", "any": "always"}


def read_deploy(service: Field) -> Deploy:
    """Replicas, limits, reservations and deploy labels of a service."""
    deploy = service.get("deploy")
    limits = reservations = replicas = None
    labels: dict[str, str] = {}
    if deploy is not None and schema.check(deploy, schema.DEPLOY, "'deploy'"):
        mode, resources, labels_field = deploy.get("mode"), deploy.get("resources"), deploy.get("labels")
        if mode is not None and mode.choice(("replicated", "global"), "mode") == "global":
            message = f"{mode.path}: mode 'global' is not supported: the embedded engine has one host"
            mode.problems.stated(message, mode.key_place)
        replicas = deploy.get("replicas")
        if resources is not None and schema.check(resources, schema.RESOURCES, "'resources'"):
            limits = _checked(resources.get("limits"), schema.LIMITS, "'limits'")
            reservations = _checked(resources.get("reservations"), schema.RESERVATIONS, "'reservations'")
        labels = {name: value or "" for name, value, _ in labels_field.pairs()} if labels_field else {}
    count = _one_of(service.get("scale"), replicas, lambda field: field.integer(0))
    return Deploy(
        replicas=1 if count is None else count,
        limits=Resources(
            cpus=_one_of(service.get("cpus"), _part(limits, "cpus"), _amount) or None,
            memory_bytes=_one_of(service.get("mem_limit"), _part(limits, "memory"), _size) or None,
            pids=_pids(_one_of(service.get("pids_limit"), _part(limits, "pids"), lambda field: field.integer(-1))),
        ),
        reservations=Resources(
            cpus=_one_of(None, _part(reservations, "cpus"), _amount) or None,
            memory_bytes=_one_of(None, _part(reservations, "memory"), _size) or None,
        ),
        labels=labels,
    )


def read_restart(service: Field) -> Restart | None:
    """``deploy.restart_policy`` or ``restart``; the former wins, as in the specification."""
    deploy = service.get("deploy")
    policy = deploy.get("restart_policy") if deploy else None
    short = service.get("restart")
    from_short = _short_restart(short) if short else None
    if policy is None or not schema.check(policy, schema.RESTART_POLICY, "'restart_policy'"):
        return from_short
    condition, attempts = policy.get("condition"), policy.get("max_attempts")
    delay, window = policy.get("delay"), policy.get("window")
    chosen = condition.choice(_POLICY_CONDITIONS, "condition of a restart") if condition else "any"
    return Restart(
        condition=_POLICY_CONDITIONS[chosen or "any"],
        max_attempts=attempts.integer(0) if attempts else None,
        delay_seconds=delay.read(values.duration_seconds) if delay else None,
        window_seconds=window.read(values.duration_seconds) if window else None,
    )


def _short_restart(field: Field) -> Restart | None:
    # A bare no is a string in YAML 1.2 and was false in 1.1; both spellings mean the same here.
    text = "no" if field.text() == "false" else field.text()
    match = _RESTART.fullmatch(text or "")
    if match is None or (match[2] and match[1] != "on-failure"):
        field.fail(f"{text!r} is no restart policy", "one of no, always, unless-stopped, on-failure[:TIMES]")
        return None
    attempts = int(match[2]) if match[2] else None
    return Restart(condition=cast("RestartCondition", match[1]), max_attempts=attempts)


def _checked(field: Field | None, section: schema.Section, what: str) -> Field | None:
    return field if field is not None and schema.check(field, section, what) else None


def _part(field: Field | None, key: str) -> Field | None:
    return field.get(key) if field else None


def _one_of(first: Field | None, second: Field | None, read: Callable[[Field], T | None]) -> T | None:
    """The value of the one that is there; of both, reported where they differ."""
    one = read(first) if first else None
    two = read(second) if second else None
    if first is not None and second is not None and None not in (one, two) and one != two:
        second.fail(f"says {second.text()}, and {first.path!r} says {first.text()}", "leave one of them out")
    return one if two is None else two


def _amount(field: Field) -> float | None:
    value = field.read(values.number)
    if value is not None and value < 0:
        field.fail(f"{field.text()} is less than 0")
        return None
    return value


def _size(field: Field) -> int | None:
    return field.read(values.size_bytes)


def _pids(value: int | None) -> int | None:
    return None if value in (0, -1) else value
