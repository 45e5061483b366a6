"""Nodes of one or several files to a ``Project``, in two steps with the reading of env files between them.

``draft`` interpolates, merges and names the project; ``Draft.env_files`` says which files its services want;
``finish`` reads everything, checks it, and raises all errors at once. ``resolve`` is both, for who has the texts.
Nothing here reads a file or the environment of the process: ``load`` does, and calls this.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bennu.compose import consistency, schema, values
from bennu.compose.assembly import Assembly, Files, Standing
from bennu.compose.attaching import read_networks, read_sources
from bennu.compose.environment import label_files, wanted
from bennu.compose.extension import XBennuProject
from bennu.compose.fields import Field
from bennu.compose.hooks import read_hooks
from bennu.compose.merging import merge, settle
from bennu.compose.model import Place, Project, Service, Volume
from bennu.compose.mounts import Base
from bennu.compose.naming import project_name
from bennu.compose.nodes import Mapping as MappingNode
from bennu.compose.nodes import Node, Scalar, null, type_name
from bennu.compose.problems import Problems, did_you_mean
from bennu.compose.service import Surroundings, read_extensions, read_profiles, read_service
from bennu.compose.windows import read_windows
from bennu.errors import Invalid, NotFound

SERVICE_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
ALL_PROFILES: Final = "*"


class NoFiles:
    """The ``Files`` of who has none: nothing can be included, and only services of the same file extended."""

    def compose(self, path: str) -> Node:
        """There is no such file."""
        raise NotFound(f"file {path!r} does not exist")

    def variables(self, path: str, environ: Mapping[str, str]) -> dict[str, str] | None:  # noqa: ARG002
        """There is no such file."""
        return None

    def resolve(self, path: str, directory: str) -> str:
        """By the text alone."""
        return posixpath.normpath(posixpath.join(directory, path))

    def parent(self, path: str) -> str:
        """By the text alone."""
        return posixpath.dirname(path)


@dataclass(frozen=True, slots=True)
class Draft:
    """A merged, interpolated file that is not read yet. ``root`` is its top-level mapping."""

    name: str
    root: Field
    files: tuple[str, ...]
    base: Base
    environ: Mapping[str, str]
    profiles: Collection[str]

    def services(self) -> dict[str, Field]:
        """Every service of the file by name."""
        field = self.root.get("services")
        return dict(field.entries()) if field else {}

    def is_active(self, service: Field) -> bool:
        """Does a service run with the chosen profiles?"""
        own = read_profiles(service)
        return not own or ALL_PROFILES in self.profiles or any(profile in self.profiles for profile in own)

    def env_files(self) -> tuple[str, ...]:
        """Absolute paths of the files of variables and labels that ``finish`` needs the texts of, each once."""
        active = [field for field in self.services().values() if field.is_mapping and self.is_active(field)]
        files = (file for field in active for file in (*wanted(field, self.base), *label_files(field, self.base)))
        return tuple(dict.fromkeys(file.path for file in files))


def draft(
    trees: Sequence[Node],
    environ: Mapping[str, str],
    *,
    directory: str,
    home: str = "/root",
    name: str | None = None,
    profiles: Collection[str] = (),
    files: Files | None = None,
) -> Draft:
    """Lay ``trees`` over each other, later ones over earlier ones, each with what it includes and extends.

    ``directory`` is absolute: relative paths start there, and its last part names a project that has no other name.
    ``name`` comes before ``COMPOSE_PROJECT_NAME`` in ``environ``, which comes before the file's. Raises ``Invalid`` for
    a file that is no mapping or a name that is not allowed; other errors wait for ``finish``.
    """
    problems = Problems()
    mappings = [tree for tree in trees if isinstance(tree, MappingNode)]
    for tree in trees:
        if not isinstance(tree, MappingNode):
            empty = isinstance(tree, Scalar) and tree.is_null
            what = "is empty" if empty else f"is {type_name(tree)}, should be a mapping"
            problems.add(f"the file {what}", tree.place, "it needs at least 'services'")
    problems.raise_if_any()
    project = project_name(mappings, environ, directory=directory, name=name)
    around = {**environ, "COMPOSE_PROJECT_NAME": project}
    merged: Node = null(mappings[0].place)
    assembly = Assembly(files or NoFiles(), problems)
    for tree in mappings:
        standing = Standing(posixpath.join(directory, tree.place.file), directory, around)
        merged = merge(merged, assembly.whole(tree, standing), problems)
    root = Field(settle(merged), "", problems, mappings[0].place)
    named = tuple(dict.fromkeys(tree.place.file for tree in mappings))
    return Draft(project, root, named, Base(directory, home), around, profiles)


def finish(sketch: Draft, env_texts: Mapping[str, str | None]) -> Project:
    """The project. ``env_texts``: text by path of ``Draft.env_files``, None or left out for a file that is not there.

    Raises ``Invalid``, or ``InvalidMany`` with all that is wrong.
    """
    root = sketch.root
    schema.check(root, schema.PROJECT, "the file")
    texts = {**dict.fromkeys(sketch.env_files()), **env_texts}
    volumes = _volumes(root.get("volumes"), sketch.name)
    networks = read_networks(root.get("networks"), sketch.name)
    configs = read_sources(root.get("configs"), sketch.name, sketch.base, "config")
    secrets = read_sources(root.get("secrets"), sketch.name, sketch.base, "secret")
    active, inactive = _services(sketch, texts)
    settings = _x_bennu(root.get("x-bennu"), sketch.base)
    services = root.get("services")
    if services is not None and services.is_mapping:
        declared: dict[str, Mapping[str, object]] = {
            "volumes": volumes,
            "networks": networks,
            "configs": configs,
            "secrets": secrets,
        }
        consistency.check(services, active, inactive, declared)
    extension = root.get("x-bennu")
    consistency.check_snapshots(extension.get("snapshot") if extension else None, settings, volumes)
    root.problems.raise_if_any()
    return Project(
        name=sketch.name,
        directory=sketch.base.directory,
        files=sketch.files,
        services=active,
        inactive=inactive,
        volumes=volumes,
        networks=networks,
        configs=configs,
        secrets=secrets,
        other=schema.stated(root, schema.PROJECT),
        x_bennu=settings,
        extensions=read_extensions(root),
        notices=root.problems.notices,
        unserved=root.problems.unserved,
        places=_places(root),
    )


def resolve(
    trees: Sequence[Node],
    environ: Mapping[str, str],
    *,
    directory: str,
    home: str = "/root",
    name: str | None = None,
    profiles: Collection[str] = (),
    env_texts: Mapping[str, str | None] | None = None,
) -> Project:
    """``draft`` and ``finish`` in one."""
    sketch = draft(trees, environ, directory=directory, home=home, name=name, profiles=profiles)
    return finish(sketch, env_texts or {})


def _services(sketch: Draft, texts: Mapping[str, str | None]) -> tuple[dict[str, Service], dict[str, Service]]:
    active: dict[str, Service] = {}
    inactive: dict[str, Service] = {}
    field = sketch.root.get("services")
    if field is None:
        sketch.root.problems.add("the file has no 'services'", sketch.root.place)
        return active, inactive
    if not field.expect_mapping():
        return active, inactive
    for name, service in field.entries():
        if not SERVICE_NAME.fullmatch(name):
            service.problems.add(f"{name!r} cannot be the name of a service", service.key_place)
        elif service.is_mapping:
            runs = sketch.is_active(service)
            around = Surroundings(sketch.base, sketch.environ, texts)
            (active if runs else inactive)[name] = read_service(name, service, around)
        else:
            service.expect_mapping()
    return active, inactive


def _volumes(field: Field | None, project: str) -> dict[str, Volume]:
    volumes: dict[str, Volume] = {}
    if field is None or not field.expect_mapping():
        return volumes
    for key, value in field.entries():
        if not SERVICE_NAME.fullmatch(key):
            value.problems.add(f"{key!r} cannot be the name of a volume", value.key_place)
        elif value.is_null:
            volumes[key] = Volume(name=f"{project}_{key}")
        elif schema.check(value, schema.VOLUME, "a volume"):
            volumes[key] = _volume(key, value, project)
    return volumes


def _volume(key: str, field: Field, project: str) -> Volume:
    driver, labels, name_field, external_field = (field.get(k) for k in ("driver", "labels", "name", "external"))
    foreign = driver.text() if driver is not None and driver.text() not in ("local", "") else None
    if driver is not None and foreign is not None:
        driver.problems.stated(f"{driver.path}: driver {foreign!r} is not supported; the driver is local", driver.place)
    name = name_field.filled() if name_field else None
    external = False
    if external_field is not None and external_field.is_mapping:
        # Before Compose file version 3.4 an external volume was named here.
        old = external_field.get("name")
        external, name = True, (old.filled() if old else None) or name
    elif external_field is not None:
        external = bool(external_field.boolean())
    options = _driver_options(field.get("driver_opts"), foreign)
    if external and (driver or labels or options):
        field.fail("is external, so that nothing but its 'name' can be said here")
    if name is not None and not SERVICE_NAME.fullmatch(name):
        (name_field or field).fail(f"{name!r} cannot be the name of a volume")
    return Volume(
        name=name or (key if external else f"{project}_{key}"),
        external=external,
        labels={label: text or "" for label, text, _ in labels.pairs()} if labels else {},
        driver=foreign,
        driver_opts=options,
        extensions=read_extensions(field),
    )


def _driver_options(field: Field | None, foreign: str | None) -> dict[str, str]:
    if field is not None and foreign is not None:
        return {name: value or "" for name, value, _ in field.pairs()}
    if field is None or not schema.check(field, schema.DRIVER_OPTS, "'driver_opts'"):
        return {}
    found = {key: text for key, value in field.entries() if (text := value.filled()) is not None}
    if "device" not in found:
        field.fail("has no 'device'", "say what is mounted: a block device, HOST:/PATH for NFS, a directory")
    elif found.get("type", "none") == "tmpfs":
        field.fail("type 'tmpfs' would be a memory of each replica's own", "use 'tmpfs' of the service")
    return found


def _x_bennu(field: Field | None, base: Base) -> XBennuProject:
    if field is None or not schema.check(field, schema.X_BENNU_PROJECT, "x-bennu of the file"):
        return XBennuProject()
    keep, frozen, warm, age, snapshot = map(field.get, ("keep", "keep_frozen", "keep_warm", "max_age", "snapshot"))
    default = XBennuProject()
    kept = keep.integer(0) if keep else None
    frozen_count = frozen.integer(0) if frozen else None
    warm_seconds = warm.read(values.duration_seconds) if warm else None
    age_seconds = age.read(values.duration_seconds) if age else None
    if age is not None and age_seconds == 0:
        age.fail("no replica can live for no time", "leave it out to keep replicas whatever their age")
    jitter, rebuild = field.get("jitter"), field.get("rebuild")
    jitter_seconds = jitter.read(values.duration_seconds) if jitter else None
    if jitter is not None and age_seconds is None:
        jitter.fail("means nothing without 'max_age'", "it spreads what is done by age: max_age: 7d")
    elif jitter is not None and age_seconds and jitter_seconds is not None and jitter_seconds >= age_seconds:
        jitter.fail("is not shorter than 'max_age'", "replicas are replaced up to so much before they are that old")
    return XBennuProject(
        rebuild=bool(rebuild.boolean()) if rebuild else False,
        windows=read_windows(field.get("windows")),
        jitter_seconds=jitter_seconds or 0.0,
        keep=default.keep if kept is None else kept,
        keep_frozen=default.keep_frozen if frozen_count is None else frozen_count,
        keep_warm_seconds=default.keep_warm_seconds if warm_seconds is None else warm_seconds,
        max_age_seconds=age_seconds,
        snapshot=snapshot.strings() if snapshot else (),
        hooks=read_hooks(field.get("hooks"), base),
    )


def _places(root: Field) -> dict[str, Place]:
    """Places of services, volumes, configs and the like, and of their keys."""
    places: dict[str, Place] = {}
    for section in ("services", "volumes", "networks", "configs", "secrets"):
        field = root.get(section)
        for _, value in field.entries() if field else ():
            places[value.path] = value.key_place
            places.update({inner.path: inner.key_place for _, inner in value.entries()})
    return places


def unknown_service(project: Project, name: str) -> Invalid:
    """The error for a service that a command names and the file has not."""
    known = [*project.services, *project.inactive]
    if name in project.inactive:
        profiles = ", ".join(project.inactive[name].profiles)
        return Invalid(f"service {name!r} is in no chosen profile", f"choose one of its profiles: {profiles}")
    return Invalid(f"service {name!r} is not known", did_you_mean(name, known) or f"services: {', '.join(known)}")
