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
    """An image to be written, and the names that it is to have in the archive: none where it was named by its ID.

    With ``index`` all images of the index are written, and the names are the index's; the docker-archive's part, which
    knows no index, gives them to ``image``.
    """

    image: Image
    names: tuple[Reference, ...]
    index: Digest | None = None


class DockerEntry(msgspec.Struct, frozen=True, rename="pascal"):
    """One image of a docker-archive's ``manifest.json``: paths in the archive, the lowest layer first."""

    config: str
    repo_tags: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()


def write_archive(images: Images, selections: Sequence[Selection], sink: IO[bytes], *, docker: bool = True) -> None:
    """Write images to ``sink``. ``Corrupt`` if a stored layer is not what its manifest says.

    ``docker`` off leaves the docker-archive's part out, so that it is an OCI layout and nothing else.
    """
    writer = _Writer(sink)
    writer.document("oci-layout", _LAYOUT)
    writer.document("index.json", layout_index(images, selections))
    if docker:
        entries = [
            DockerEntry(
                _path(each.image.id),
                tuple(name.familiar for name in each.names),
                tuple(_path(layer.blob) for layer in each.image.layers),
            )
            for each in selections
        ]
        writer.document("manifest.json", msgspec.json.encode(entries))
    blobs = [blob for selection in selections for blob in selected_blobs(images, selection)]
    for directory in _directories(blobs):
        sink.write(header(directory, 0, directory=True))
    for blob in blobs:
        writer.blob(*blob)
    sink.write(END)


def layout_index(images: Images, selections: Sequence[Selection]) -> bytes:
    """The ``index.json`` of an OCI layout with these images."""
    descriptors = [descriptor for selection in selections for descriptor in _descriptors(images, selection)]
    return encode(new_index(tuple(descriptors)))


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


Blob = tuple[Digest, int, Callable[[], AbstractContextManager[IO[bytes]]]]
"""A blob to be written: its digest, its size in bytes and how to open it."""


def selected_blobs(images: Images, selection: Selection) -> Iterator[Blob]:
    """The blobs of a selection: for each image manifest, configuration and layers; an index before its images."""
    every = [selection.image]
    if selection.index is not None:
        index = images.indexes.get(selection.index)
        data, _ = images.indexes.read(index.digest)
        yield index.digest, len(data), lambda: images.open_blob(index.digest)
        every = [images.get(manifest) for manifest in index.images]
    for image in every:
        yield from _blobs(images, image)


def _blobs(images: Images, image: Image) -> Iterator[Blob]:
    manifest = images.manifest_bytes(image)
    parsed = parse_manifest(manifest, image.manifest)
    yield image.manifest, len(manifest), lambda: images.open_blob(image.manifest)
    yield image.id, parsed.config.size_bytes, lambda: images.open_blob(image.id)
    for layer, descriptor in zip(image.layers, parsed.layers, strict=True):
        yield layer.blob, descriptor.size_bytes, _opener(images, layer)


def _opener(images: Images, layer: ImageLayer) -> Callable[[], AbstractContextManager[IO[bytes]]]:
    return lambda: images.open_layer(layer)


def _descriptors(images: Images, selection: Selection) -> list[Descriptor]:
    """How ``index.json`` lists an image or an index: once for each name, or once without one."""
    annotations = [{IMAGE_NAME: name.name, REF_NAME: name.tag or ""} for name in selection.names] or [{}]
    if selection.index is not None:
        data, index = images.indexes.read(selection.index)
        kind = index.media_type or media.OCI_INDEX
        return [Descriptor(kind, selection.index, len(data), annotations=each) for each in annotations]
    described = images.indexes.describe(selection.image)
    return [msgspec.structs.replace(described, annotations=each) for each in annotations]


def _directories(blobs: Sequence[Blob]) -> list[str]:
    kinds = {algorithm(digest) for digest, _, _ in blobs}
    return ["blobs/", *(f"blobs/{kind}/" for kind in sorted(kinds | {"sha256"}))]


def _path(digest: Digest) -> str:
    return f"blobs/{algorithm(digest)}/{encoded(digest)}"
