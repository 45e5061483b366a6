"""Images out of the store into a registry: what is there is not sent, what another repository there has is mounted.

A layer that came compressed goes back byte for byte. One that was made here is compressed on its way, while it is read
and sent, and what it became is remembered: it goes again without being compressed. The manifest follows when all that
it names is there; an index follows its images. Source: OCI distribution specification 1.1, "Push".
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from typing import IO, Final, NamedTuple

import msgspec

from bennu.digest import Digest, digest_of
from bennu.errors import Corrupt, Failed, NotFound, Unavailable
from bennu.oci import media
from bennu.oci.descriptor import Descriptor
from bennu.oci.document import encode
from bennu.oci.manifest import parse_manifest
from bennu.oci.reference import Reference
from bennu.registry.compressing import Compressed, Compression
from bennu.registry.pull import Listener, Silent
from bennu.registry.registries import Registries
from bennu.registry.repository import Repository, Upload
from bennu.registry.sent import Sent
from bennu.registry.transport import CANCELLED, CHUNK_BYTES
from bennu.registry.workers import Workers
from bennu.store.base import BlobInfo
from bennu.store.compression import MAGIC_BYTES, sniff
from bennu.store.images import Image, ImageLayer, Images
from bennu.store.operations import Operations

AT_ONCE: Final = 3
ATTEMPTS: Final = 4
MOST_MOUNTS: Final = 3
_COMPRESSED: Final = {"gzip": media.OCI_LAYER_GZIP, "zstd": media.OCI_LAYER_ZSTD, "none": media.OCI_LAYER}

Open = Callable[[], AbstractContextManager[IO[bytes]]]


class Pushed(NamedTuple):
    """What a name points at in the registry now. ``images`` counts those of an index."""

    digest: Digest
    size_bytes: int
    images: int = 1


class Pusher:
    """Pushes out of one store, to all registries."""

    def __init__(
        self,
        registries: Registries,
        images: Images,
        operations: Operations,
        sent: Sent,
        listener: Listener | None = None,
        *,
        compression: Compression | None = None,
    ) -> None:
        self._registries = registries
        self._images = images
        self._operations = operations
        self._sent = sent
        self._listener = listener or Silent()
        self._compression = compression or Compression()

    def push(self, image: Image, target: Reference, *, index: Digest | None = None) -> Pushed:
        """Send an image, or an index with all of its images that the store has, and name it. ``Unavailable``."""
        repository = self._registries.target(target)
        tag = target.tagged().tag or "latest"
        with self._operations.under_way("push"):
            group = None if index is None else self._images.indexes.get(index)
            whole = None if group is None else self._whole(group.digest)
            if group is None or whole is None:
                descriptor = self._image(repository, image, tag)
                self._sent.remember(target, image.manifest, descriptor.digest)
                return Pushed(descriptor.digest, descriptor.size_bytes)
            members = {member: self._image(repository, self._images.get(member), None) for member in group.images}
            data = self._rewritten(group.digest, members)
            digest = repository.put_manifest(tag, data, media.OCI_INDEX)
            self._sent.remember(target, group.digest, digest)
            return Pushed(digest, len(data), len(members))

    def _whole(self, index: Digest) -> Digest | None:
        """The index if the store has all of its images: one that was pulled for one platform goes as that image."""
        _, parsed = self._images.indexes.read(index)
        wanted = {each.digest for each in parsed.manifests if not (each.platform and each.platform.os == "unknown")}
        return index if wanted == set(self._images.indexes.get(index).images) else None

    def _rewritten(self, index: Digest, members: dict[Digest, Descriptor]) -> bytes:
        """The index with what its images are called in the registry; the same bytes where nothing differs."""
        data, parsed = self._images.indexes.read(index)
        if all(member == sent.digest for member, sent in members.items()) and len(members) == len(parsed.manifests):
            return data
        manifests = tuple(
            msgspec.structs.replace(
                each,
                digest=members[each.digest].digest,
                size_bytes=members[each.digest].size_bytes,
                media_type=members[each.digest].media_type,
            )
            for each in parsed.manifests
            if each.digest in members
        )
        return encode(msgspec.structs.replace(parsed, manifests=manifests, media_type=media.OCI_INDEX))

    def _image(self, repository: Repository, image: Image, tag: str | None) -> Descriptor:
        data = self._images.manifest_bytes(image)
        manifest = parse_manifest(data, image.manifest)
        layers = self._layers(repository, image, manifest.layers)
        self._document(repository, manifest.config)
        if layers != manifest.layers:
            kind = media.OCI_MANIFEST
            data = encode(msgspec.structs.replace(manifest, layers=layers, media_type=kind))
        else:
            kind = manifest.media_type or media.OCI_MANIFEST
        digest = image.manifest if layers == manifest.layers else None
        name = tag or digest or digest_of(data)
        return Descriptor(kind, repository.put_manifest(name, data, kind), len(data))

    def _document(self, repository: Repository, config: Descriptor) -> None:
        if not repository.has_blob(config.digest):
            self._upload(repository, config.digest, config.size_bytes, lambda: self._images.open_blob(config.digest))

    def _layers(
        self, repository: Repository, image: Image, descriptors: tuple[Descriptor, ...]
    ) -> tuple[Descriptor, ...]:
        found: dict[int, Descriptor] = {}
        first = {each.digest: number for number, each in reversed(list(enumerate(descriptors)))}
        with Workers(AT_ONCE, self._registries.cancel) as workers:
            jobs = []
            for number in first.values():
                layer, descriptor = image.layers[number], descriptors[number]
                self._listener.layer(descriptor.digest, "waiting", 0, layer.size_bytes)

                def work(number: int = number, layer: ImageLayer = layer, each: Descriptor = descriptor) -> None:
                    workers.check()
                    found[number] = self._layer(repository, layer, each, workers.stop)

                jobs.append(workers.submit(work))
            for each in jobs:
                each.result()
        return tuple(found[first[each.digest]] for each in descriptors)

    # one layer

    def _layer(
        self, repository: Repository, layer: ImageLayer, descriptor: Descriptor, stop: threading.Event
    ) -> Descriptor:
        """See to it that a repository has a layer; how its manifest is to name it."""
        as_stored = self._stored(layer, descriptor)
        if as_stored is not None:
            if not self._is_there(repository, as_stored.digest, layer):
                self._upload(
                    repository,
                    as_stored.digest,
                    as_stored.size_bytes,
                    lambda: self._images.blobs.open(as_stored.digest),
                    lambda count: self._listener.layer(descriptor.digest, "downloading", count, as_stored.size_bytes),
                )
            return as_stored
        kind = str(self._compression)
        known = self._sent.compressed(layer.diff_id, kind)
        if known is not None and self._is_there(repository, known.digest, layer):
            return self._described(descriptor, known)
        blob = self._compress(repository, layer, descriptor, stop)
        if blob != known:
            self._sent.remember_compressed(layer.diff_id, kind, blob)
        return self._described(descriptor, blob)

    def _stored(self, layer: ImageLayer, descriptor: Descriptor) -> Descriptor | None:
        """The layer as the bytes that came from elsewhere; None where it was made here and never compressed."""
        if descriptor.digest != layer.diff_id:
            if self._images.blobs.stat(descriptor.digest) is None:
                raise Corrupt(f"layer {descriptor.digest} is not in the store any more", "load or pull its image again")
            return descriptor
        for blob in self._images.stored_layers(layer.diff_id):
            if blob.digest != layer.diff_id:
                with self._images.blobs.open(blob.digest) as stream:
                    form = sniff(stream.read(MAGIC_BYTES))
                if form in {"gzip", "zstd"}:
                    return Descriptor(_COMPRESSED[form], blob.digest, blob.size_bytes)
        return None

    def _described(self, descriptor: Descriptor, blob: BlobInfo) -> Descriptor:
        kind = _COMPRESSED[self._compression.kind]
        return msgspec.structs.replace(descriptor, media_type=kind, digest=blob.digest, size_bytes=blob.size_bytes)

    def _is_there(self, repository: Repository, digest: Digest, layer: ImageLayer) -> bool:
        """Whether a blob is in the repository, or can be had from another one of the registry."""
        if repository.has_blob(digest):
            self._listener.layer(layer.blob, "there", 0, layer.size_bytes)
            return True
        domain = repository.transport.endpoint.domain
        others = [path for path in self._sent.holders(domain, layer.diff_id) if path != repository.path]
        for path in others[:MOST_MOUNTS]:
            try:
                upload = repository.mount(digest, path)
            except (Unavailable, NotFound):  # we may not read there
                continue
            if upload is None:
                self._listener.layer(layer.blob, "there", 0, layer.size_bytes)
                return True
            repository.cancel_upload(upload)
        return False

    def _compress(
        self, repository: Repository, layer: ImageLayer, descriptor: Descriptor, stop: threading.Event
    ) -> BlobInfo:
        """Send a layer while it is compressed; after a cut from the beginning, since its bytes are kept nowhere."""
        for attempt in range(ATTEMPTS):
            compressed = Compressed(self._compression)

            def body(compressed: Compressed = compressed) -> Generator[bytes, None, None]:
                with self._images.open_diff(layer.diff_id) as plain:
                    for piece in compressed.pieces(plain):
                        if stop.is_set():
                            raise Failed("cancelled", status=CANCELLED)
                        yield piece
                        self._listener.layer(descriptor.digest, "downloading", compressed.taken_bytes, layer.size_bytes)

            try:
                upload = repository.send(repository.begin_upload(), body)
                blob = compressed.finish()
                repository.finish_upload(upload, blob.digest)
            except Unavailable:
                if attempt + 1 == ATTEMPTS:
                    raise
            else:
                self._listener.layer(descriptor.digest, "done", layer.size_bytes, layer.size_bytes)
                return blob
        raise Failed("cancelled", status=CANCELLED)

    def _upload(
        self,
        repository: Repository,
        digest: Digest,
        size_bytes: int,
        opened: Open,
        progress: Callable[[int], None] = lambda _bytes: None,
    ) -> None:
        """Send stored bytes in one piece; after a cut from where the registry has got to, if it can say so."""

        def body(offset: int) -> Callable[[], Generator[bytes, None, None]]:
            return lambda: _pieces(opened, offset, progress)

        upload: Upload | None = None
        for attempt in range(ATTEMPTS):
            last = attempt + 1 == ATTEMPTS
            try:
                upload = self._resumed(repository, upload) or repository.begin_upload()
                if upload.offset == 0:
                    repository.finish_upload(upload, digest, body(0), size_bytes)
                elif upload.offset < size_bytes:
                    left = size_bytes - upload.offset
                    repository.finish_upload(repository.send(upload, body(upload.offset), left), digest)
                else:
                    repository.finish_upload(upload, digest)
            except (Unavailable, NotFound):
                if last or repository.has_blob(digest):
                    if last:
                        raise
                    return
            else:
                return

    def _resumed(self, repository: Repository, upload: Upload | None) -> Upload | None:
        """An upload as far as it has got; None where there is none, or the registry has dropped it."""
        if upload is None:
            return None
        try:
            found = repository.status(upload)
        except (Unavailable, NotFound):
            return None
        return found if found.offset else None


def _pieces(opened: Open, offset: int, progress: Callable[[int], None]) -> Generator[bytes, None, None]:
    with opened() as stream:
        count = 0
        while chunk := stream.read(CHUNK_BYTES):
            count += len(chunk)
            if count > offset:
                yield chunk[max(0, offset - count + len(chunk)) :]
                progress(count)
