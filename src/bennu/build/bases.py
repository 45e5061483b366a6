"""The images that FROM and ``--from`` name: found in the store, for a platform; OCI layouts are taken into it first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bennu.build.graph import BaseImage
from bennu.build.origins import Layout
from bennu.dockerfile.source import Span
from bennu.errors import BennuError, Invalid, NotFound, Unavailable
from bennu.oci.image_config import chain_ids
from bennu.oci.platform import Platform
from bennu.oci.reference import parse_reference

if TYPE_CHECKING:
    from bennu.store.archive_loader import Loader
    from bennu.store.images import Image


_WAYS: Final = "`bennu image bootstrap` makes a base image, `bennu load` brings one in, `bennu images` lists them"


class BaseImages:
    """The ``lowering.Bases`` of one store. ``find`` looks an image up, and may fetch it; None where there is none."""

    def __init__(self, find: Callable[[str, Platform], Image | None], loader: Callable[[], Loader]) -> None:
        self._find = find
        self._loader = loader
        self._layouts: dict[tuple[Layout, Platform], Image] = {}

    def __call__(self, name: str | Layout, span: Span, platform: Platform) -> BaseImage:
        """What lowering has to know of an image. ``Invalid`` at the place where it is named."""
        image = self._of_layout(name, span, platform) if isinstance(name, Layout) else self._named(name, span, platform)
        chain = chain_ids(image.config.diff_ids)
        return BaseImage(image.manifest, chain[-1] if chain else None, image.config)

    def _named(self, name: str, span: Span, platform: Platform) -> Image:
        try:
            image = self._find(name, platform)
        except NotFound as error:  # an index without an image for the platform
            raise span.invalid(error.message, "build for one of these, or load the image for it too") from error
        except Unavailable as error:  # it would have to be fetched
            raise span.invalid(f"image {name!r} is not in the store; {error.message}", error.hint or _WAYS) from error
        except Invalid as error:  # no reference at all
            raise span.invalid(error.message, _lowered(name) or error.hint) from error
        if image is None:
            raise span.invalid(f"image {name!r} is not in the store", _WAYS)
        return image

    def _of_layout(self, layout: Layout, span: Span, platform: Platform) -> Image:
        known = self._layouts.get((layout, platform))
        if known is not None:
            return known
        try:
            wanted = layout.digest or layout.tag
            by_digest = layout.digest is not None
            image = self._loader().load_layout(Path(layout.path), wanted, platform, by_digest=by_digest)
        except (Invalid, NotFound) as error:
            raise span.invalid(error.message, error.hint) from error
        except OSError as error:
            raise BennuError(f"OCI layout {layout.path!r}: {error.strerror}") from error
        self._layouts[layout, platform] = image
        return image


def _lowered(name: str) -> str | None:
    """The hint for a name that is a reference in lower case."""
    try:
        parse_reference(name.lower())
    except Invalid:
        return None
    return f"did you mean {name.lower()}?"
