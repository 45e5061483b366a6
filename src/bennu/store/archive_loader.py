"""Images out of an archive into the store, each visible only once it is whole.

A layer that the store has is not unpacked again. One that it lacks becomes a snapshot, and its diff_id is checked on
the way. The archive's own bytes of a layer are kept only where the snapshot does not give them again: where they are
compressed, or were not written in the canonical form. So a layer leaves as it came, and none is stored twice without
need. A load that fails leaves what was there before, and nothing that the next sweep would not take.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO

from bennu.digest import Digest
from bennu.oci import media
from bennu.oci.descriptor import Descriptor
from bennu.oci.document import encode
from bennu.oci.manifest import new_manifest
from bennu.oci.platform import Platform
from bennu.store.archive_layout import opened_layout
from bennu.store.archive_reader import Archive, Found, FoundIndex, FoundLayer, find_image, find_images
from bennu.store.archive_tar import opened
from bennu.store.base import CommittedSnapshot, LayerInfo
from bennu.store.compression import decompressed
from bennu.store.images import Image, Images
from bennu.store.operations import Operations


class Loader:
    """Loads archives into one root. ``temporary`` is where an archive that cannot be sought in is spooled."""

    def __init__(self, images: Images, operations: Operations, temporary: Path) -> None:
        self._images = images
        self._blobs = images.blobs
        self._snapshots = images.snapshots
        self._layers = images.layers
        self._operations = operations
        self._temporary = temporary

    def load(
        self, source: Path | IO[bytes], host: Platform, *, only: Platform | None = None
    ) -> Iterator[tuple[Image, Found]]:
        """Load each image of an archive, and say what it has become as soon as it is there.

        Of images for several platforms all are loaded, or the one for ``only``; ``host`` is what runs them. ``Invalid``
        and ``Corrupt`` name the archive; images before the bad one stay.
        """
        with self._operations.under_way("load"), opened(source, self._temporary) as archive:
            for found in find_images(archive, only or host, every=only is None):
                if found.group is None:
                    yield self._image(archive, found), found
                else:
                    yield self._index(archive, found.group, host, found)

    def _index(self, archive: Archive, group: FoundIndex, host: Platform, found: Found) -> tuple[Image, Found]:
        for member in group.members:
            self._image(archive, member)
        index = self._images.indexes.put(group.data, host, names=found.names)
        return self._images.get(index.preferred), found

    def load_layout(self, path: Path, wanted: str | Digest, platform: Platform, *, by_digest: bool = False) -> Image:
        """Load the image with a tag or a digest out of a directory that is an OCI layout; it gets no name.

        Call it inside ``Operations.under_way``. ``NotFound``, ``Invalid`` and ``Corrupt`` name the directory.
        """
        with opened_layout(path) as layout:
            return self._image(layout, find_image(layout, wanted, platform, by_digest=by_digest))

    def _image(self, archive: Archive, found: Found) -> Image:
        infos: list[LayerInfo] = []
        snapshot: CommittedSnapshot | None = None
        for number, layer in enumerate(found.layers):
            diff_ids = [each.diff_id for each in found.layers[: number + 1]]
            below, snapshot = snapshot, self._layers.snapshot_of(diff_ids)
            if snapshot is None:
                with archive.open(layer.member) as raw, decompressed(raw, f"layer {layer.diff_id}") as plain:
                    snapshot = self._layers.unpack(plain, below, layer.diff_id)
            infos.append(self._layers.info(snapshot))
            self._keep_bytes(archive, layer, snapshot)
        self._snapshots.sync()
        with self._blobs.spared():
            config = self._blobs.write(found.config_bytes)
            manifest = found.manifest or encode(
                new_manifest(
                    Descriptor(media.OCI_CONFIG, config.digest, config.size_bytes),
                    tuple(Descriptor(media.OCI_LAYER, info.diff_id, info.size_bytes) for info in infos),
                )
            )
            return self._images.put(manifest, infos, names=found.names)

    def _keep_bytes(self, archive: Archive, layer: FoundLayer, snapshot: CommittedSnapshot) -> None:
        """Store a layer's own bytes unless its snapshot gives them again."""
        descriptor = layer.descriptor
        if descriptor is not None and descriptor.digest != layer.diff_id:
            if not self._blobs.touch(descriptor.digest):
                with archive.open(layer.member) as raw:
                    self._blobs.ingest(raw, expected=descriptor.digest, size_bytes=descriptor.size_bytes)
        elif not self._layers.is_canonical(snapshot) and not self._blobs.touch(layer.diff_id):
            with archive.open(layer.member) as raw, decompressed(raw, f"layer {layer.diff_id}") as plain:
                self._blobs.ingest(plain, expected=layer.diff_id)
