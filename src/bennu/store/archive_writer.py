"""Images written as one tar that is an OCI layout and a docker-archive at once, as Docker since version 25 writes it.

So Docker, Podman and skopeo each find the form that they know. The layers are written straight from where they are
kept, never held in memory; what goes out is hashed on the way and must have the digest that the manifest gives.
Source: OCI image specification, image-layout.md; Moby image specification v1.2, "Combined Image JSON + Filesystem
Changeset Format".
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO, Final

import msgspec

from bennu.digest import Digest, algorithm, digest_of, encoded, finish, new_hash
from bennu.errors import Conflict, Corrupt
from bennu.host import files
from bennu.oci import media
from bennu.oci.descriptor import IMAGE_NAME, REF_NAME, Descriptor
from bennu.oci.document import encode
from bennu.oci.manifest import Index, new_index, parse_index, parse_manifest
from bennu.oci.reference import Reference
from bennu.store.archive_tar import END, header, padding
from bennu.store.images import Image, ImageLayer, Images

_CHUNK: Final = 1 << 20
_LAYOUT: Final = b'{"imageLayoutVersion":"1.0.0"}'


class Group(msgspec.Struct, frozen=True):
    """An index that is written with its images: its bytes, and those of its images that are there."""

    data: bytes
    digest: Digest
    media_type: str
    images: tuple[Image, ...]

    @classmethod
    def of(cls, index: Index | bytes, images: Sequence[Image]) -> Group:
        """The group of an index that is new, or that is kept as these bytes."""
        data = index if isinstance(index, bytes) else encode(index)
        digest = digest_of(data)
        return cls(data, digest, parse_index(data, digest).media_type or media.OCI_INDEX, tuple(images))

    def descriptor(self, annotations: Mapping[str, str]) -> Descriptor:
        """How it is referred to."""
        return Descriptor(self.media_type, self.digest, len(self.data), annotations=dict(annotations))


class Selection(msgspec.Struct, frozen=True):
    """An image to be written, and the names that it is to have in the archive: none where it was named by its ID.

    With ``group`` all images of an index are written, and the names are the index's; the docker-archive's part, which
    knows no index, gives them to ``image``.
    """

    image: Image
    names: tuple[Reference, ...]
    group: Group | None = None


class DockerEntry(msgspec.Struct, frozen=True, rename="pascal"):
    """One image of a docker-archive's ``manifest.json``: paths in the archive, the lowest layer first."""

    config: str
    repo_tags: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()


def write_archive(
    images: Images,
    selections: Sequence[Selection],
    sink: IO[bytes],
    *,
    docker: bool = True,
    annotations: Mapping[str, str] = {},
) -> None:
    """Write images to ``sink``. ``Corrupt`` if a stored layer is not what its manifest says.

    ``docker`` off leaves the docker-archive's part out, so that it is an OCI layout and nothing else. ``annotations``
    stand in ``index.json`` beside each image's name.
    """
    writer = _Writer(sink)
    writer.document("oci-layout", _LAYOUT)
    writer.document("index.json", encode(new_index(_listed(images, selections, annotations))))
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
    blobs = [blob for selection in selections for blob in _selected(images, selection)]
    for directory in _directories(blobs):
        sink.write(header(directory, 0, directory=True))
    for blob in blobs:
        writer.blob(*blob)
    sink.write(END)


def write_layout(images: Images, selection: Selection, path: Path, annotations: Mapping[str, str] = {}) -> None:
    """Write an image into a directory as an OCI layout, beside what a layout there holds already under other names.

    ``index.json`` comes last, so that a layout never lists what is not whole. ``Conflict`` where the directory is
    something else; ``Corrupt`` as ``write_archive``.
    """
    place = path / "index.json"
    before: tuple[Descriptor, ...] = ()
    if place.exists():
        before = parse_index(place.read_bytes(), f"{place}").manifests
    elif path.is_dir() and any(path.iterdir()):
        raise Conflict(f"directory {str(path)!r} is not empty, and no OCI layout", "name another one")
    path.mkdir(parents=True, exist_ok=True)
    for digest, size_bytes, opened in _selected(images, selection):
        blob = path / _path(digest)
        blob.parent.mkdir(parents=True, exist_ok=True)
        if not blob.exists():
            with files.replacing(blob) as sink:
                _copy(digest, size_bytes, opened, sink)
    files.write_atomic(path / "oci-layout", _LAYOUT, durable=False)
    new = _listed(images, [selection], annotations)
    taken = {each.annotations.get(IMAGE_NAME) for each in new} - {None}
    digests = {each.digest for each in new}
    kept = tuple(
        each
        for each in before
        if each.annotations.get(IMAGE_NAME) not in taken and (each.digest not in digests or each.annotations)
    )
    files.write_atomic(place, encode(new_index((*kept, *new))), durable=False)


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
        _copy(digest, size_bytes, opened, self._sink)
        self._sink.write(padding(size_bytes))


def _copy(
    digest: Digest, size_bytes: int, opened: Callable[[], AbstractContextManager[IO[bytes]]], sink: IO[bytes]
) -> None:
    """Copy a blob, and make sure that it is what it is called. ``Corrupt``."""
    running = new_hash(digest)
    count = 0
    with opened() as stream:
        while chunk := stream.read(_CHUNK):
            running.update(chunk)
            sink.write(chunk)
            count += len(chunk)
    if count != size_bytes or finish(running, algorithm(digest)) != digest:
        raise Corrupt(f"layer {digest} is damaged in the store", "load, pull or build its image again")


Blob = tuple[Digest, int, Callable[[], AbstractContextManager[IO[bytes]]]]
"""A blob to be written: its digest, its size in bytes and how to open it."""


def _selected(images: Images, selection: Selection) -> Iterator[Blob]:
    """The blobs of a selection: for each image manifest, configuration and layers; an index before its images."""
    group = selection.group
    if group is None:
        yield from _blobs(images, selection.image)
        return
    yield group.digest, len(group.data), lambda: nullcontext(io.BytesIO(group.data))
    for image in group.images:
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


def _listed(images: Images, selections: Sequence[Selection], annotations: Mapping[str, str]) -> tuple[Descriptor, ...]:
    """How ``index.json`` lists images and indexes: once for each name, or once without one."""
    found: list[Descriptor] = []
    for selection in selections:
        group = selection.group
        one = images.indexes.describe(selection.image) if group is None else group.descriptor({})
        names = [{IMAGE_NAME: name.name, REF_NAME: name.tag or ""} for name in selection.names] or [{}]
        found += [msgspec.structs.replace(one, annotations={**annotations, **name}) for name in names]
    return tuple(found)


def _directories(blobs: Sequence[Blob]) -> list[str]:
    kinds = {algorithm(digest) for digest, _, _ in blobs}
    return ["blobs/", *(f"blobs/{kind}/" for kind in sorted(kinds | {"sha256"}))]


def _path(digest: Digest) -> str:
    return f"blobs/{algorithm(digest)}/{encoded(digest)}"
