"""A volume as a record with Docker's field names; which volumes pass a filter; who has one mounted."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bennu.errors import NotFound, Usage

if TYPE_CHECKING:
    from bennu.runtime.containers import Containers
    from bennu.runtime.volumes import Volume

FILTERS = ("name", "label", "dangling", "driver")


def record(volume: Volume) -> dict[str, Any]:
    """What ``inspect`` prints."""
    created = datetime.fromtimestamp(volume.created, UTC).isoformat(timespec="seconds")
    return {
        "CreatedAt": created.replace("+00:00", "Z"),
        "Driver": "local",
        "Labels": volume.labels,
        "Mountpoint": str(volume.path),
        "Name": volume.name,
        "Options": volume.options or None,
        "Scope": "local",
        "Anonymous": volume.anonymous,
    }


def found(containers: Containers, name: str) -> Volume:
    """A volume by its name; ``NotFound``."""
    volume = containers.volumes.get(name)
    if volume is None:
        raise NotFound(f"volume {name!r} does not exist", "`bennu volume ls` lists them")
    return volume


def running_users(containers: Containers, name: str) -> list[str]:
    """The names of the containers that run and have a volume mounted."""
    names = []
    for identity in containers.volumes.users(name):
        with suppress(NotFound):  # removed just now
            one = containers.inspect(identity)
            if one.status.is_alive:
                names.append(one.name)
    return names


def passes(containers: Containers, volume: Volume, filters: Iterable[str]) -> bool:
    """Whether a volume passes all of ``KEY=VALUE``. ``Usage`` for a filter that is none."""
    return all(_passes(containers, volume, text) for text in filters)


def _passes(containers: Containers, volume: Volume, text: str) -> bool:
    key, equals, value = text.partition("=")
    if not equals or key not in FILTERS:
        raise Usage(f"--filter {text!r} is not KEY=VALUE with one of {', '.join(FILTERS)}")
    if key == "name":
        return value in volume.name
    if key == "driver":
        return value == "local"
    if key == "dangling":
        return (not containers.volumes.users(volume.name)) == (value.lower() in {"1", "true"})
    name, has_value, wanted = value.partition("=")
    return name in volume.labels and (not has_value or volume.labels[name] == wanted)
