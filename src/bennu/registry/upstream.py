"""What names mean in their registries now, beside what they meant when the store got its images.

Asked for are names whose images came from there or were sent there: others were made here and have nothing upstream. A
registry that does not answer is said and passed over: nobody's drift.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import NamedTuple

from bennu.config import Settings
from bennu.digest import Digest, short
from bennu.errors import BennuError, Invalid
from bennu.oci.reference import Reference, parse_reference
from bennu.registry.registries import Registries
from bennu.registry.sent import Sent
from bennu.store.images import Image, Images

SECONDS: float = 10.0


class Upstream(NamedTuple):
    """Digests by name, here and there, shortened for people; and which registries did not answer."""

    here: dict[str, str]
    there: dict[str, str]
    notes: tuple[str, ...] = ()


def look(settings: Settings, images: Images, sent: Sent, names: Iterable[str]) -> Upstream:
    """Ask for each name. Never raises for what a registry does; all of it takes ``SECONDS`` at most."""
    here: dict[str, str] = {}
    there: dict[str, str] = {}
    notes: list[str] = []
    with Registries.of(settings) as registries:
        timer = threading.Timer(SECONDS, registries.cancel.set)
        timer.start()
        try:
            for name in names:
                reference = _reference(name)
                image = None if reference is None else images.find(name)
                known = None if reference is None or image is None else _known(image, reference, sent)
                if reference is None or known is None:
                    continue
                try:
                    found = registries.sources(reference)[-1].find_manifest(reference.tagged().tag or "latest")
                except BennuError as error:
                    notes.append(f"image {name}: {error.message}")
                    continue
                here[name] = short(known)
                if found is not None:
                    there[name] = short(found.digest)
        finally:
            timer.cancel()
    return Upstream(here, there, tuple(notes))


def _known(image: Image, reference: Reference, sent: Sent) -> Digest | None:
    """What the registry called the image that the store has under a name; None where it never had it."""
    digest = image.indexed.get(reference.tagged().name, image.manifest)
    return sent.pushed(reference.repository, digest)


def _reference(name: str) -> Reference | None:
    try:
        reference = parse_reference(name)
    except Invalid:
        return None
    return None if reference.digest else reference
