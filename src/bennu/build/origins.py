"""Where a context comes from: what the words of ``bennu build CONTEXT`` and ``--build-context`` mean. Pure.

A context is a directory, an archive, a file at a URL or a Git repository; a named one may be an image as well. Which
name means which context is settled here too: names are references, and ``alpine``, ``alpine:latest`` and
``docker.io/library/alpine`` are one. ``contexts`` opens origins. Source of the rules: BuildKit and buildx.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Final

import msgspec

from bennu.build.remotes import GitReference, is_url, parse_git_reference
from bennu.digest import Digest, parse_digest
from bennu.errors import Invalid, Unsupported
from bennu.oci.reference import parse_reference

RESERVED: Final = ("context", "scratch")
"""Names that no named context takes: they mean something already."""


class Directory(msgspec.Struct, frozen=True):
    """A directory of whoever builds. Owners in it do not count."""

    path: str


class NoFiles(msgspec.Struct, frozen=True):
    """No files at all: the Dockerfile is all there is."""


class Archive(msgspec.Struct, frozen=True):
    """A tar archive, compressed or not, that is read once. Owners in it count."""

    stream: IO[bytes]


class Remote(msgspec.Struct, frozen=True):
    """A file at a URL: an archive, or else a single file, which is the Dockerfile where it is the build's context."""

    url: str


class Repository(msgspec.Struct, frozen=True):
    """The files of a commit."""

    reference: GitReference


class NamedImage(msgspec.Struct, frozen=True):
    """An image of the store, by any of its names. ``scratch`` is the empty tree."""

    name: str


class Layout(msgspec.Struct, frozen=True):
    """An image in a directory that is an OCI layout, by its tag there or its digest."""

    path: str
    tag: str = "latest"
    digest: Digest | None = None


Origin = Directory | NoFiles | Archive | Remote | Repository
"""Where the build's own context comes from."""

NamedOrigin = Directory | Remote | Repository | NamedImage | Layout
"""Where a named context comes from."""


def parse_remote(text: str) -> Remote | Repository | None:
    """What a word means that names no directory here; None where it names nothing elsewhere either. ``Invalid``."""
    reference = parse_git_reference(text)
    if reference is not None:
        return Repository(reference)
    return Remote(text) if is_url(text) else None


def parse_named(text: str) -> tuple[str, NamedOrigin]:
    """``NAME=ORIGIN`` of ``--build-context``; the name in the form that ``context_name`` gives. ``Invalid``."""
    name, equals, origin = text.partition("=")
    if not equals or not name or not origin:
        raise Invalid(f"--build-context {text!r} is not NAME=ORIGIN", "write it as --build-context base=../base")
    if name.lower() in RESERVED:
        raise Invalid(f"--build-context {text!r}: the name {name!r} means something already", "choose another name")
    try:
        return context_name(name), _named_origin(origin)
    except (Invalid, Unsupported) as error:
        raise type(error)(f"--build-context {text!r}: {error.message}", error.hint) from error


def _named_origin(text: str) -> NamedOrigin:
    scheme, separator, rest = text.partition("://")
    if separator and scheme == "docker-image":
        if rest != "scratch":
            parse_reference(rest)
        return NamedImage(rest)
    if separator and scheme == "oci-layout":
        return _layout(rest)
    if scheme in {"target", "input"} or text.startswith("target:"):
        raise Unsupported(f"{text!r} is of `docker buildx bake`", "copy from the stage itself, with --from")
    remote = parse_remote(text)
    if remote is not None:
        return remote
    if separator:
        raise Invalid(
            f"{scheme!r} is no kind of context",
            "a path, https://, a Git repository, docker-image:// and oci-layout:// are",
        )
    return Directory(text)


def _layout(text: str) -> Layout:
    path, at, digest = text.partition("@")
    path, colon, tag = path.partition(":")
    if not path:
        raise Invalid("an OCI layout is a directory", "write it as oci-layout:///path/to/it:tag")
    return Layout(path, tag if colon and tag else "latest", parse_digest(digest) if at else None)


def context_name(name: str) -> str:
    """The one form of a name: familiar, without the tag ``latest``. ``Invalid`` where it can be no reference."""
    return parse_reference(name).familiar.removesuffix(":latest")


def named_context(contexts: Mapping[str, NamedOrigin], name: str) -> str | None:
    """The name in ``contexts`` that an image's or a stage's name means, or None."""
    if not contexts or name.lower() in RESERVED:
        return None
    try:
        found = context_name(name)
    except Invalid:
        return None
    return found if found in contexts else None
