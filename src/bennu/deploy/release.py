"""A release: the whole stack, resolved. Image digests and configuration, immutable, named by its digest.

Pure. ``resolve`` makes one of a fleet file and the digests of its images; ``Release.spec`` gives the set that a service
has in it. What is in a release is what comes back at a rollback: nothing is read from the fleet file again. Next:
``plan``, which compares a release with what runs.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from bennu.compose.canonical import canonical_json, service_digest
from bennu.compose.model import Project, Service, Volume
from bennu.compose.struct import Value
from bennu.digest import Digest, digest_of
from bennu.engine.sets import ReplicaFile, SetSpec, set_id
from bennu.errors import InvalidMany, Unsupported


class ReleaseService(Value, frozen=True, kw_only=True, omit_defaults=True):
    """One service of a release. ``image`` is a manifest digest; ``image_name`` is for people only."""

    image: Digest
    image_name: str
    service: Service
    files: tuple[ReplicaFile, ...] = ()

    @property
    def configuration(self) -> Digest:
        """The digest of all that makes a replica besides its image."""
        digest = service_digest(self.service)
        parts = [digest.encode(), *map(canonical_json, self.files)]
        return digest_of(b"\n".join(parts)) if self.files else digest


class Release(Value, frozen=True, kw_only=True, omit_defaults=True):
    """All services of a project with what they run. Compare releases by ``digest``."""

    project: str
    services: dict[str, ReleaseService]
    volumes: dict[str, Volume] = {}
    keep: int = 3
    keep_warm_seconds: float = 600.0
    keep_frozen: int = 1
    snapshot: tuple[str, ...] = ()
    """Keys of the volumes that are snapshotted when this release comes or goes."""

    @property
    def digest(self) -> Digest:
        """The release's name: the digest of its canonical JSON."""
        return digest_of(canonical_json(self))

    def spec(self, service: str, generation: int = 0) -> SetSpec:
        """The set of a service in this release; ``generation`` above 0 is the same set made again from scratch."""
        entry = self.services[service]
        return SetSpec(
            id=set_id(
                self.project,
                service,
                entry.configuration,
                entry.image,
                replicas=entry.service.replicas,
                generation=generation,
            ),
            project=self.project,
            image=entry.image,
            image_name=entry.image_name,
            service=entry.service,
            volumes=self.volumes,
            files=entry.files,
        )

    def waves(self) -> tuple[tuple[str, ...], ...]:
        """The services in dependency order; those of one wave do not wait for each other."""
        services = {name: entry.service for name, entry in self.services.items()}
        return Project(name=self.project, directory="", services=services).start_order()


def check_served(project: Project) -> None:
    """``Unsupported`` (all of it, at its places) where the file says what nothing here carries out."""
    found = tuple(
        Unsupported(each.message, file=each.place.file, line=each.place.line, column=each.place.column)
        for each in project.unserved
    )
    if len(found) == 1:
        raise found[0]
    if found:
        raise InvalidMany(found)


def resolve(
    project: Project, images: Mapping[str, Digest], files: Mapping[str, tuple[ReplicaFile, ...]] | None = None
) -> Release:
    """The release that a fleet file is, with ``images`` giving the manifest digest of each service's image, and
    ``files`` what its configs and secrets hold.

    Raises as ``check_served``.
    """
    check_served(project)
    return Release(
        project=project.name,
        services={
            name: ReleaseService(
                image=images[name],
                image_name=project.image_name(name),
                service=essence(service),
                files=(files or {}).get(name, ()),
            )
            for name, service in project.services.items()
        },
        volumes=project.volumes,
        keep=project.x_bennu.keep,
        keep_warm_seconds=project.x_bennu.keep_warm_seconds,
        keep_frozen=project.x_bennu.keep_frozen,
        snapshot=project.x_bennu.snapshot,
    )


def encode(release: Release) -> bytes:
    """The release as canonical JSON: what the history keeps and what the digest is of."""
    return canonical_json(release)


def decode(data: bytes | str) -> Release:
    """The inverse of ``encode``."""
    return msgspec.json.decode(data, type=Release)


def essence(service: Service) -> Service:
    """A service as a release has it: how its image was built, and what other programs noted, is no part of it."""
    return msgspec.structs.replace(service, build=None, profiles=(), extensions={})
