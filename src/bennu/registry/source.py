"""An image that somebody needs: the store's, or one that is fetched because the store has none, or because it is old.

``missing`` fetches what is not there, as Docker does; ``always`` asks the registry each time whether the name has
moved; ``never`` leaves the network alone.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Literal

from bennu.config import Settings
from bennu.errors import BennuError, Corrupt, Failed, Invalid, NotFound
from bennu.oci.platform import Platform
from bennu.oci.reference import Reference, parse_reference
from bennu.registry.pull import Listener, Puller
from bennu.registry.registries import Registries
from bennu.registry.sent import Sent
from bennu.store.blobs import FileBlobs
from bennu.store.images import Image, Images
from bennu.store.operations import Operations

Policy = Literal["missing", "always", "never"]
Say = Callable[[str], None]


class ImageSource:
    """Images of one store and of all registries. ``say`` is told in one line what is fetched; ``host`` runs images."""

    def __init__(
        self,
        settings: Settings,
        images: Images,
        blobs: FileBlobs,
        operations: Operations,
        *,
        sent: Sent,
        host: Platform,
        say: Say = lambda _line: None,
        listener: Listener | None = None,
    ) -> None:
        self._settings = settings
        self._images = images
        self._blobs = blobs
        self._operations = operations
        self._sent = sent
        self._host = host
        self._say = say
        self._listener = listener

    def find(self, text: str, policy: Policy = "missing", platform: Platform | None = None) -> Image | None:
        """The image that ``text`` names, fetched if it has to be; None where neither the store nor its registry has it.

        ``Unavailable`` and ``Corrupt`` for a registry that does not give it; ``Invalid`` for what is no reference.
        """
        known, problem = self._known(text, platform)
        reference = _reference(text)
        if reference is None or policy == "never" or (known is not None and policy == "missing"):
            if problem is not None:
                raise problem
            return known
        with Registries.of(self._settings, self._say) as registries:
            puller = Puller(
                registries,
                self._images,
                self._blobs,
                self._operations,
                sent=self._sent,
                listener=self._listener,
            )
            try:
                if known is not None and self._is_current(puller, reference, known):
                    return known
                self._say(f"pulling {reference.tagged().familiar}")
                return puller.pull(reference, self._host, platform=platform).image
            except NotFound:
                if problem is not None:
                    raise problem from None
                return None

    def find_by(self, text: str, policy: str) -> Image | None:
        """As ``find``, by Compose's word: ``daily``, ``weekly``, ``every_12h`` ask when the name is as old as that."""
        oldest = refresh_seconds(policy)
        if oldest is None:
            words: dict[str, Policy] = {"always": "always", "never": "never", "build": "never"}
            return self.find(text, words.get(policy, "missing"))
        reference = _reference(text)
        named = None if reference is None else self._images.name_updated(reference.tagged().name)
        is_old = named is not None and named < time.time() - oldest
        return self.find(text, "always" if is_old else "missing")

    def resolve(self, text: str, policy: Policy = "missing", platform: Platform | None = None) -> Image:
        """As ``find``; ``NotFound`` says that the store has none, and why none could be fetched."""
        try:
            image = self.find(text, policy, platform)
        except (Invalid, Corrupt, Failed):
            raise
        except BennuError as error:
            raise NotFound(f"image {text!r} is not in the store; {error.message}", error.hint or _hint(text)) from error
        if image is None:
            where = "" if policy == "never" or _reference(text) is None else ", and not in its registry"
            raise NotFound(f"image {text!r} is not in the store{where}", _hint(text))
        return image

    def _known(self, text: str, platform: Platform | None) -> tuple[Image | None, NotFound | None]:
        try:
            return self._images.find(text, platform), None
        except NotFound as error:  # an index without an image for the platform
            return None, error

    def _is_current(self, puller: Puller, reference: Reference, known: Image) -> bool:
        name = reference.tagged().name
        return puller.look(reference).digest in {known.manifest, known.indexed.get(name)}


def refresh_seconds(policy: str) -> float | None:
    """After how long a name is asked for again, of ``daily``, ``weekly`` and ``every_1d12h``; None for other words."""
    usual = {"daily": "1d", "weekly": "1w"}.get(policy, policy.removeprefix("every_") if policy[:6] == "every_" else "")
    parts = re.findall(r"(\d+)([wdhms])", usual)
    if not parts or "".join(map("".join, parts)) != usual:
        return None
    units = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
    return float(sum(int(count) * units[unit] for count, unit in parts))


def _reference(text: str) -> Reference | None:
    try:
        return parse_reference(text)
    except Invalid:
        return None


def _hint(text: str) -> str:
    first, _, suite = text.partition(":")
    if first in {"debian", "ubuntu"} and suite and all(part.isalpha() for part in suite.split("-")):
        return f"`bennu image bootstrap {text}` makes it from the distribution's packages"
    return "`bennu images` lists what is here; `bennu pull`, `bennu load` and `bennu build` bring images in"
