"""Images out of a registry into the store: layers fetched several at once, each unpacked while it arrives.

Layers are unpacked from the lowest up, since a whiteout means what lies under it; the next ones arrive meanwhile. A
layer that the store has is not fetched again. Bytes of a layer are kept where its snapshot does not give them again, so
that it leaves as it came. Nothing has a name before all of it is there, and what a failure leaves goes with the next
sweep.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from typing import Final, Literal, NamedTuple, Protocol

from bennu.digest import Digest
from bennu.errors import BennuError, Corrupt, Invalid, NotFound, Unavailable, Unsupported
from bennu.oci import media
from bennu.oci.descriptor import Descriptor
from bennu.oci.image_config import ImageConfig, parse_config
from bennu.oci.manifest import Manifest, choose, parse_index, parse_manifest
from bennu.oci.platform import Platform
from bennu.oci.reference import Reference
from bennu.registry.download import Download, Progress
from bennu.registry.registries import Registries
from bennu.registry.repository import Document, Repository, first_answer
from bennu.registry.sent import Sent
from bennu.registry.workers import Workers
from bennu.store.base import CommittedSnapshot, LayerInfo
from bennu.store.blobs import FileBlobs
from bennu.store.compression import decompressed
from bennu.store.images import Image, Images
from bennu.store.operations import Operations

AT_ONCE: Final = 4
MAX_LAYERS: Final = 500
MAX_DEPTH: Final = 4
State = Literal["waiting", "downloading", "unpacking", "done", "there"]


class Listener(Protocol):
    """Who is told how a transfer goes; called from several threads."""

    def layer(self, digest: Digest, state: State, done_bytes: int, size_bytes: int) -> None:
        """News of one layer."""


class Silent:
    """A listener that nobody hears."""

    def layer(self, digest: Digest, state: State, done_bytes: int, size_bytes: int) -> None:
        """Nothing."""


class Pulled(NamedTuple):
    """What a pull came to. ``digest`` is the one that the name has in the registry: an image's or an index's."""

    image: Image
    digest: Digest
    is_new: bool


class _Wanted(NamedTuple):
    """An image to fetch: its documents, checked against each other."""

    document: Document
    manifest: Manifest
    config_bytes: bytes
    config: ImageConfig


class Puller:
    """Pulls into one store, from all registries."""

    def __init__(
        self,
        registries: Registries,
        images: Images,
        blobs: FileBlobs,
        operations: Operations,
        *,
        sent: Sent,
        listener: Listener | None = None,
    ) -> None:
        self._registries = registries
        self._images = images
        self._blobs = blobs
        self._operations = operations
        self._sent = sent
        self._listener = listener or Silent()

    def look(self, reference: Reference) -> Descriptor:
        """What a name points at in the registry now. ``NotFound``, ``Unavailable``."""
        last: BennuError | None = None
        for source in self._registries.sources(reference):
            try:
                found = source.find_manifest(_asked(reference))
            except Unavailable as error:
                last = error
                continue
            if found is not None:
                return found
            last = NotFound(f"image {reference.familiar!r} is not in the registry")
        raise last or NotFound(f"image {reference.familiar!r} is not in the registry")

    def pull(
        self, reference: Reference, host: Platform, *, platform: Platform | None = None, every: bool = False
    ) -> Pulled:
        """Fetch an image: that of an index for ``platform``, else for ``host``, which is to run it; or ``every`` one.

        The name that it is asked by becomes its name, unless that has a digest.
        """
        with self._operations.under_way("pull"):
            sources, document = self._manifest(reference)
            names = () if reference.digest else (reference.tagged(),)
            if document.media_type not in media.INDEXES:
                image, is_new = self._image(sources, document, names)
                pulled = Pulled(image, document.digest, is_new)
            else:
                pulled = self._index(sources, document, platform or host, host, names, every=every)
            self._sent.remember(reference, pulled.digest, pulled.digest)
            return pulled

    def _manifest(self, reference: Reference) -> tuple[tuple[Repository, ...], Document]:
        """The document, and where it and all that it names is to be had."""
        sources = self._registries.sources(reference)
        for number, source in enumerate(sources):
            try:
                return sources[number:], source.manifest(_asked(reference))
            except (NotFound, Unavailable, Corrupt):
                if number + 1 == len(sources):
                    raise
        raise NotFound(f"image {reference.familiar!r} is in no registry")

    def _index(
        self,
        sources: Sequence[Repository],
        document: Document,
        wanted: Platform,
        host: Platform,
        names: tuple[Reference, ...],
        *,
        every: bool,
    ) -> Pulled:
        index = parse_index(document.data, document.digest)
        if every:
            members = [
                each
                for each in index.manifests
                if each.media_type in media.MANIFESTS and not (each.platform and each.platform.os == "unknown")
            ]
            if not members:
                raise Invalid(f"{sources[0].shown}: index {document.digest} has no image")
        else:
            members = [choose(index, wanted, f"{sources[0].shown}@{document.digest}")]
        found = [self._member(sources, member, wanted) for member in members]
        is_new = any(new for _, new in found)
        if any(image.manifest == member.digest for member, (image, _) in zip(members, found, strict=True)):
            before = {name for image, _ in found for name in image.indexed.items()}
            self._images.indexes.put(document.data, host, names=names)
            is_new = is_new or any((name.name, document.digest) not in before for name in names)
        else:  # the image stands behind an index in the index: the name is its own
            for name in names:
                self._images.tag(found[0][0].manifest, name)
        return Pulled(self._images.get(found[0][0].manifest), document.digest, is_new)

    def _member(self, sources: Sequence[Repository], member: Descriptor, wanted: Platform) -> tuple[Image, bool]:
        for _ in range(MAX_DEPTH):
            document = first_answer(sources, lambda source, digest=member.digest: source.manifest(digest))  # type: ignore[misc]
            if document.media_type not in media.INDEXES:
                return self._image(sources, document, ())
            member = choose(parse_index(document.data, document.digest), wanted, f"index {document.digest}")
        raise Invalid(f"{sources[0].shown}: indexes are nested more than {MAX_DEPTH} deep")

    # one image

    def _image(
        self, sources: Sequence[Repository], document: Document, names: tuple[Reference, ...]
    ) -> tuple[Image, bool]:
        with suppress(NotFound, Corrupt):
            image = self._images.get(document.digest)
            if self._is_whole(image):
                is_new = any(name.name not in image.names for name in names)
                for name in names:
                    self._images.tag(image.manifest, name)
                return self._images.get(image.manifest), is_new
        wanted = self._documents(sources, document)
        infos = self._layers(sources, wanted)
        self._images.snapshots.sync()
        with self._blobs.spared():
            self._blobs.write(wanted.config_bytes)
            return self._images.put(document.data, infos, names=names), True

    def _is_whole(self, image: Image) -> bool:
        kept = all(layer.blob == layer.diff_id or self._blobs.touch(layer.blob) for layer in image.layers)
        snapshot = self._images.snapshot(image)
        if snapshot is not None:
            self._images.snapshots.touch(snapshot)
        return kept and self._blobs.touch(image.manifest) and self._blobs.touch(image.id)

    def _documents(self, sources: Sequence[Repository], document: Document) -> _Wanted:
        shown = f"{sources[0].shown}@{document.digest}"
        manifest = parse_manifest(document.data, document.digest)
        if manifest.config.media_type not in media.CONFIGS:
            kind = manifest.artifact_type or manifest.config.media_type
            raise Unsupported(f"{shown} is no image but {kind!r}", "`bennu manifest inspect` shows it")
        if len(manifest.layers) > MAX_LAYERS:
            raise Unsupported(f"{shown} has {len(manifest.layers)} layers; overlayfs takes {MAX_LAYERS}")
        for layer in manifest.layers:
            if media.layer_compression(layer.media_type) is None:
                raise Unsupported(f"{shown}: layer {layer.digest} has the media type {layer.media_type!r}")
        data = first_answer(sources, lambda source: source.read_blob(manifest.config))
        config = parse_config(data, manifest.config.digest)
        if len(config.diff_ids) != len(manifest.layers):
            raise Invalid(
                f"{shown}: its configuration has {len(config.diff_ids)} layers, it has {len(manifest.layers)}"
            )
        return _Wanted(document, manifest, data, config)

    def _layers(self, sources: Sequence[Repository], wanted: _Wanted) -> list[LayerInfo]:
        """Fetch and unpack what is missing; what each layer is, the lowest first."""
        with ExitStack() as stack:
            downloads = self._begin(sources, wanted, stack)
            infos: list[LayerInfo] = []
            snapshot: CommittedSnapshot | None = None
            for number, descriptor in enumerate(wanted.manifest.layers):
                diff_ids = wanted.config.diff_ids[: number + 1]
                download = downloads.get(descriptor.digest)
                snapshot = self._layer(diff_ids, snapshot, descriptor, download)
                infos.append(self._images.layers.info(snapshot))
            return infos

    def _begin(self, sources: Sequence[Repository], wanted: _Wanted, stack: ExitStack) -> dict[Digest, _Arrival]:
        """Start to fetch what is missing, the lowest layers first."""
        workers = stack.enter_context(Workers(AT_ONCE, self._registries.cancel))
        arrivals: dict[Digest, _Arrival] = {}
        for number, descriptor in enumerate(wanted.manifest.layers):
            digest = descriptor.digest
            if digest in arrivals or not self._is_missing(wanted.config.diff_ids[: number + 1], descriptor):
                if digest not in arrivals:
                    self._listener.layer(digest, "there", descriptor.size_bytes, descriptor.size_bytes)
                continue
            path, keep = stack.enter_context(self._blobs.arriving())
            self._listener.layer(digest, "waiting", 0, descriptor.size_bytes)
            download = Download(sources, descriptor, path, workers.stop, self._reporting(descriptor))
            arrivals[digest] = _Arrival(download, keep, workers.submit(download.run))
        return arrivals

    def _reporting(self, descriptor: Descriptor) -> Progress:
        return lambda count: self._listener.layer(descriptor.digest, "downloading", count, descriptor.size_bytes)

    def _is_missing(self, diff_ids: Sequence[Digest], descriptor: Descriptor) -> bool:
        if descriptor.digest != diff_ids[-1]:
            return not self._blobs.touch(descriptor.digest) or self._images.layers.snapshot_of(diff_ids) is None
        return self._images.layers.snapshot_of(diff_ids) is None

    def _layer(
        self,
        diff_ids: Sequence[Digest],
        below: CommittedSnapshot | None,
        descriptor: Descriptor,
        arrival: _Arrival | None,
    ) -> CommittedSnapshot:
        layers, diff_id = self._images.layers, diff_ids[-1]
        what = f"layer {descriptor.digest}"
        snapshot = layers.snapshot_of(diff_ids)
        if snapshot is None and arrival is None:  # its bytes are here
            with self._blobs.open(descriptor.digest) as raw, decompressed(raw, what) as plain:
                return layers.unpack(plain, below, diff_id)
        if arrival is None:
            assert snapshot is not None
            return snapshot
        if snapshot is None:
            try:
                with arrival.download.follow() as raw, decompressed(raw, what) as plain:
                    self._listener.layer(descriptor.digest, "unpacking", 0, descriptor.size_bytes)
                    snapshot = layers.unpack(plain, below, diff_id)
            except Corrupt:
                # bytes that are wrong unpack to anything: what is wrong with them comes first
                arrival.future.result()
                raise
        arrival.future.result()
        if descriptor.digest != diff_id or not layers.is_canonical(snapshot):
            arrival.keep(descriptor.digest)
        self._listener.layer(descriptor.digest, "done", descriptor.size_bytes, descriptor.size_bytes)
        return snapshot


class _Arrival(NamedTuple):
    """A layer on its way: what fetches it, what keeps its bytes, and the thread's end."""

    download: Download
    keep: Callable[[Digest], None]
    future: Future[None]


def _asked(reference: Reference) -> str:
    return reference.digest or reference.tagged().tag or "latest"
