"""Images written as one tar that is an OCI layout and a docker-archive at once, as Docker since version 25 writes it.

So Docker, Podman and skopeo each find the form that they know. The layers are written straight from where they are
kept, never held in memory; what goes out is hashed on the way and must have the digest that the manifest gives.
Source: OCI image specification, image-layout.md; Moby image specification v1.2, "Combined Image JSON + Filesystem
Changeset Format".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import IO, Final

import msgspec

from bennu.digest import Digest, algorithm, encoded, finish, new_hash
from bennu.errors import Corrupt
from bennu.oci import media
from bennu.oci.descriptor import IMAGE_NAME, REF_NAME, Descriptor
from bennu.oci.document import encode
from bennu.oci.manifest import new_index, parse_manifest
from bennu.oci.reference import Reference
from bennu.store.archive_tar import END, header, padding
from bennu.store.images import Image, ImageLayer, Images

_CHUNK: Final = 1 << 20
_LAYOUT: Final = b'{"imageLayoutVersion":"1.0.0"}'


class Selection(msgspec.Struct, frozen=True):
    """An image to be written, and the names that it is to have in the archive: none where it was named by its ID."""

    image: Image
    names: tuple[Reference, ...]


class DockerEntry(msgspec.Struct, frozen=True, rename="pascal"):
    """One image of a docker-archive's ``manifest.json``: paths in the archive, the lowest layer first."""

    config: str
    repo_tags: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()


def write_archive(images: Images, selections: Sequence[Selection], sink: IO[bytes]) -> None:
    """Write images to ``sink``. ``Corrupt`` if a stored layer is not what its manifest says."""
    descriptors: list[Descriptor] = []
    entries: list[DockerEntry] = []
    for selection in selections:
        descriptors += _descriptors(images, selection)
        image = selection.image
        tags = tuple(name.familiar for name in selection.names)
        entries.append(DockerEntry(_path(image.id), tags, tuple(_path(layer.blob) for layer in image.layers)))
    writer = _Writer(sink)
    writer.document("oci-layout", _LAYOUT)
    writer.document("index.json", encode(new_index(tuple(descriptors))))
    writer.document("manifest.json", msgspec.json.encode(entries))
    for directory in _directories(selections):
        sink.write(header(directory, 0, directory=True))
    for selection in selections:
        for digest, size_bytes, opened in _blobs(images, selection.image):
            writer.blob(digest, size_bytes, opened)
    sink.write(END)


class _Writer:
    def __init__(self, sink: IO[bytes]) -> None:
        self._sink = sink
        self._written: set[Digest] = set()

    def document(self, name: str, data: bytes) -> None:
        self._sink.write(header(name, len(data)) + data + padding(len(data)))

    def blob(self, digest: Digest, size_bytes: int, opened: Callable[[], AbstractContextManager[IO[bytes]]]) -> None:
        """One blob, unless an image before this one had it."""
        if digest in self._written:
            return
        self._written.add(digest)
        self._sink.write(header(_path(digest), size_bytes))
        running = new_hash(digest)
        count = 0
        with opened() as stream:
            while chunk := stream.read(_CHUNK):
                running.update(chunk)
                self._sink.write(chunk)
                count += len(chunk)
        if count != size_bytes or finish(running, algorithm(digest)) != digest:
            raise Corrupt(f"layer {digest} is damaged in the store", "load, pull or build its image again")
        self._sink.write(padding(size_bytes))


def _blobs(
    images: Images, image: Image
) -> Iterator[tuple[Digest, int, Callable[[], AbstractContextManager[IO[bytes]]]]]:
    """The blobs of an image with their sizes and how to open them: manifest, configuration, layers."""
    manifest = images.manifest_bytes(image)
    parsed = parse_manifest(manifest, image.manifest)
    yield image.manifest, len(manifest), lambda: images.open_blob(image.manifest)
    yield image.id, parsed.config.size_bytes, lambda: images.open_blob(image.id)
    for layer, descriptor in zip(image.layers, parsed.layers, strict=True):
        yield layer.blob, descriptor.size_bytes, _opener(images, layer)


def _opener(images: Images, layer: ImageLayer) -> Callable[[], AbstractContextManager[IO[bytes]]]:
    return lambda: images.open_layer(layer)


def _descriptors(images: Images, selection: Selection) -> list[Descriptor]:
    """How the index lists an image: once for each name, or once without one."""
    image = selection.image
    manifest = images.manifest_bytes(image)
    media_type = parse_manifest(manifest, image.manifest).media_type or media.OCI_MANIFEST
    annotations = [{IMAGE_NAME: name.name, REF_NAME: name.tag or ""} for name in selection.names] or [{}]
    return [
        Descriptor(
            media_type, image.manifest, len(manifest), annotations=each, platform=image.config.platform.normalised()
        )
        for each in annotations
    ]


def _directories(selections: Sequence[Selection]) -> list[str]:
    kinds = {algorithm(digest) for one in selections for digest in (one.image.manifest, *_layer_blobs(one.image))}
    return ["blobs/", *(f"blobs/{kind}/" for kind in sorted(kinds | {"sha256"}))]


def _layer_blobs(image: Image) -> tuple[Digest, ...]:
    return tuple(layer.blob for layer in image.layers)


def _path(digest: Digest) -> str:
    return f"blobs/{algorithm(digest)}/{encoded(digest)}"
