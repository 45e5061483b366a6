"""Which image each service of a fleet file runs: built from its ``build`` section, or found in the store. No engine.

A service without ``build`` names an image that is there, or that its registry has; ``pull_policy`` says when that one
is asked. Services with equal build sections are built once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import msgspec

from bennu.compose.model import Build, Project
from bennu.digest import Digest
from bennu.errors import Invalid, NotFound, Unavailable
from bennu.oci.reference import parse_name

Find = Callable[[str, str], Digest | None]
"""The manifest digest of the image that a name means, or None. Second is Compose's word for when to fetch one."""


class Wanted(msgspec.Struct, frozen=True):
    """An image to build: for which services, the first of them first, how, and the names that it shall get."""

    services: tuple[str, ...]
    build: Build
    names: tuple[str, ...]


MakeImages = Callable[[Mapping[str, Wanted]], Mapping[str, Digest]]
"""Build images, each by the name of its first service, all at once; their manifest digests."""


def wanted_images(project: Project, services: Collection[str] | None = None) -> dict[str, Wanted]:
    """What is to be built for services (None: all), each by its first service. ``NotFound`` for one that is none."""
    chosen = list(project.services) if services is None else list(dict.fromkeys(services))
    groups: dict[object, list[str]] = {}
    for name in chosen:
        if name not in project.services:
            known = ", ".join(project.services) or "none"
            raise NotFound(f"service {name!r} is not in project {project.name!r}", f"its services are {known}")
        section = project.services[name].build
        if section is not None:
            plain = msgspec.structs.replace(section, dockerfile=section.dockerfile_path)
            key = msgspec.json.encode(plain, order="deterministic")
            groups.setdefault(key, []).append(name)
    wanted: dict[str, Wanted] = {}
    for group in groups.values():
        section = project.services[group[0]].build
        assert section is not None
        names = tuple(dict.fromkeys(project.image_name(service) for service in group))
        wanted[group[0]] = Wanted(tuple(group), section, names)
    return wanted


def resolve_images(project: Project, find: Find, build: MakeImages | None) -> dict[str, Digest]:
    """The manifest digest of each service's image. ``build`` None: what is built must be there already.

    ``Invalid`` at the service's line for an image that is not in the store, before anything is built.
    """
    wanted = {} if build is None else wanted_images(project)
    makers = {_full(image): name for name, each in wanted.items() for image in each.names}
    origins = {service: makers.get(_full(project.image_name(service))) for service in project.services}
    found = {service: _lookup(project, service, find) for service, origin in origins.items() if origin is None}
    digests = build(wanted) if build is not None and wanted else {}
    return {service: found[service] if origin is None else digests[origin] for service, origin in origins.items()}


def _full(image: str) -> str:
    """An image's name as it is stored, so that one that another service builds is recognised."""
    try:
        return parse_name(image).name
    except Invalid:  # a digest, or nothing at all: the store says what is wrong
        return image


def _lookup(project: Project, service: str, find: Find) -> Digest:
    image = project.image_name(service)
    wanted = project.services[service]
    problem, hint = "", "`bennu images` lists what is here; `bennu pull`, `load` and `image bootstrap` bring images in"
    try:
        digest = find(image, "never" if wanted.build is not None else wanted.pull_policy or "missing")
    except Unavailable as error:
        digest, problem, hint = None, f"; {error.message}", error.hint or hint
    if digest is not None:
        return digest
    if wanted.build is not None:
        hint = "leave --no-build away to build it"
    place = project.places.get(f"services.{service}.image") or project.places.get(f"services.{service}")
    message = f"service {service!r}: image {image!r} is not in the store{problem}"
    if place is None:
        raise NotFound(message, hint)
    raise Invalid(message, hint, file=place.file, line=place.line, column=place.column)
