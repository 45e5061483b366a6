"""What a build is asked for and what it came to. Values only: ``builder`` does the work."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Final

import msgspec

from bennu.build import graph
from bennu.build.annotations import Annotation
from bennu.build.exported import Exported
from bennu.build.origins import Directory, NamedOrigin, Origin, Remote, Repository
from bennu.build.outputs import IMAGE, Output
from bennu.build.remotes import without_credentials
from bennu.build.secrets import Grants
from bennu.build.verdicts import Verified
from bennu.dockerfile.warning import Warning  # noqa: A004 - the word of the Dockerfile reference
from bennu.errors import Invalid
from bennu.oci.platform import Platform, fit, platform_of_machine
from bennu.oci.reference import Reference
from bennu.store.images import Image

EPOCH: Final = "SOURCE_DATE_EPOCH"
MULTI_PLATFORM: Final = "BUILDKIT_MULTI_PLATFORM"
_TRUE: Final = frozenset({"1", "t", "true"})
_FALSE: Final = frozenset({"0", "f", "false"})


class BuildRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One build. ``context`` is a directory or another origin; ``dockerfile`` a path (in what is no directory of this
    host from its root), or ``text`` what it says instead. ``contexts`` are the named ones, by ``origins.context_name``.

    Without ``use_cache`` every step runs again, with ``fresh_stages`` those of these stages (names or numbers); where
    builds share a ``nonce``, one of them runs what is the same in several. ``epoch`` is SOURCE_DATE_EPOCH (Unix
    seconds). ``network`` is what a RUN without ``--network`` gets, ``around`` what each gets; ``grants`` are the
    secrets and agents that one may ask for, ``allowed`` what none may otherwise (``surroundings``). ``verify``: run
    every step again and compare (``bennu.build.verify``).

    Without ``platforms`` it is for what this host runs; with several the result is an index. ``outputs`` say where it
    goes, ``stdout`` takes what goes to standard output. ``squash``: all new layers become one. ``pull``: registries
    are asked for newer base images.
    """

    context: Path | Origin
    contexts: Mapping[str, NamedOrigin] = {}
    dockerfile: Path | None = None
    text: bytes | None = None
    names: tuple[Reference, ...] = ()
    build_args: Mapping[str, str] = {}
    labels: Mapping[str, str] = {}
    target: str | None = None
    platforms: tuple[Platform, ...] = ()
    use_cache: bool = True
    fresh_stages: tuple[str, ...] = ()
    nonce: bytes = b""
    epoch: int | None = None
    network: graph.Network = "default"
    around: graph.Surroundings = graph.Surroundings()
    allowed: tuple[str, ...] = ()
    grants: Grants = Grants()
    verify: bool = False
    outputs: tuple[Output, ...] = (IMAGE,)
    annotations: tuple[Annotation, ...] = ()
    squash: bool = False
    pull: bool = False
    stdout: IO[bytes] | None = None

    @property
    def origin(self) -> Origin:
        """Where the context comes from."""
        return Directory(str(self.context)) if isinstance(self.context, Path) else self.context

    @property
    def has_index(self) -> bool:
        """Whether the result is an index: for several platforms, or where BUILDKIT_MULTI_PLATFORM says so.

        ``Invalid`` where that is not a truth value, or not true of several platforms.
        """
        text = self.build_args.get(MULTI_PLATFORM)
        if not text:
            return len(self.platforms) > 1
        if text.lower() not in _TRUE | _FALSE:
            raise Invalid(f"{MULTI_PLATFORM} is {text!r}, which is neither true nor false")
        if text.lower() in _FALSE and len(self.platforms) > 1:
            raise Invalid(f"{MULTI_PLATFORM} is {text!r}, and there are {len(self.platforms)} platforms")
        return text.lower() in _TRUE

    @property
    def shown(self) -> str:
        """What people call the build: where its context is."""
        match self.origin:
            case Directory(path):
                return path
            case Remote(url):
                return without_credentials(url)
            case Repository(reference):
                return reference.shown
            case _:
                return "standard input"


class Built(msgspec.Struct, frozen=True):
    """What became of the result, what its author should know, and how much was done.

    ``steps`` of which ``ran`` were not found in the cache; entries of the context that were ``walked``, and files that
    were read to be ``hashed``. ``verified`` has each step, where that was asked for.
    """

    exported: Exported
    warnings: tuple[Warning, ...]
    steps: int
    ran: int
    walked: int
    hashed: int
    verified: tuple[Verified, ...] = ()

    @property
    def image(self) -> Image:
        """The image, or the first one of an index; for outputs that are images."""
        return self.exported.images[0]

    @property
    def image_here(self) -> Image:
        """The image that this host runs. ``Invalid`` where an index has none for it."""
        here = platform_of_machine(os.uname().machine)
        distances = [(fit(here, each.config.platform), number) for number, each in enumerate(self.exported.images)]
        fits = [(distance, number) for distance, number in distances if distance is not None]
        if not fits:
            have = ", ".join(str(each.config.platform) for each in self.exported.images)
            raise Invalid(f"the image is for {have}, and this host is {here}", f"build it for {here} too")
        return self.exported.images[min(fits)[1]]


def with_epoch(request: BuildRequest) -> BuildRequest:
    """SOURCE_DATE_EPOCH as a build argument and as the time that bounds the build, whichever of them was given."""
    text = request.build_args.get(EPOCH)
    if text is None:
        given = {} if request.epoch is None else {EPOCH: str(request.epoch)}
        return msgspec.structs.replace(request, build_args={**request.build_args, **given})
    return msgspec.structs.replace(request, epoch=parse_epoch(text))


def parse_epoch(text: str) -> int:
    """The value of SOURCE_DATE_EPOCH as Unix seconds. ``Invalid``."""
    if not (text.isascii() and text.isdecimal()):
        raise Invalid(f"{EPOCH} is {text!r}, which is not a number of seconds since 1970")
    return int(text)
