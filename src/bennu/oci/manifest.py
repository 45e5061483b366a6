"""Manifests and indexes: which configuration and layers make an image, and which image suits which platform.

Source: OCI image specification, manifest.md and image-index.md; Docker's "Image Manifest V 2, Schema 2", which has the
same shape. Docker's schema 1 is refused by name. Bytes that came from elsewhere are kept as they came: a manifest's
digest is of those bytes, never of what ``encode`` makes of the value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from bennu.digest import Digest
from bennu.errors import Invalid, NotFound, Unsupported
from bennu.oci import document, media
from bennu.oci.descriptor import Descriptor
from bennu.oci.platform import Platform, fit

MAX_BYTES: Final = 4 << 20
"""No manifest, index or configuration is read beyond this; the limit that registries keep for manifests."""

_NAMES: Final = {"schema_version": "schemaVersion", "media_type": "mediaType", "artifact_type": "artifactType"}


class Manifest(msgspec.Struct, frozen=True, omit_defaults=True, rename=_NAMES, kw_only=True):
    """One image: its configuration and its layers, the lowest first."""

    schema_version: Literal[2]
    media_type: str = ""
    artifact_type: str = ""
    config: Descriptor
    layers: tuple[Descriptor, ...]
    subject: Descriptor | None = None
    annotations: Mapping[str, str] = msgspec.field(default_factory=dict)


class Index(msgspec.Struct, frozen=True, omit_defaults=True, rename=_NAMES, kw_only=True):
    """Several manifests (or indexes): an image for each platform, or what an OCI layout holds."""

    schema_version: Literal[2]
    media_type: str = ""
    artifact_type: str = ""
    manifests: tuple[Descriptor, ...]
    subject: Descriptor | None = None
    annotations: Mapping[str, str] = msgspec.field(default_factory=dict)


class _Kind(msgspec.Struct, frozen=True, rename=_NAMES):
    schema_version: int = 0
    media_type: str = ""
    manifests: object = None
    layers: object = None


def new_manifest(
    config: Descriptor, layers: tuple[Descriptor, ...], annotations: Mapping[str, str] | None = None
) -> Manifest:
    """An OCI manifest."""
    return Manifest(
        schema_version=2,
        media_type=media.OCI_MANIFEST,
        config=config,
        layers=layers,
        annotations=dict(annotations or {}),
    )


def new_index(manifests: tuple[Descriptor, ...], annotations: Mapping[str, str] | None = None) -> Index:
    """An OCI index."""
    return Index(schema_version=2, media_type=media.OCI_INDEX, manifests=manifests, annotations=dict(annotations or {}))


def parse_manifest(data: bytes, digest: Digest | str) -> Manifest:
    """A manifest's bytes as a value; ``digest`` names it in errors. ``Invalid``, ``Unsupported``."""
    what = f"manifest {digest}"
    _check_kind(data, what)
    manifest = document.decode(data, Manifest, what)
    if manifest.media_type and manifest.media_type not in media.MANIFESTS:
        raise Invalid(f"{what} has the media type {manifest.media_type!r}")
    return manifest


def parse_index(data: bytes, digest: Digest | str) -> Index:
    """An index's bytes as a value; ``digest`` names it in errors. ``Invalid``, ``Unsupported``."""
    what = f"index {digest}"
    _check_kind(data, what)
    return document.decode(data, Index, what)


def is_index(data: bytes) -> bool:
    """Whether a document of unknown media type is an index, by what it says or else by its members."""
    kind = document.decode(data, _Kind, "manifest or index")
    if kind.media_type:
        return kind.media_type in media.INDEXES
    return kind.manifests is not None and kind.layers is None


def choose(index: Index, want: Platform, what: str) -> Descriptor:
    """The manifest that suits a platform best, the first of equals; ``NotFound`` lists what ``what`` has instead."""
    fits = [
        (fit(want, entry.platform) if entry.platform else 1000, number, entry)
        for number, entry in enumerate(index.manifests)
    ]
    suitable = [(distance, number, entry) for distance, number, entry in fits if distance is not None]
    if not suitable:
        have = ", ".join(sorted({str(entry.platform) for entry in index.manifests if entry.platform})) or "nothing"
        raise NotFound(f"{what} has no image for {want}; it has {have}", "choose one with --platform")
    return min(suitable)[2]


def _check_kind(data: bytes, what: str) -> None:
    if len(data) > MAX_BYTES:
        raise Invalid(f"{what} is larger than {MAX_BYTES >> 20} MiB")
    kind = document.decode(data, _Kind, what)
    if kind.schema_version == 1 or kind.media_type in media.DOCKER_SCHEMA_1:
        raise Unsupported(f"{what} is Docker's schema 1", "push the image again with a Docker of version 1.10 or later")
