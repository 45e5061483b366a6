"""Indexes: images for several platforms that go by one name, of which a host runs the one that suits it.

An index is a document of its own with a digest of its own; its images are images of the store like any other. Where a
name means an index, ``Images`` finds the image that this host runs, so that nobody else needs to know. Owns the tables
``indexes`` and ``index_images``. An index goes when it has lost its names, its images with it: see ``gc``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from bennu.digest import Digest
from bennu.errors import Corrupt, NotFound
from bennu.oci import media
from bennu.oci.descriptor import Descriptor
from bennu.oci.document import encode
from bennu.oci.manifest import Index, new_index, parse_index, parse_manifest
from bennu.oci.platform import Platform, fit
from bennu.oci.reference import Reference
from bennu.store.database import Database
from bennu.store.images import Image, Images

if TYPE_CHECKING:
    from bennu.store.archive_writer import Group


class ImageIndex(msgspec.Struct, frozen=True):
    """An index of the store. ``images`` are those of its manifests that the store has, by their digests, in order."""

    digest: Digest
    preferred: Digest
    images: tuple[Digest, ...]
    names: tuple[str, ...]
    added: float


class Indexes:
    """The indexes of one root."""

    def __init__(self, database: Database, images: Images) -> None:
        self._database = database
        self._images = images

    def describe(self, image: Image, annotations: Mapping[str, str] | None = None) -> Descriptor:
        """How an index lists an image."""
        data = self._images.manifest_bytes(image)
        kind = parse_manifest(data, image.manifest).media_type or media.OCI_MANIFEST
        platform = image.config.platform.normalised()
        return Descriptor(kind, image.manifest, len(data), annotations=dict(annotations or {}), platform=platform)

    def create(
        self,
        descriptors: Sequence[Descriptor],
        host: Platform,
        *,
        names: Sequence[Reference] = (),
        annotations: Mapping[str, str] | None = None,
    ) -> ImageIndex:
        """The index of images that are in the store, and its names."""
        return self.put(encode(new_index(tuple(descriptors), annotations)), host, names=names)

    def put(self, data: bytes, host: Platform, *, names: Sequence[Reference] = ()) -> ImageIndex:
        """An index by its bytes; at least one of its images is in the store, or ``NotFound``. Names that it gets move.

        ``host`` is what it is to run on: the image that suits best stands for the index where one image is meant.
        """
        with self._images.blobs.spared():
            digest = self._images.blobs.write(data).digest
            index = parse_index(data, digest)
            members = [each for each in index.manifests if self._is_image(each.digest)]
            if not members:
                raise NotFound(f"none of the images of index {digest} is in the store")
            preferred = min(enumerate(members), key=lambda each: _distance(host, each[1], each[0]))[1]
            with self._database.transaction() as rows:
                rows.execute(
                    "INSERT INTO indexes (digest, preferred, added) VALUES (?, ?, ?)"
                    " ON CONFLICT (digest) DO UPDATE SET preferred = excluded.preferred",
                    (digest, preferred.digest, time.time()),
                )
                rows.execute("DELETE FROM index_images WHERE digest = ?", (digest,))
                rows.executemany(
                    "INSERT INTO index_images (digest, position, manifest) VALUES (?, ?, ?)",
                    [(digest, position, each.digest) for position, each in enumerate(members)],
                )
                for name in names:
                    self._images.tag(preferred.digest, name, index=digest)
        return self.get(digest)

    def _is_image(self, manifest: Digest) -> bool:
        return self._database.one("SELECT 1 FROM images WHERE manifest = ?", (manifest,)) is not None

    def get(self, digest: Digest) -> ImageIndex:
        """The index with this digest. ``NotFound``."""
        row = self._database.one("SELECT * FROM indexes WHERE digest = ?", (digest,))
        if row is None:
            raise NotFound(f"index {digest} is not in the store")
        return self._index(digest, Digest(row["preferred"]), row["added"])

    def walk(self) -> list[ImageIndex]:
        """Every index."""
        rows = self._database.query("SELECT * FROM indexes ORDER BY added DESC, digest")
        return [self._index(Digest(row["digest"]), Digest(row["preferred"]), row["added"]) for row in rows]

    def group(self, digest: Digest) -> Group:
        """An index to be written with its images."""
        data, _ = self.read(digest)
        from bennu.store.archive_writer import Group

        return Group.of(data, [self._images.get(manifest) for manifest in self.get(digest).images])

    def hidden(self) -> frozenset[Digest]:
        """The images that stand behind another one of their index, the one that this host runs."""
        rows = self._database.query(
            "SELECT manifest FROM index_images EXCEPT SELECT preferred FROM indexes AS one"
            " WHERE NOT EXISTS (SELECT 1 FROM names WHERE index_digest = one.digest)"
        )
        return frozenset(Digest(row["manifest"]) for row in rows)

    def read(self, digest: Digest) -> tuple[bytes, Index]:
        """The document: its bytes, and what they say. ``Corrupt`` if it is damaged."""
        data = self._images.blobs.read(digest)
        if not data:
            raise Corrupt(f"index {digest} is empty")
        return data, parse_index(data, digest)

    def forget(self, digest: Digest) -> None:
        """Remove an index that has no name; its images stay. ``Conflict`` is not raised: one with a name stays too."""
        with self._database.transaction() as rows:
            rows.execute(
                "DELETE FROM indexes WHERE digest = ? AND NOT EXISTS (SELECT 1 FROM names WHERE index_digest = ?)",
                (digest, digest),
            )

    def _index(self, digest: Digest, preferred: Digest, added: float) -> ImageIndex:
        images = self._database.query("SELECT manifest FROM index_images WHERE digest = ? ORDER BY position", (digest,))
        names = self._database.query("SELECT name FROM names WHERE index_digest = ? ORDER BY name", (digest,))
        return ImageIndex(
            digest,
            preferred,
            tuple(Digest(row["manifest"]) for row in images),
            tuple(row["name"] for row in names),
            added,
        )


def _distance(host: Platform, member: Descriptor, position: int) -> tuple[int, int]:
    """How far an image is from what the host runs; the first of equals comes first."""
    distance = None if member.platform is None else fit(host, member.platform)
    return (1 << 20 if distance is None else distance, position)
