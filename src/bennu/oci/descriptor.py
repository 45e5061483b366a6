"""Descriptors: how one document points at another: media type, digest and size.

Source: OCI image specification, descriptor.md and annotations.md. A descriptor's digest is checked when the value is
made, since digests become paths and addresses further on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from bennu.digest import Digest, parse_digest
from bennu.errors import Invalid
from bennu.oci.platform import Platform

REF_NAME: Final = "org.opencontainers.image.ref.name"
"""The annotation with a manifest's tag in an OCI layout's index."""
IMAGE_NAME: Final = "io.containerd.image.name"
"""The annotation with a manifest's full reference, as containerd and Docker write it."""


class Descriptor(
    msgspec.Struct,
    frozen=True,
    omit_defaults=True,
    rename={"media_type": "mediaType", "size_bytes": "size", "artifact_type": "artifactType"},
):
    """A pointer to a blob. ``size_bytes`` is of the blob as it is stored; ``data`` may hold the blob itself."""

    media_type: str
    digest: Digest
    size_bytes: int
    urls: tuple[str, ...] = ()
    annotations: Mapping[str, str] = msgspec.field(default_factory=dict)
    data: bytes = b""
    platform: Platform | None = None
    artifact_type: str = ""

    def __post_init__(self) -> None:
        parse_digest(self.digest)
        if self.size_bytes < 0:
            raise Invalid(f"descriptor of {self.digest} has the size {self.size_bytes}")
