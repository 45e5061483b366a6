"""Images: a manifest, a configuration and layers under names; looked up as Docker does, made from snapshots.

An image's *ID* is the digest of its configuration. Its layers are kept as snapshots; the bytes of a layer are kept as a
blob only where no snapshot gives them again (a foreign archive's, or a compressed one). ``Images`` owns the tables
``images``, ``image_layers``, ``layer_blobs`` and ``names``. It never removes bytes: see ``gc``. How images leave and
arrive as files: ``archive_writer``, ``archive_loader``.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from typing import IO, TYPE_CHECKING, Final, NamedTuple

import msgspec

from bennu.digest import Digest, digest_of, short
from bennu.errors import Conflict, Corrupt, Invalid, NotFound
from bennu.oci import media
from bennu.oci.descriptor import Descriptor
from bennu.oci.document import encode
from bennu.oci.image_config import ImageConfig, RootFS, chain_ids, encode_config, moment, parse_config
from bennu.oci.manifest import Manifest, new_manifest, parse_manifest
from bennu.oci.platform import Platform, fit
from bennu.oci.reference import Reference, parse_reference
from bennu.store.base import BlobInfo, BlobStore, CommittedSnapshot, LayerInfo, LayerStore, Snapshotter
from bennu.store.compression import decompressed
from bennu.store.database import Database

if TYPE_CHECKING:
    from bennu.store.indexes import Indexes

_ID_PREFIX: Final = re.compile(r"(?:sha256:)?([0-9a-f]{1,64})")


class ImageLayer(msgspec.Struct, frozen=True):
    """A layer of an image. ``blob`` is the digest in the manifest: the diff_id, or that of the compressed layer."""

    diff_id: Digest
    chain_id: Digest
    blob: Digest
    size_bytes: int


class Image(msgspec.Struct, frozen=True):
    """An image of the store. ``manifest`` and ``id`` are digests, ``id`` the configuration's; names are in full.

    ``indexed`` has the names that mean an index (``indexes``), in which this is the image that the host runs.
    """

    manifest: Digest
    id: Digest
    config: ImageConfig
    layers: tuple[ImageLayer, ...]
    names: tuple[str, ...]
    added: float
    indexed: Mapping[str, Digest] = msgspec.field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        """All layers, uncompressed."""
        return sum(layer.size_bytes for layer in self.layers)

    @property
    def created(self) -> float | None:
        """When it says that it was made, in Unix seconds."""
        return moment(self.config.created)

    @property
    def familiar_names(self) -> tuple[str, ...]:
        """Its names as people write them."""
        return tuple(parse_reference(name).familiar for name in self.names)

    @property
    def shown(self) -> str:
        """What errors call it: its first name, else its short ID."""
        return self.familiar_names[0] if self.names else short(self.id)


class Images:
    """The images of one root, and the parts that they are made of."""

    def __init__(self, database: Database, blobs: BlobStore, snapshots: Snapshotter, layers: LayerStore) -> None:
        self._database = database
        self.blobs = blobs
        self.snapshots = snapshots
        self.layers = layers

    @cached_property
    def indexes(self) -> Indexes:
        """The indexes of the same root."""
        from bennu.store.indexes import Indexes

        return Indexes(self._database, self)

    def create(
        self,
        config: ImageConfig,
        top: CommittedSnapshot | None,
        *,
        names: Sequence[Reference] = (),
        annotations: Mapping[str, str] | None = None,
        durable: bool = True,
        listed: bool = True,
    ) -> Image:
        """The image that a snapshot and a configuration are, whose ``rootfs`` is filled in here; then its names.

        Each snapshot of the chain is one layer; ``config.history`` has that many entries that are no empty layer's.
        A name that another image had moves. ``durable`` off leaves the snapshots to a later ``Snapshotter.sync``. With
        ``listed`` off only its documents are stored, for as long as the operation that asks is under way.
        """
        infos = [self.layers.info(snapshot) for snapshot in _chain(top)]
        filled = sum(not entry.empty_layer for entry in config.history)
        if config.history and filled != len(infos):
            raise Invalid(f"image with {len(infos)} layers has a history of {filled}")
        complete = msgspec.structs.replace(config, rootfs=RootFS("layers", tuple(info.diff_id for info in infos)))
        if durable:
            self.snapshots.sync()
        with self.blobs.spared():
            stored = self._kept(encode_config(complete))
            manifest = new_manifest(
                Descriptor(media.OCI_CONFIG, stored.digest, stored.size_bytes),
                tuple(Descriptor(media.OCI_LAYER, info.diff_id, info.size_bytes) for info in infos),
                annotations,
            )
            if not listed:
                return self._unlisted(encode(manifest), stored.digest, complete, infos)
            return self.put(encode(manifest), infos, names=names)

    def _unlisted(self, manifest: bytes, config: Digest, parsed: ImageConfig, infos: Sequence[LayerInfo]) -> Image:
        chain = chain_ids(info.diff_id for info in infos)
        layers = tuple(
            ImageLayer(info.diff_id, chain_id, info.diff_id, info.size_bytes)
            for info, chain_id in zip(infos, chain, strict=True)
        )
        return Image(self._kept(manifest).digest, config, parsed, layers, (), time.time())

    def put(self, manifest: bytes, layers: Sequence[LayerInfo], *, names: Sequence[Reference] = ()) -> Image:
        """An image whose configuration is stored and whose layers are there: its manifest, its rows, its names.

        ``layers`` gives diff_id and uncompressed size of each. What has been put before stays as it was. Whoever
        stored the blobs did so inside ``Operations.under_way`` or ``BlobStore.spared``.
        """
        with self.blobs.spared():
            digest = self._kept(manifest).digest
            parsed = parse_manifest(manifest, digest)
            config = parse_config(self.blobs.read(parsed.config.digest), parsed.config.digest)
            if config.diff_ids != tuple(layer.diff_id for layer in layers) or len(layers) != len(parsed.layers):
                raise Invalid(f"manifest {digest} and its configuration differ in their layers")
            stored = [each.digest for each in parsed.layers if self.blobs.stat(each.digest)]
            with self._database.transaction(durable=not self._has(digest, names)) as rows:
                _insert(rows, digest, parsed, config, layers)
                rows.executemany(
                    "INSERT OR IGNORE INTO layer_blobs (blob, diff_id)"
                    " SELECT DISTINCT blob, diff_id FROM image_layers WHERE manifest = ? AND blob = ?",
                    [(digest, blob) for blob in stored],
                )
                for name in names:
                    self.tag(digest, name)
        return self.get(digest)

    def _has(self, manifest: Digest, names: Sequence[Reference]) -> bool:
        """Whether an image is there under all these names, durably since it was put."""
        if self._database.one("SELECT 1 FROM images WHERE manifest = ?", (manifest,)) is None:
            return False
        query = "SELECT 1 FROM names WHERE name = ? AND manifest = ? AND index_digest IS NULL"
        return all(self._database.one(query, (name.name, manifest)) for name in names)

    def _kept(self, data: bytes) -> BlobInfo:
        """Bytes in the store; what is there already waits for no disk."""
        digest = digest_of(data)
        return BlobInfo(digest, len(data)) if self.blobs.touch(digest) else self.blobs.write(data)

    def get(self, manifest: Digest) -> Image:
        """The image with this manifest. ``NotFound``; ``Corrupt`` if its configuration is damaged."""
        row = self._database.one("SELECT * FROM images WHERE manifest = ?", (manifest,))
        if row is None:
            raise NotFound(f"image {manifest} is not in the store")
        return self._image(row)

    def find(self, text: str, platform: Platform | None = None) -> Image | None:
        """The image that ``text`` names (a reference, an ID or the beginning of one), or None.

        Of an index it is the one for ``platform``, ``NotFound`` where it has none; without a platform the one that the
        host runs. ``Conflict`` where the beginning of an ID fits several; ``Invalid`` where it is neither reference nor
        ID.
        """
        found = self._named(text) or self._identified(text)
        if found is None:
            return None
        if found.index_digest is not None and platform is not None:
            return self._member(found.index_digest, platform, text)
        row = self._database.one("SELECT * FROM images WHERE manifest = ?", (found.manifest,))
        return self._image(row) if row else None

    def find_index(self, text: str) -> Digest | None:
        """The index that ``text`` names, or None where it names an image or nothing. Raises as ``find``."""
        found = self._named(text) or self._identified(text)
        return None if found is None else found.index_digest

    def _member(self, index: Digest, platform: Platform, text: str) -> Image:
        """The image of an index for a platform."""
        members = [
            self.get(Digest(row["manifest"]))
            for row in self._database.query(
                "SELECT manifest FROM index_images WHERE digest = ? ORDER BY position", (index,)
            )
        ]
        fits = [(fit(platform, member.config.platform), number) for number, member in enumerate(members)]
        suitable = [(distance, number) for distance, number in fits if distance is not None]
        if not suitable:
            have = ", ".join(sorted({str(member.config.platform) for member in members}))
            raise NotFound(f"image {text!r} has no image for {platform}; it has {have}")
        return members[min(suitable)[1]]

    def resolve(self, text: str) -> Image:
        """As ``find``; ``NotFound`` where there is none."""
        image = self.find(text)
        if image is None:
            base = re.match(r"(debian|ubuntu):[a-z-]+$", text)
            hint = f"`bennu image bootstrap {text}` makes it" if base else "`bennu images` lists what is"
            raise NotFound(f"image {text!r} is not in the store", hint)
        return image

    def walk(self) -> list[Image]:
        """Every image, the newest first."""
        query = "SELECT * FROM images ORDER BY coalesce(created, 0) DESC, added DESC, manifest"
        return [self._image(row) for row in self._database.query(query)]

    def tag(self, manifest: Digest, name: Reference, *, index: Digest | None = None) -> None:
        """Give an image a name; another image that had it loses it. ``NotFound`` if there is no such image.

        With ``index`` it is the index's name, and ``manifest`` the one of its images that the host runs.
        """
        if name.tag is None or name.digest is not None:
            raise Invalid(f"{str(name)!r} is not a name with a tag")
        try:
            with self._database.transaction() as rows:
                rows.execute(
                    "INSERT INTO names (name, manifest, updated, index_digest) VALUES (?, ?, ?, ?)"
                    " ON CONFLICT (name) DO UPDATE SET manifest = excluded.manifest, updated = excluded.updated,"
                    " index_digest = excluded.index_digest",
                    (name.name, manifest, time.time(), index),
                )
        except sqlite3.IntegrityError as error:
            raise NotFound(f"image {manifest} is not in the store") from error

    def name_updated(self, name: str) -> float | None:
        """When a name in full last got its image (Unix seconds); None where nothing has it."""
        row = self._database.one("SELECT updated FROM names WHERE name = ?", (name,))
        return row["updated"] if row else None

    def untag(self, name: Reference) -> None:
        """Take a name away; the image stays. ``NotFound`` if nothing has this name."""
        with self._database.transaction() as rows:
            if rows.execute("DELETE FROM names WHERE name = ?", (name.tagged().name,)).rowcount == 0:
                raise NotFound(f"image {name.familiar!r} is not in the store", "`bennu images` lists what is")

    def named_at(self, manifest: Digest) -> float:
        """When an image was last given a name that it still has (Unix seconds); 0 without any."""
        row = self._database.one("SELECT MAX(updated) AS last FROM names WHERE manifest = ?", (manifest,))
        return 0.0 if row is None or row["last"] is None else float(row["last"])

    def forget(self, manifest: Digest) -> None:
        """Remove an image without names from the list; its bytes go with the next sweep. ``Conflict`` if it has one."""
        try:
            with self._database.transaction() as rows:
                rows.execute("DELETE FROM images WHERE manifest = ?", (manifest,))
        except sqlite3.IntegrityError as error:
            reason = "is part of an index" if self._is_member(manifest) else "has a name"
            raise Conflict(f"image {manifest} {reason}", "`bennu rmi NAME` takes it away") from error

    def _is_member(self, manifest: Digest) -> bool:
        return self._database.one("SELECT 1 FROM index_images WHERE manifest = ?", (manifest,)) is not None

    def needed_blobs(self) -> set[Digest]:
        """Every blob that an image or a snapshot needs: a layer's bytes stay while anything stands on the layer."""
        query = """
            SELECT manifest AS blob FROM images UNION SELECT config FROM images UNION SELECT digest FROM indexes
            UNION SELECT blob FROM image_layers
            UNION SELECT blob FROM layer_blobs WHERE diff_id IN (SELECT diff_id FROM image_layers)
            UNION SELECT blob FROM layer_blobs WHERE diff_id IN (SELECT diff_id FROM layers)
        """
        return {Digest(row["blob"]) for row in self._database.query(query)}

    def manifest_bytes(self, image: Image) -> bytes:
        """The manifest as it is stored."""
        return self.blobs.read(image.manifest)

    def open_blob(self, digest: Digest) -> AbstractContextManager[IO[bytes]]:
        """A stored manifest or configuration as a stream."""
        return self.blobs.open(digest)

    def snapshot(self, image: Image) -> CommittedSnapshot | None:
        """The image's tree; None for an image without layers. ``Corrupt`` if it is not all there any more."""
        if not image.layers:
            return None
        snapshot = self.layers.snapshot_of(image.config.diff_ids)
        if snapshot is None:
            raise Corrupt(f"image {image.shown} has lost layers", "load, pull or build it again")
        return snapshot

    @contextmanager
    def open_layer(self, layer: ImageLayer) -> Iterator[IO[bytes]]:
        """A layer's bytes as the manifest has them: ``layer.blob``'s."""
        if self.blobs.stat(layer.blob):
            with self.blobs.open(layer.blob) as stream:
                yield stream
        elif layer.blob == layer.diff_id:
            with self.open_diff(layer.diff_id) as stream:
                yield stream
        else:
            raise Corrupt(f"layer {layer.blob} is not in the store any more", "load or pull its image again")

    @contextmanager
    def open_diff(self, diff_id: Digest) -> Iterator[IO[bytes]]:
        """The uncompressed layer, from a blob that holds it or else from its snapshot. ``NotFound``, ``Corrupt``."""
        for row in self._database.query("SELECT blob FROM layer_blobs WHERE diff_id = ?", (diff_id,)):
            if self.blobs.stat(row["blob"]):
                with self.blobs.open(row["blob"]) as blob, decompressed(blob, f"layer {row['blob']}") as stream:
                    yield stream
                return
        with self.layers.open(diff_id) as stream:
            yield stream

    def stored_layers(self, diff_id: Digest) -> list[BlobInfo]:
        """The blobs that hold a layer's bytes, compressed or not."""
        rows = self._database.query("SELECT blob FROM layer_blobs WHERE diff_id = ?", (diff_id,))
        found = (self.blobs.stat(Digest(row["blob"])) for row in rows)
        return [blob for blob in found if blob is not None]

    def _named(self, text: str) -> _Named | None:
        try:
            reference = parse_reference(text)
        except Invalid:
            if _ID_PREFIX.fullmatch(text):
                return None
            raise
        if reference.digest is not None:
            return self._by_digest(reference.digest)
        row = self._database.one("SELECT * FROM names WHERE name = ?", (reference.tagged().name,))
        return _Named(Digest(row["manifest"]), row["index_digest"]) if row else None

    def _by_digest(self, digest: Digest) -> _Named:
        row = self._database.one("SELECT preferred FROM indexes WHERE digest = ?", (digest,))
        return _Named(Digest(row["preferred"]), digest) if row else _Named(digest)

    def _identified(self, text: str) -> _Named | None:
        match = _ID_PREFIX.fullmatch(text)
        if match is None:
            return None
        # digests are hexadecimal, so ':' < 'g' bounds the range
        first, last = f"sha256:{match[1]}", f"sha256:{match[1]}g"
        found = self._database.query(
            "SELECT config AS id, manifest, NULL AS digest, added FROM images"
            " WHERE (config >= ? AND config < ?) OR (manifest >= ? AND manifest < ?)"
            " UNION ALL SELECT digest AS id, preferred AS manifest, digest, added FROM indexes"
            " WHERE digest >= ? AND digest < ? ORDER BY added DESC",
            (first, last, first, last, first, last),
        )
        if len({row["id"] for row in found}) > 1:
            raise Conflict(f"image ID {text!r} is the beginning of several", "write more of it")
        return _Named(Digest(found[0]["manifest"]), found[0]["digest"]) if found else None

    def _image(self, row: sqlite3.Row) -> Image:
        manifest = Digest(row["manifest"])
        layers = self._database.query("SELECT * FROM image_layers WHERE manifest = ? ORDER BY position", (manifest,))
        names = self._database.query("SELECT * FROM names WHERE manifest = ? ORDER BY name", (manifest,))
        return Image(
            manifest=manifest,
            id=Digest(row["config"]),
            config=parse_config(self.blobs.read(Digest(row["config"])), row["config"]),
            layers=tuple(
                ImageLayer(Digest(one["diff_id"]), Digest(one["chain_id"]), Digest(one["blob"]), one["size_bytes"])
                for one in layers
            ),
            names=tuple(one["name"] for one in names),
            added=row["added"],
            indexed={one["name"]: Digest(one["index_digest"]) for one in names if one["index_digest"]},
        )


class _Named(NamedTuple):
    """What a text names: an image, and the index that it belongs to where the text names that."""

    manifest: Digest
    index_digest: Digest | None = None


def _insert(
    rows: sqlite3.Connection, digest: Digest, manifest: Manifest, config: ImageConfig, layers: Sequence[LayerInfo]
) -> None:
    inserted = rows.execute(
        "INSERT OR IGNORE INTO images (manifest, config, created, added) VALUES (?, ?, ?, ?)",
        (digest, manifest.config.digest, moment(config.created), time.time()),
    ).rowcount
    if inserted:
        rows.executemany(
            "INSERT INTO image_layers (manifest, position, diff_id, chain_id, blob, size_bytes) VALUES (?,?,?,?,?,?)",
            [
                (digest, position, info.diff_id, chain_id, descriptor.digest, info.size_bytes)
                for position, (info, chain_id, descriptor) in enumerate(
                    zip(layers, chain_ids(config.diff_ids), manifest.layers, strict=True)
                )
            ],
        )


def _chain(top: CommittedSnapshot | None) -> list[CommittedSnapshot]:
    """The snapshots of a tree, the lowest first, as values."""
    chain = top.chain if top else ()
    return [CommittedSnapshot(one, chain[number + 1 :]) for number, one in enumerate(chain)][::-1]
