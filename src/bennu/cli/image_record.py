"""Images as records, with the field names of Docker's listings and of its ``image inspect``.

The verbs ``images``, ``history`` and ``image inspect`` render these; templates that people bring along work on them.
Time is an argument.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bennu.cli import human
from bennu.digest import short

if TYPE_CHECKING:
    from bennu.oci.image_config import ContainerConfig
    from bennu.oci.manifest import Manifest
    from bennu.store.images import Image

NONE = "<none>"
MISSING = "<missing>"
_NULLABLE = ("ExposedPorts", "Env", "Cmd", "Volumes", "Entrypoint", "OnBuild", "Labels")


def listed(
    image: Image, now: float, *, in_full: bool = False, named: Sequence[str] | None = None
) -> Iterator[dict[str, Any]]:
    """A record for each name of an image, or one without a name. ``named`` limits the names (in full) to these."""
    from bennu.oci.reference import parse_reference

    created = image.created
    common = {
        "ID": image.id if in_full else short(image.id),
        "Digest": image.manifest,
        "CreatedAt": shown_time(created),
        "CreatedSince": human.ago(created, now) if created is not None else "N/A",
        "Size": human.size(image.size_bytes),
        "VirtualSize": human.size(image.size_bytes),
        "SharedSize": "N/A",
        "UniqueSize": "N/A",
        "Containers": "N/A",
    }
    names = image.names if named is None else named
    for name in names:
        reference = parse_reference(name)
        digest = image.indexed.get(name, image.manifest)
        yield {"Repository": reference.familiar_repository, "Tag": reference.tag or NONE, **common, "Digest": digest}
    if not image.names:
        yield {"Repository": NONE, "Tag": NONE, **common}


def steps(image: Image, now: float, *, in_full: bool = False, human_form: bool = True) -> list[dict[str, Any]]:
    """A record for each entry of an image's history, the newest first."""
    from bennu.oci.image_config import moment

    sizes = iter(layer.size_bytes for layer in image.layers)
    records: list[dict[str, Any]] = []
    for entry in image.config.history:
        size = 0 if entry.empty_layer else next(sizes)
        created = moment(entry.created)
        records.append(
            {
                "ID": MISSING,
                "CreatedAt": entry.created,
                "CreatedSince": (human.ago(created, now) if created is not None else "N/A")
                if human_form
                else entry.created,
                "CreatedBy": entry.created_by,
                "Size": human.size(size) if human_form else str(size),
                "Comment": entry.comment,
            }
        )
    records.reverse()
    if records:
        records[0]["ID"] = image.id if in_full else short(image.id)
    return records


def inspected(image: Image, manifest: Manifest, manifest_bytes: int, directories: Sequence[str]) -> dict[str, Any]:
    """The document of ``image inspect``. ``directories`` are those of its snapshots, topmost first."""
    from bennu.oci.reference import parse_reference

    config = image.config
    references = [parse_reference(name) for name in image.names]
    last = config.history[-1] if config.history else None
    graph = {"UpperDir": directories[0], "LowerDir": ":".join(directories[1:])} if directories else {}
    return {
        "Id": image.id,
        "RepoTags": [reference.familiar for reference in references],
        "RepoDigests": list(
            dict.fromkeys(
                f"{each.familiar_repository}@{image.indexed.get(each.name, image.manifest)}" for each in references
            )
        ),
        "Parent": "",
        "Comment": last.comment if last else "",
        "Created": config.created,
        "DockerVersion": "",
        "Author": config.author,
        "Config": container_config(config.config),
        "Architecture": config.architecture,
        "Variant": config.variant,
        "Os": config.os,
        "OsVersion": config.os_version,
        "Size": image.size_bytes,
        "GraphDriver": {"Data": {name: value for name, value in graph.items() if value}, "Name": "overlay2"},
        "RootFS": {"Type": "layers", "Layers": list(config.diff_ids)},
        "Metadata": {"LastTagTime": datetime.fromtimestamp(image.added, UTC).isoformat().replace("+00:00", "Z")},
        "Annotations": dict(manifest.annotations),
        "Descriptor": {"mediaType": manifest.media_type, "digest": image.manifest, "size": manifest_bytes},
    }


def container_config(config: ContainerConfig) -> dict[str, Any]:
    """The configuration with the members that Docker always shows, null where they are empty."""
    import msgspec

    plain: dict[str, Any] = msgspec.to_builtins(config)
    return {"User": "", "WorkingDir": ""} | dict.fromkeys(_NULLABLE) | plain


def shown_time(seconds: float | None) -> str:
    """``2024-01-02 03:04:05 +0000 UTC``, Docker's form of a moment in listings."""
    return "N/A" if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} +0000 UTC"
