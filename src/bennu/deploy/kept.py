"""What is left of each release of a project: its revisions, its sets and how warm they are, its images. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final, Literal

from bennu.compose.struct import Value
from bennu.deploy.history import SERVED, Revision, last_verdict
from bennu.deploy.release import Release
from bennu.digest import Digest
from bennu.engine.sets import Observation, SetId, generation_of

Remains = Literal["active", "warm", "frozen", "stopped", "images", "gone"]
"""How quickly a release could come back: it runs; its sets run, are frozen, are stopped; its sets have to be made of
their images; an image of it is gone.
"""
COLDEST: Final[tuple[Remains, ...]] = ("active", "warm", "frozen", "stopped", "images", "gone")


class ReleaseRecord(Value, frozen=True, kw_only=True, omit_defaults=True):
    """A release. ``revisions`` newest first; ``bad``: its last verdict was, ``reason`` says why."""

    release: Digest
    revisions: tuple[int, ...]
    remains: Remains
    images: dict[str, str]
    sets: dict[str, SetId]
    last: float
    served: bool
    bad: bool = False
    reason: str | None = None
    commit: str | None = None
    """The commit that it was last made of, where it was pushed or followed."""


def records(
    revisions: Sequence[Revision],
    releases: Mapping[Digest, Release],
    observation: Observation,
    images: Collection[Digest],
) -> tuple[ReleaseRecord, ...]:
    """All releases that revisions (newest first) are of, the last used first. ``images``: those in the store."""
    found: list[ReleaseRecord] = []
    for digest in dict.fromkeys(each.release for each in revisions):
        of_it = [each for each in revisions if each.release == digest]
        verdict = last_verdict(digest, revisions)
        release = releases[digest]
        sets = {name: _set(release, name, observation) for name in release.services}
        found.append(
            ReleaseRecord(
                release=digest,
                revisions=tuple(each.number for each in of_it),
                remains=_remains(release, sets, observation, images),
                images={name: entry.image_name for name, entry in release.services.items()},
                sets={name: one for name, one in sets.items() if one is not None},
                last=of_it[0].started,
                served=any(each.state in SERVED for each in of_it),
                bad=verdict.bad,
                commit=next((o.commit for each in of_it if (o := each.origin_of_release) and o.commit), None),
                reason=verdict.reason if verdict.bad else None,
            )
        )
    return tuple(found)


def _set(release: Release, service: str, observation: Observation) -> SetId | None:
    """The set of a service in a release that is there, the active one before others."""
    first = release.spec(service).id
    there = [name for name in observation.sets if generation_of(name, first) is not None]
    active = set(observation.active.values())
    return min(there, key=lambda name: (name not in active, -(generation_of(name, first) or 0)), default=None)


def _remains(
    release: Release, sets: Mapping[str, SetId | None], observation: Observation, images: Collection[Digest]
) -> Remains:
    """The coldest of its services: all of them have to come back."""
    each: list[Remains] = []
    for service, name in sets.items():
        if name is None:
            each.append("images" if release.services[service].image in images else "gone")
        elif name in observation.active.values():
            each.append("active")
        else:
            each.append(observation.sets[name].temperature)
    return max(each, key=COLDEST.index, default="images")
