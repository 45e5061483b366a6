"""What differs between two releases, whatever runs: services, images, configuration, volumes. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from bennu.compose.struct import Value
from bennu.deploy.planning.configuration import FieldChange, contents, differences
from bennu.deploy.planning.image_text import lines as image_lines
from bennu.deploy.release import Release
from bennu.digest import Digest, short

if TYPE_CHECKING:
    from bennu.store.image_changes import ImageChanges

Verdict = Literal["added", "changed", "removed"]
SIGNS = {"added": "+", "changed": "~", "removed": "-"}


class ServiceChange(Value, frozen=True, kw_only=True, omit_defaults=True):
    """One service. Images and replicas are those before and after, None where there is no such service."""

    service: str
    verdict: Verdict
    images: tuple[Digest | None, Digest | None]
    image_name: str
    replicas: tuple[int | None, int | None]
    fields: tuple[FieldChange, ...] = ()

    @property
    def has_other_image(self) -> bool:
        """Both have one, and not the same."""
        return None not in self.images and self.images[0] != self.images[1]


class ReleaseChanges(Value, frozen=True, kw_only=True, omit_defaults=True):
    """All that differs; services in order of their names. Volumes by key."""

    services: tuple[ServiceChange, ...] = ()
    volumes_added: tuple[str, ...] = ()
    volumes_removed: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """The two run the same."""
        return not (self.services or self.volumes_added or self.volumes_removed)


def compare(old: Release, new: Release) -> ReleaseChanges:
    """What is different in ``new``."""
    return ReleaseChanges(
        services=tuple(_services(old, new)),
        volumes_added=tuple(sorted(new.volumes.keys() - old.volumes.keys())),
        volumes_removed=tuple(sorted(old.volumes.keys() - new.volumes.keys())),
    )


def _services(old: Release, new: Release) -> Iterator[ServiceChange]:
    for name in sorted(old.services.keys() | new.services.keys()):
        before, after = old.services.get(name), new.services.get(name)
        fields: tuple[FieldChange, ...] = ()
        if before is not None and after is not None:
            fields = (*differences(before.service, after.service), *contents(before.files, after.files))
        change = ServiceChange(
            service=name,
            verdict="added" if before is None else "removed" if after is None else "changed",
            images=(before.image if before else None, after.image if after else None),
            image_name=next(one.image_name for one in (after, before) if one is not None),
            replicas=(before.service.replicas if before else None, after.service.replicas if after else None),
            fields=fields,
        )
        if change.verdict != "changed" or fields or change.has_other_image or change.replicas[0] != change.replicas[1]:
            yield change


def render(changes: ReleaseChanges, inside: Mapping[str, ImageChanges], *, limit: int | None) -> list[str]:
    """The lines for people. ``inside``: what differs in the images, by service, where it could be looked at."""
    lines: list[str] = []
    for one in changes.services:
        image = one.images[1] or one.images[0]
        lines.append(f"{SIGNS[one.verdict]} {one.service}" + (f": {one.image_name} ({_short(image)})"
                     if one.verdict != "changed" else ""))  # fmt: skip
        if one.has_other_image:
            lines.append(f"    image {one.image_name}: {_short(one.images[0])} -> {_short(one.images[1])}")
            found = inside.get(one.service)
            if found is not None and found.is_empty:
                lines.append("      nothing is different inside")
            lines += image_lines(found, limit=limit, indent="      ") if found is not None else [
                "      what differs inside is not known: one of them is no longer in the store"
            ]  # fmt: skip
        if one.verdict == "changed" and one.replicas[0] != one.replicas[1]:
            lines.append(f"    replicas {one.replicas[0]} -> {one.replicas[1]}")
        lines += [f"    {field.line}" for field in one.fields]
    lines += [f"+ volume {key}" for key in changes.volumes_added]
    return lines + [f"- volume {key}" for key in changes.volumes_removed]


def document(changes: ReleaseChanges, inside: Mapping[str, ImageChanges]) -> dict[str, Any]:
    """The same for programs."""
    services = [
        {
            "service": one.service,
            "verdict": one.verdict,
            "old_image": one.images[0],
            "new_image": one.images[1],
            "old_replicas": one.replicas[0],
            "new_replicas": one.replicas[1],
            "configuration": [msgspec.to_builtins(field) for field in one.fields],
            "image": msgspec.to_builtins(inside[one.service]) if one.service in inside else None,
        }
        for one in changes.services
    ]
    return {
        "services": services,
        "volumes_added": list(changes.volumes_added),
        "volumes_removed": list(changes.volumes_removed),
    }


def _short(digest: Digest | None) -> str:
    return "none" if digest is None else short(digest)
