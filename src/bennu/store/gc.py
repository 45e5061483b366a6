"""Garbage: what nothing refers to any more. Roots are names, and whatever the providers of the upper floors say.

A *root* keeps an image or a snapshot: a container, a release, a record of the build cache. The floors above own those
tables, so ``wiring`` hands their providers in. Work under way needs no root: what was stored or used since the oldest
living operation began is spared (``operations``). The order makes it safe beside everything else: first the horizon,
then the roots, then rows in transactions of their own, then files; a crash at any point leaves rubbish for the next
sweep and nothing that is missed.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from bennu.config import Settings
from bennu.digest import Digest
from bennu.errors import Conflict, Invalid
from bennu.host.files import disk_usage, remove_tree
from bennu.host.process import is_alive
from bennu.oci.reference import parse_reference
from bennu.store.base import SnapshotId
from bennu.store.images import Image, Images
from bennu.store.operations import Operations

_OWNED: Final = re.compile(r"-(\d+)-[0-9a-f]{8,}$")
_STRAY_SECONDS: Final = 3600.0


class Root(msgspec.Struct, frozen=True):
    """Something that keeps images (by manifest) and snapshots. ``what`` is for people: ``container web-1``."""

    what: str
    images: tuple[Digest, ...] = ()
    snapshots: tuple[SnapshotId, ...] = ()


RootProvider = Callable[[], Iterable[Root]]
"""Gives every root of one kind as it is now. Called at the start of each collection."""


class Swept(msgspec.Struct, frozen=True):
    """What a collection removed, or would."""

    images: tuple[Digest, ...] = ()
    snapshots: tuple[SnapshotId, ...] = ()
    blobs: tuple[Digest, ...] = ()
    leftovers: int = 0
    size_bytes: int = 0


class Removed(msgspec.Struct, frozen=True):
    """What removing an image by a name or ID did: the names it lost (in full), and its ID if it is gone."""

    untagged: tuple[str, ...]
    deleted: Digest | None


class Garbage:
    """Collects the garbage of one root."""

    def __init__(
        self, settings: Settings, images: Images, operations: Operations, providers: Sequence[RootProvider] = ()
    ) -> None:
        self._settings = settings
        self._images = images
        self._operations = operations
        self._providers = tuple(providers)

    def roots(self) -> list[Root]:
        """The roots that are no names."""
        return [root for provider in self._providers for root in provider()]

    def users(self, image: Image) -> list[str]:
        """What uses an image, besides its names."""
        return [root.what for root in self.roots() if image.manifest in root.images]

    def remove_image(self, text: str, *, force: bool = False) -> Removed:
        """Take a name away, and the image with its last one; by ID the image with its only name, with ``force`` all.

        ``Conflict`` where the ID has several names, or something uses the image and it would be gone; ``force`` then
        leaves it without a name. The bytes go at once where nothing else needs them.
        """
        image = self._images.resolve(text)
        by_name = _name_in(text, image)
        if by_name is None and len(image.names) > 1 and not force:
            raise Conflict(
                f"image {text!r} has {len(image.names)} names: {', '.join(image.familiar_names)}",
                "name the one to take away, or take all with --force",
            )
        untagged = (by_name,) if by_name else image.names
        indexes = {image.indexed[name] for name in untagged if name in image.indexed}
        is_last = set(untagged) == set(image.names)
        users = self.users(image) if is_last else []
        if users and not force:
            raise Conflict(f"image {text!r} is used by {', '.join(users[:5])}", "remove that first, or use --force")
        for name in untagged:
            self._images.untag(parse_reference(name))
        self._forget_indexes(indexes, besides=image.manifest)
        if not is_last or users:
            return Removed(untagged, None)
        self._images.forget(image.manifest)
        self.collect(untagged=False)
        return Removed(untagged, image.id)

    def _forget_indexes(self, digests: Iterable[Digest], *, besides: Digest) -> None:
        """Remove indexes that have lost their last name, and those of their images that nothing else needs."""
        for digest in digests:
            index = self._images.indexes.get(digest)
            self._images.indexes.forget(digest)
            for manifest in index.images if not index.names else ():
                image = self._images.get(manifest)
                if manifest != besides and not image.names and not self.users(image):
                    with suppress(Conflict):  # another index holds it
                        self._images.forget(manifest)

    def needed_snapshots(self) -> set[SnapshotId]:
        """The snapshots that images and roots need, with all that they stand on."""
        kept = {one for image in self._images.walk() for one in self._chain_of(image)}
        return kept | self._chains_of(self.roots())

    def collect(
        self, *, dry_run: bool = False, untagged: bool = True, among: Collection[Digest] | None = None
    ) -> Swept:
        """Remove what nothing needs, images without a name or another root too unless ``untagged`` is off.

        ``among``: of these images only those that are named here, by manifest.
        """
        horizon = self._operations.horizon()
        roots = self.roots()
        kept = {manifest for root in roots for manifest in root.images}
        images = self._images.walk()
        kept |= self._held_by_indexes(kept, horizon, dry_run=dry_run, untagged=untagged)
        doomed = [
            image
            for image in images
            if untagged and (among is None or image.manifest in among) and not _is_needed(image, kept, horizon)
        ]
        gone: list[Digest] = []
        for image in doomed:
            with suppress(Conflict):  # it got a name meanwhile
                if not dry_run:
                    self._images.forget(image.manifest)
                gone.append(image.manifest)
        left = [image for image in images if image.manifest not in gone]
        leftovers = 0 if dry_run else self._images.snapshots.sweep() + self._sweep_temporary()
        snapshots, snapshot_bytes = self._sweep_snapshots(left, roots, horizon, dry_run=dry_run)
        dropped = {digest for image in doomed for digest in _blobs(image)} if dry_run else set()
        needed = {digest for image in left for digest in _blobs(image)}
        blobs = self._images.blobs.sweep(
            lambda: self._images.needed_blobs() - (dropped - needed), unused_since=horizon, dry_run=dry_run
        )
        return Swept(
            images=tuple(gone),
            snapshots=snapshots,
            blobs=tuple(blob.digest for blob in blobs),
            leftovers=leftovers,
            size_bytes=snapshot_bytes + sum(blob.size_bytes for blob in blobs),
        )

    def _held_by_indexes(self, kept: set[Digest], horizon: float, *, dry_run: bool, untagged: bool) -> set[Digest]:
        """The images of the indexes that stay; those without a name go first, since they keep their images."""
        held: set[Digest] = set()
        for index in self._images.indexes.walk():
            is_needed = index.names or index.added >= horizon or not kept.isdisjoint(index.images)
            if untagged and not is_needed:
                if not dry_run:
                    self._images.indexes.forget(index.digest)
                continue
            held.update(index.images)
        return held

    def _sweep_snapshots(
        self, images: Sequence[Image], roots: Sequence[Root], horizon: float, *, dry_run: bool
    ) -> tuple[tuple[SnapshotId, ...], int]:
        snapshots = self._images.snapshots
        kept = {one for image in images for one in self._chain_of(image)} | self._chains_of(roots)
        kept.update(one for snapshot in snapshots.recent(horizon) for one in snapshot.chain)
        removed: list[SnapshotId] = []
        size_bytes = 0
        for snapshot in reversed(list(snapshots.walk())):
            if snapshot.id in kept:
                continue
            size = disk_usage(snapshots.directory(snapshot))
            try:
                if not dry_run:
                    snapshots.remove(snapshot, unused_since=horizon)
            except Conflict:  # something has begun to stand on it, or to use it
                continue
            removed.append(snapshot.id)
            size_bytes += size
        return tuple(removed), size_bytes

    def _chains_of(self, roots: Sequence[Root]) -> set[SnapshotId]:
        found = (self._images.snapshots.stat(one) for root in roots for one in root.snapshots)
        return {one for snapshot in found if snapshot is not None for one in snapshot.chain}

    def _chain_of(self, image: Image) -> tuple[SnapshotId, ...]:
        snapshot = self._images.layers.snapshot_of(image.config.diff_ids) if image.layers else None
        return snapshot.chain if snapshot else ()

    def _sweep_temporary(self) -> int:
        """Remove half-made things whose process is dead, and nameless ones of long ago."""
        removed = 0
        for path in _listed(self._settings.temporary):
            owner = _OWNED.search(path.name)
            with suppress(FileNotFoundError):
                dead = not is_alive(int(owner[1])) if owner else os.lstat(path).st_mtime < time.time() - _STRAY_SECONDS
                if dead:
                    remove_tree(path)
                    removed += 1
        return removed


def _name_in(text: str, image: Image) -> str | None:
    """The name of the image that ``text`` spells, or None where it spells its ID."""
    with suppress(Invalid):
        name = parse_reference(text).tagged().name
        if name in image.names:
            return name
    return None


def _is_needed(image: Image, kept: set[Digest], horizon: float) -> bool:
    return bool(image.names) or image.manifest in kept or image.added >= horizon


def _blobs(image: Image) -> Iterator[Digest]:
    yield image.manifest
    yield image.id
    for layer in image.layers:
        yield layer.blob


def _listed(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
