"""What configs and secrets hold when a release is made: read once, kept by version, and never looked up again.

A rollback therefore has the contents of its own release. What is wrong is said at the place in the fleet file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Final, Literal

from bennu.compose.attachments import FileSource
from bennu.compose.model import Project, Service
from bennu.deploy.release import Release
from bennu.digest import Digest
from bennu.engine.sets import ReplicaFile
from bennu.errors import Invalid, Unsupported
from bennu.store.contents import LARGEST_BYTES, Contents

Kind = Literal["config", "secret"]
SECTIONS: Final[tuple[tuple[Kind, str], ...]] = (("config", "configs"), ("secret", "secrets"))
KEPT_SECONDS: Final = 30 * 86400
"""So long a content stays that no release has: a saved plan may still bring it."""
Versions = Mapping[tuple[Kind, str], Digest]
"""The version of each config and secret, by kind and key."""


def gather(project: Project, contents: Contents, environ: Mapping[str, str]) -> dict[tuple[Kind, str], Digest]:
    """Read and keep what the project's services use. ``Invalid`` and ``Unsupported`` name the place in the file."""
    found: dict[tuple[Kind, str], Digest] = {}
    for service in project.services.values():
        for kind, section in SECTIONS:
            for mount in getattr(service, section):
                if (kind, mount.source) not in found:
                    source: FileSource = getattr(project, section)[mount.source]
                    data = _content(project, f"{section}.{mount.source}", source, environ)
                    found[kind, mount.source] = contents.put(data, is_secret=kind == "secret")
    return found


def replica_files(service: Service, versions: Versions) -> tuple[ReplicaFile, ...]:
    """The files of a service's replicas, by where they are."""
    files = [
        ReplicaFile(
            source=mount.source,
            target=mount.target,
            version=versions[kind, mount.source],
            is_secret=kind == "secret",
            uid=mount.uid or 0,
            gid=mount.gid or 0,
            mode=mount.mode,
        )
        for kind, section in SECTIONS
        for mount in getattr(service, section)
    ]
    return tuple(sorted(files, key=lambda file: file.target))


def sweep(contents: Contents, releases: Iterable[Release], now: float) -> int:
    """Remove what none of these releases has, once it is old (``now``: Unix seconds); how much went."""
    kept = {file.version for one in releases for service in one.services.values() for file in service.files}
    return contents.sweep(kept, unused_since=now - KEPT_SECONDS)


def _content(project: Project, path: str, source: FileSource, environ: Mapping[str, str]) -> bytes:
    if source.content is not None:
        return source.content.encode()
    if source.environment is not None:
        value = environ.get(source.environment)
        if value is None:
            raise _wrong(project, path, f"variable {source.environment!r} is not set", "set it for this command")
        return os.fsencode(value)
    if source.file is not None:
        return _file(project, path, source.file)
    what = "is external" if source.external else "comes from a driver"
    place = project.places.get(path)
    where = {} if place is None else {"file": place.file, "line": place.line, "column": place.column}
    hint = "give its content with file: or environment:"
    raise Unsupported(f"{path}: {what}, and one host has nobody to ask for it", hint, **where)  # type: ignore[arg-type]


def _file(project: Project, path: str, file: str) -> bytes:
    try:
        with open(file, "rb") as stream:
            data = stream.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise _wrong(project, path, f"file {file!r} cannot be read: {error.strerror}", None) from error
    if len(data) > LARGEST_BYTES:
        hint = "larger things belong into the image or a volume"
        raise _wrong(project, path, f"file {file!r} is larger than {LARGEST_BYTES >> 20} MiB", hint)
    return data


def _wrong(project: Project, path: str, message: str, hint: str | None) -> Invalid:
    place = project.places.get(path)
    if place is None:
        return Invalid(f"{path}: {message}", hint)
    return Invalid(f"{path}: {message}", hint, file=place.file, line=place.line, column=place.column)
