"""Which image each service of a fleet file runs: built from its ``build`` section, or found in the store. No engine.

A service without ``build`` names an image that is there; nothing is fetched behind the user's back. Services with
equal build sections are built once.
"""

from __future__ import annotations

from collections.abc import Callable

from bennu.compose.model import Build, Project
from bennu.digest import Digest
from bennu.errors import Invalid, NotFound

Find = Callable[[str], Digest | None]
"""The manifest digest of the image that a name means, or None."""
MakeImage = Callable[[str, Build, tuple[str, ...]], Digest]
"""Build an image: the first service's name (for progress), its build section, the names that it shall get."""


def resolve_images(project: Project, find: Find, build: MakeImage | None) -> dict[str, Digest]:
    """The manifest digest of each service's image. ``build`` None: what is built must be there already.

    ``Invalid`` at the service's line for an image that is not in the store.
    """
    found: dict[str, Digest] = {}
    for group in _by_build(project):
        names = tuple(dict.fromkeys(project.image_name(service) for service in group))
        section = project.services[group[0]].build
        if section is not None and build is not None:
            found |= dict.fromkeys(group, build(group[0], section, names))
        else:
            found |= {service: _lookup(project, service, find) for service in group}
    return found


def _by_build(project: Project) -> list[list[str]]:
    groups: dict[object, list[str]] = {}
    for name, service in project.services.items():
        section = service.build
        key: object = name
        if section is not None:
            key = (section.context, section.dockerfile_path, tuple(sorted(section.args.items())), section.target)
        groups.setdefault(key, []).append(name)
    return list(groups.values())


def _lookup(project: Project, service: str, find: Find) -> Digest:
    image = project.image_name(service)
    digest = find(image)
    if digest is not None:
        return digest
    hint = "`bennu images` lists what is here; `bennu load` and `bennu image bootstrap` bring images in"
    if project.services[service].build is not None:
        hint = "leave --no-build away to build it"
    place = project.places.get(f"services.{service}.image") or project.places.get(f"services.{service}")
    message = f"service {service!r}: image {image!r} is not in the store"
    if place is None:
        raise NotFound(message, hint)
    raise Invalid(message, hint, file=place.file, line=place.line, column=place.column)
