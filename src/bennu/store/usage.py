"""What the store takes on the disk, kind by kind, and how much of it nothing uses.

Images count each layer once, however many images share it. Kinds of the upper floors are handed
in by ``wiring``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from bennu.host.files import disk_usage
from bennu.store.gc import Garbage
from bennu.store.images import Images


class Usage(msgspec.Struct, frozen=True):
    """One kind of thing: how many there are, how many are in use, their bytes, and those that could be freed."""

    what: str
    count: int
    active: int
    size_bytes: int
    reclaimable_bytes: int


def directory_usage(what: str, directories: Mapping[Path, bool]) -> Usage:
    """A kind of thing that is a directory each; the value says whether it is in use."""
    sizes = {directory: disk_usage(directory) for directory in directories}
    return Usage(
        what=what,
        count=len(directories),
        active=sum(directories.values()),
        size_bytes=sum(sizes.values()),
        reclaimable_bytes=sum(size for directory, size in sizes.items() if not directories[directory]),
    )


def image_usage(images: Images, garbage: Garbage) -> Usage:
    """The images. One is active while a root (a container, a release) refers to it."""
    found = images.walk()
    rooted = {manifest for root in garbage.roots() for manifest in root.images}
    sizes = {layer.chain_id: layer.size_bytes for image in found for layer in image.layers}
    used = {layer.chain_id for image in found if image.manifest in rooted for layer in image.layers}
    return Usage(
        what="Images",
        count=len(found),
        active=sum(image.manifest in rooted for image in found),
        size_bytes=sum(sizes.values()),
        reclaimable_bytes=sum(size for chain_id, size in sizes.items() if chain_id not in used),
    )


def cache_usage(images: Images) -> Usage:
    """The snapshots that are no image's layer: what the build cache holds, measured on the disk."""
    chains = (images.layers.snapshot_of(image.config.diff_ids) for image in images.walk() if image.layers)
    in_images = {one for snapshot in chains if snapshot for one in snapshot.chain}
    loose = [snapshot for snapshot in images.snapshots.walk() if snapshot.id not in in_images]
    size_bytes = sum(disk_usage(images.snapshots.directory(snapshot)) for snapshot in loose)
    return Usage("Build Cache", len(loose), 0, size_bytes, size_bytes)


def all_usage(images: Images, garbage: Garbage, others: Sequence[Usage]) -> list[Usage]:
    """Every kind, in the order of Docker's listing: images, the others, build cache."""
    return [image_usage(images, garbage), *others, cache_usage(images)]
