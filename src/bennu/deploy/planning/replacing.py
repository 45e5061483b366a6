"""What is to be made again from scratch though nothing about it differs: whole services, single replicas. Pure.

``web`` gets a fresh set through the same proofs and the same switch as any other; ``web.2`` is burned and made again in
the set that it is in. A service that is replaced anyhow needs neither.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import msgspec

from bennu.compose.struct import Value
from bennu.deploy.planning.plan import Plan, Renewal
from bennu.engine.sets import Observation
from bennu.errors import Conflict, NotFound


class Replacing(Value, frozen=True, kw_only=True, omit_defaults=True):
    """``services`` get fresh sets; ``replicas`` (service, number) are made again in place."""

    services: tuple[str, ...] = ()
    replicas: tuple[tuple[str, int], ...] = ()


def parse(words: Iterable[str], services: Collection[str]) -> Replacing:
    """``web`` or ``web.2``, given the services that there are. ``NotFound`` for what is neither."""
    whole: list[str] = []
    single: list[tuple[str, int]] = []
    for word in words:
        service, _, number = word.rpartition(".")
        if word in services:
            whole.append(word)
        elif service in services and number.isdecimal():
            single.append((service, int(number)))
        else:
            known = ", ".join(sorted(services)) or "none"
            raise NotFound(
                f"{word!r} is neither a service nor a replica", f"the services are {known}; a replica is web.2"
            )
    # a whole set that is made again takes its replicas along
    return Replacing(
        services=tuple(dict.fromkeys(whole)),
        replicas=tuple(dict.fromkeys(one for one in single if one[0] not in whole)),
    )


def with_renewals(plan: Plan, replicas: Iterable[tuple[str, int]], observation: Observation) -> Plan:
    """The plan with these replicas made again at its end, those of sets that stay.

    ``NotFound`` for one that is not there, ``Conflict`` for one that is held in its place.
    """
    renew: list[Renewal] = []
    for service, index in replicas:
        found = observation.active_set(service)
        if found is None:
            raise NotFound(
                f"replica '{service}.{index}' does not run: no set of {service!r} is active", "`bennu status`"
            )
        if not 1 <= index <= found.spec.replicas:
            last = f"{service}.{found.spec.replicas}"
            raise NotFound(f"replica '{service}.{index}' does not exist", f"its set has {service}.1 to {last}")
        if any(hold.in_set and hold.name == f"{service}.{index}" for hold in observation.holds):
            raise Conflict(f"replica '{service}.{index}' is held", "it is made again when its hold ends")
        change = plan.change(service)
        if change is not None and change.kind in {"keep", "repair"}:
            renew.append(Renewal(service=service, set=found.id, index=index))
    return msgspec.structs.replace(plan, renew=tuple(sorted(renew, key=lambda one: (one.service, one.index))))
