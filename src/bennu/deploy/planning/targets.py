"""A release of which only some services move: those that are targeted, and what they cannot do without. Pure.

All others stay in the release as they run, so that it says honestly what will run: a rollback to it brings back exactly
that. What is in the fleet file and does not run yet, and is not needed, is left out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from bennu.compose.model import Service, Volume
from bennu.compose.struct import Value
from bennu.deploy.release import Release, ReleaseService
from bennu.engine.sets import Observation, SetId, generation_of
from bennu.errors import Conflict, NotFound


class Selection(Value, frozen=True, kw_only=True, omit_defaults=True):
    """Which services move. ``asked`` were named, ``needed`` come with them since they do not run yet.

    ``leaving``: asked ones that the file has no more. ``left_out``: the file's others, which stay as they are.
    """

    asked: tuple[str, ...]
    needed: tuple[str, ...] = ()
    leaving: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def moving(self) -> frozenset[str]:
        """Those that are taken from the fleet file."""
        return frozenset((*self.asked, *self.needed)) - frozenset(self.leaving)

    @property
    def line(self) -> str:
        """``only web, with db, which it needs; left as they are: api, mail``."""
        words = f"only {', '.join(self.asked)}"
        if self.needed:
            words += f", with {', '.join(self.needed)}, which must come along"
        return words + (f"; left as they are: {', '.join(self.left_out)}" if self.left_out else "")


def select(services: Mapping[str, Service], targets: Collection[str], active: Collection[str]) -> Selection:
    """Which of a fleet file's services move when only ``targets`` are to. ``active``: those that run.

    ``NotFound`` for a target that is neither in the file nor running.
    """
    for name in targets:
        if name not in services and name not in active:
            known = ", ".join(sorted({*services, *active})) or "none"
            raise NotFound(f"service {name!r} is not in the fleet file and does not run", f"there are {known}")
    asked = tuple(dict.fromkeys(targets))
    needed: list[str] = []
    open_ones = [name for name in asked if name in services]
    while open_ones:
        for name in services[open_ones.pop(0)].depends_on:
            if name in services and name not in active and name not in asked and name not in needed:
                needed.append(name)
                open_ones.append(name)
    chosen = {*asked, *needed}
    return Selection(
        asked=asked,
        needed=tuple(needed),
        leaving=tuple(name for name in asked if name not in services),
        left_out=tuple(sorted({*services, *active} - chosen)),
    )


def merged(new: Release, running: Release | None, observation: Observation, selection: Selection) -> Release:
    """``new`` for those that move, and what runs for all others. ``running``: the active revision's release.

    ``new`` need not know more than the services that move. ``Conflict`` where a service that leaves is still needed.
    """
    kept = {
        name: _as_it_runs(name, running, observation)
        for name in observation.active
        if name not in selection.moving and name not in selection.leaving and name in selection.left_out
    }
    services = {name: entry for name, entry in new.services.items() if name in selection.moving}
    services |= {name: entry for name, entry in kept.items() if entry is not None}
    for name, entry in services.items():
        for other in entry.service.depends_on:
            if other in selection.leaving:
                raise Conflict(f"service {other!r} cannot leave: {name!r} depends on it", f"target {name!r} as well")
    moving = [new.services[name].service for name in selection.moving & new.services.keys()]
    used = {mount.source for service in moving for mount in service.mounts}
    volumes = {key: volume for key, volume in new.volumes.items() if key in used}
    return msgspec.structs.replace(
        new,
        services={name: services[name] for name in (*new.services, *observation.active) if name in services},
        volumes={**_volumes(running), **volumes},
    )


def _is_of(found: SetId, running: Release, name: str) -> bool:
    return generation_of(found, running.spec(name).id) is not None


def _volumes(running: Release | None) -> dict[str, Volume]:
    return {} if running is None else dict(running.volumes)


def _as_it_runs(name: str, running: Release | None, observation: Observation) -> ReleaseService | None:
    found = observation.active_set(name)
    if found is None:
        return None
    if running is not None and name in running.services and _is_of(found.id, running, name):
        return running.services[name]
    spec = found.spec
    return ReleaseService(image=spec.image, image_name=spec.image_name, service=spec.service, files=spec.files)
