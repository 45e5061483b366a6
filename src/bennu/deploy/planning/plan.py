"""A plan: what has to change so that a release is what runs, bound to the revision and the observation it was made
from.

Pure. ``make`` compares; ``rollout`` puts the changes in order; ``render`` (module ``plan_text``) shows them. A change
is of a service, never of a replica: sets are replaced whole. Two services cannot share a set, and a service whose set
is already active is kept as it is.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

import msgspec

from bennu.compose.model import Service, Volume
from bennu.compose.struct import Value
from bennu.deploy.data import Data, uses
from bennu.deploy.planning.configuration import contents, differences
from bennu.deploy.policy import Policy
from bennu.deploy.release import Release
from bennu.digest import Digest
from bennu.engine.sets import Facts, Observation, SetId, SetObservation, SetSpec, generation_of

Kind = Literal["create", "replace", "remove", "keep", "repair"]
Order = Literal["start-first", "stop-first"]


class Change(Value, frozen=True, kw_only=True, omit_defaults=True):
    """What happens to one service.

    ``repair``: the active set has lost replicas, or none of it runs: it is completed and started. ``old``: the set
    that is active now. ``new``: the set that will be; None for ``remove``. ``returns``: the new set is there already,
    kept from an earlier revision. ``reasons``: what differs, one line each, for people.
    """

    service: str
    kind: Kind
    order: Order = "start-first"
    old: SetSpec | None = None
    new: SetSpec | None = None
    returns: bool = False
    reasons: tuple[str, ...] = ()


class Renewal(Value, frozen=True, kw_only=True):
    """One replica that is burned and made again from the image, in the set that it is in."""

    service: str
    set: SetId
    index: int

    @property
    def name(self) -> str:
        """``web.2``."""
        return f"{self.service}.{self.index}"


class Plan(Value, frozen=True, kw_only=True, omit_defaults=True):
    """Ordered changes. ``revision`` and ``stamp`` say what it was made from: it is void when either has moved.

    ``waves``: names of services in dependency order. ``prune``: kept sets that nothing will come back to.
    ``renew``: replicas that are made again once all else is done. ``scope``: which services it is about, in words,
    where it is not about all. ``held``: replicas that somebody holds, which nothing of this touches.
    """

    project: str
    release: Digest
    revision: int
    stamp: Digest
    changes: tuple[Change, ...]
    waves: tuple[tuple[str, ...], ...]
    services: dict[str, Service]
    volumes: dict[str, Volume] = {}
    prune: tuple[SetId, ...] = ()
    renew: tuple[Renewal, ...] = ()
    scope: str | None = None
    held: tuple[str, ...] = ()
    facts: Facts | None = None
    """What the stamp is of, so that a person can be told what has moved since."""
    policy: Policy | None = None
    """How the project is looked after once this has been carried out; None: as before."""
    data: Data | None = None
    """What is done with the data of volumes; None where nothing is."""

    @property
    def is_empty(self) -> bool:
        """Nothing has to change."""
        return not self.renew and self.is_settled

    @property
    def is_settled(self) -> bool:
        """No set has to change, though single replicas may be made again."""
        return not self.prune and all(change.kind == "keep" for change in self.changes)

    def change(self, service: str) -> Change | None:
        """The change of a service, None for one that the plan does not know."""
        return next((change for change in self.changes if change.service == service), None)

    @property
    def target(self) -> dict[str, SetId]:
        """The set of each service once the plan is carried out."""
        return {change.service: change.new.id for change in self.changes if change.new is not None}


def make(
    release: Release,
    observation: Observation,
    *,
    revision: int,
    keep: Collection[SetId] = (),
    generations: dict[str, int] | None = None,
    policy: Policy | None = None,
) -> Plan:
    """The plan that makes ``release`` what runs, seen from ``observation`` at ``revision``.

    ``keep``: sets that earlier revisions may come back to. ``generations``: per service, the generation of its set
    (``next_generation`` for one made anew); where it is not said, the one that there is.
    """
    numbers = {name: generation(release, name, observation) for name in release.services} | (generations or {})
    waves = release.waves()
    jobs = jobs_of(release)
    changes = [
        _change(release.spec(name, numbers[name]), observation, is_job=name in jobs) for wave in waves for name in wave
    ]
    gone = [
        Change(service=service, kind="remove", old=found.spec, reasons=("no longer in the fleet file",))
        for service in sorted(observation.active)
        if service not in release.services and (found := observation.active_set(service)) is not None
    ]
    used = {change.new.id for change in changes if change.new} | {change.old.id for change in changes if change.old}
    spare = (used | set(keep) | set(observation.active.values())) - _outworn(release, changes)
    return Plan(
        project=release.project,
        release=release.digest,
        revision=revision,
        stamp=observation.stamp,
        facts=observation.facts,
        held=tuple(sorted(hold.name for hold in observation.holds)),
        changes=(*changes, *gone),
        waves=waves,
        services={name: entry.service for name, entry in release.services.items()},
        volumes=release.volumes,
        prune=tuple(sorted(name for name in observation.sets if name not in spare)),
        policy=policy,
    )


def restoring(release: Release, observation: Observation, volumes: Collection[str]) -> dict[str, int]:
    """The generations of sets that are made anew because the data of volumes that they use go back."""
    return {
        name: next_generation(release, name, observation)
        for name, entry in release.services.items()
        if uses(entry.service, release.volumes, volumes)
        and observation.active.get(name) == release.spec(name, generation(release, name, observation)).id
    }


def with_data(plan: Plan, data: Data) -> Plan:
    """The plan with what it does with data. Where any go back, all that changes is replaced stop-first."""
    changes = plan.changes
    if data.restore:
        changes = tuple(
            msgspec.structs.replace(change, order="stop-first") if change.kind == "replace" else change
            for change in changes
        )
    return msgspec.structs.replace(plan, changes=changes, data=data)


def generation(release: Release, service: str, observation: Observation) -> int:
    """The generation of a service's set that there is: of the active one, else the newest; 0 where there is none."""
    first = release.spec(service).id
    active = observation.active.get(service)
    found = None if active is None else generation_of(active, first)
    return found if found is not None else _newest(first, observation)


def next_generation(release: Release, service: str, observation: Observation) -> int:
    """The generation of a service's set made again from scratch, whether or not there is one of its content."""
    first = release.spec(service).id
    is_there = any(generation_of(name, first) is not None for name in observation.sets)
    return _newest(first, observation) + 1 if is_there else 0


def _newest(first: SetId, observation: Observation) -> int:
    return max((number for name in observation.sets if (number := generation_of(name, first)) is not None), default=0)


def _outworn(release: Release, changes: Collection[Change]) -> set[SetId]:
    """Old sets whose new ones have the same content: nothing would ever come back to them."""
    return {
        change.old.id
        for change in changes
        if change.old and change.new and change.old.id != change.new.id
        and generation_of(change.old.id, release.spec(change.service).id) is not None
    }  # fmt: skip


def jobs_of(release: Release) -> set[str]:
    """The services that have to end: others wait for their completion."""
    return {
        name
        for entry in release.services.values()
        for name, dependency in entry.service.depends_on.items()
        if dependency.condition == "service_completed_successfully"
    }


def _change(new: SetSpec, observation: Observation, *, is_job: bool) -> Change:
    name = new.service.name
    found = observation.active_set(name)
    old = found.spec if found else None
    returns = new.id in observation.sets
    if old is None:
        return Change(service=name, kind="create", new=new, returns=returns, reasons=("not running yet",))
    if old.id == new.id:
        reason = None if found is None else _wanting(found, is_job=is_job)
        if reason is None:
            return Change(service=name, kind="keep", old=old, new=new)
        return Change(service=name, kind="repair", old=old, new=new, returns=True, reasons=(reason,))
    order: Order = "stop-first" if old.service.writes_shared_state or new.service.writes_shared_state else "start-first"
    return Change(
        service=name, kind="replace", order=order, old=old, new=new, returns=returns, reasons=_reasons(old, new)
    )


def _wanting(found: SetObservation, *, is_job: bool) -> str | None:
    """What an active set lacks. Single replicas that ended are the agent's affair."""
    if len(found.replicas) < found.spec.replicas:
        return "replicas are missing"
    if found.replicas and not is_job and all(replica.state in {"created", "exited"} for replica in found.replicas):
        return "none of its replicas runs"
    return None


def _reasons(old: SetSpec, new: SetSpec) -> tuple[str, ...]:
    lines: list[str] = []
    if old.image != new.image:
        lines.append(f"image {_short(old.image)} -> {_short(new.image)}")
    if old.replicas != new.replicas:
        lines.append(f"replicas {old.replicas} -> {new.replicas}")
    lines += [change.line for change in differences(old.service, new.service)]
    lines += [change.line for change in contents(old.files, new.files)]
    return tuple(lines) or ("made again from scratch",)


def _short(digest: Digest) -> str:
    return digest.rpartition(":")[2][:12]
