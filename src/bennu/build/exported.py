"""What a build's result has become: images of the store or of archives, and how they are referred to. A value."""

from __future__ import annotations

import msgspec

from bennu.digest import Digest
from bennu.oci.descriptor import Descriptor
from bennu.store.images import Image


class Exported(msgspec.Struct, frozen=True):
    """The images that a build became, in the order of its platforms, and how the index or else the image is described.

    ``names`` are those that it got, in full.
    """

    images: tuple[Image, ...] = ()
    descriptor: Descriptor | None = None
    names: tuple[str, ...] = ()

    @property
    def id(self) -> Digest | None:
        """What people know it by: the index's digest, or the ID of the one image."""
        if self.descriptor is None:
            return None
        return self.images[0].id if self.descriptor.digest == self.images[0].manifest else self.descriptor.digest
