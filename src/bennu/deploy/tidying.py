"""Tidying: what old releases leave behind goes, and more of it where the root takes more than its disk budget.

An *old* image is one that some release has run and that nothing needs any more: no active revision or one that can come
back, no container, no hold, no saved plan. Old images without a name always go. Above the budget, in this order, until
it is kept: all images without a name, old images with a name (those whose release ended first go first), then the build
cache, what was used last staying longest. Nothing else ever goes: what is left above the budget is in use, and said.
Volumes are not counted: they are the user's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

from bennu.compose.struct import Value
from bennu.config import Settings
from bennu.deploy.history import History
from bennu.digest import Digest, short
from bennu.errors import Conflict, NotFound
from bennu.host.files import disk_usage
from bennu.oci.reference import parse_reference
from bennu.store.gc import Garbage, Swept
from bennu.store.images import Image, Images

GRACE_SECONDS: Final = 3600.0
"""An image that was given a name so lately may be about to be deployed again."""
PruneCache = Callable[[int, bool], int]
"""Make the build cache smaller by so many bytes, or only say (True); the bytes that went."""


class Tidied(Value, frozen=True, kw_only=True, omit_defaults=True):
    """What went, or would. ``names`` are of images that were old; ``over_bytes`` is still above the budget."""

    images: tuple[Digest, ...] = ()
    names: tuple[str, ...] = ()
    snapshots: tuple[str, ...] = ()
    blobs: tuple[Digest, ...] = ()
    leftovers: int = 0
    size_bytes: int = 0
    cache_bytes: int = 0
    used_bytes: int | None = None
    over_bytes: int = 0


class Tidying:
    """Tidies one root. ``limit_bytes``: the disk budget, None for none."""

    def __init__(
        self,
        settings: Settings,
        images: Images,
        garbage: Garbage,
        history: History,
        *,
        prune_cache: PruneCache,
        limit_bytes: int | None,
    ) -> None:
        self._settings = settings
        self._images = images
        self._garbage = garbage
        self._history = history
        self._prune_cache = prune_cache
        self._limit = limit_bytes

    def tidy(self, *, dry_run: bool = False, all_untagged: bool = False, now: float | None = None) -> Tidied:
        """Remove what is old, and what the budget asks for. ``all_untagged``: all images without a name, whatever the
        budget says.
        """
        total = _Total()
        old = self._old(time.time() if now is None else now)
        nameless = None if all_untagged else {image.manifest for image in old if not image.names}
        total.add(self._garbage.collect(dry_run=dry_run, among=nameless))
        if self._limit is None:
            return total.tidied()
        used = self.used_bytes() - (total.size_bytes if dry_run else 0)
        if used > self._limit:
            before = total.size_bytes
            if not all_untagged and not dry_run:
                total.add(self._garbage.collect())
            elif not all_untagged:
                total.replace(self._garbage.collect(dry_run=True))
            used -= total.size_bytes - before
        for image in old:
            if used <= self._limit:
                break
            if image.names:
                used -= self._forget(image, total, dry_run=dry_run)
        if used > self._limit:
            total.cache_bytes = self._prune_cache(used - self._limit, dry_run)
            used -= total.cache_bytes
        return total.tidied(used_bytes=used, over_bytes=max(0, used - self._limit))

    def used_bytes(self) -> int:
        """What the root takes on the disk, without its volumes."""
        return disk_usage(self._settings.root) - disk_usage(self._settings.volumes)

    def _forget(self, image: Image, total: _Total, *, dry_run: bool) -> int:
        """Take an old image and its names away; the bytes that this frees (of a dry run, its own layers' at most)."""
        total.names.extend(image.familiar_names)
        if dry_run:
            total.images.append(image.manifest)
            return image.size_bytes
        for name in image.names:
            with suppress(NotFound):
                self._images.untag(parse_reference(name))
        with suppress(Conflict):  # it got a name meanwhile, or an index holds it
            self._images.forget(image.manifest)
            total.images.append(image.manifest)
        before = total.size_bytes
        total.add(self._garbage.collect(untagged=False))
        return total.size_bytes - before

    def _old(self, now: float) -> list[Image]:
        """The old images, those whose last release ended first in front."""
        needed = {manifest for root in self._garbage.roots() for manifest in root.images}
        ended: dict[Digest, float] = {}
        for release, last in self._history.last_uses():
            for entry in release.services.values():
                ended[entry.image] = max(ended.get(entry.image, 0.0), last)
        found = (image for manifest in ended.keys() - needed for image in self._found(manifest))
        old = [image for image in found if now - self._images.named_at(image.manifest) > GRACE_SECONDS]
        return sorted(old, key=lambda image: (ended[image.manifest], image.manifest))

    def _found(self, manifest: Digest) -> Iterator[Image]:
        with suppress(NotFound):
            yield self._images.get(manifest)


class _Total:
    """What has gone so far."""

    def __init__(self) -> None:
        self.images: list[Digest] = []
        self.names: list[str] = []
        self.cache_bytes = 0
        self._swept: list[Swept] = []

    @property
    def size_bytes(self) -> int:
        return sum(each.size_bytes for each in self._swept)

    def add(self, swept: Swept) -> None:
        self._swept.append(swept)

    def replace(self, swept: Swept) -> None:
        """A look that takes in what the last one saw."""
        self._swept = [swept]

    def tidied(self, *, used_bytes: int | None = None, over_bytes: int = 0) -> Tidied:
        return Tidied(
            images=tuple(dict.fromkeys([*(one for each in self._swept for one in each.images), *self.images])),
            names=tuple(self.names),
            snapshots=tuple(str(one) for each in self._swept for one in each.snapshots),
            blobs=tuple(one for each in self._swept for one in each.blobs),
            leftovers=sum(each.leftovers for each in self._swept),
            size_bytes=self.size_bytes + self.cache_bytes,
            cache_bytes=self.cache_bytes,
            used_bytes=used_bytes,
            over_bytes=over_bytes,
        )


def described(tidied: Tidied) -> str:
    """What went, in one line for a log; empty if nothing did."""
    parts = []
    if tidied.images:
        named = f" ({', '.join(tidied.names[:5])})" if tidied.names else ""
        shown = ", ".join(short(one) for one in tidied.images[:5])
        parts.append(f"{len(tidied.images)} image{'s' if len(tidied.images) > 1 else ''} {shown}{named}")
    if tidied.cache_bytes:
        parts.append("some of the build cache")
    return f"removed what old releases left: {' and '.join(parts)}" if parts else ""
