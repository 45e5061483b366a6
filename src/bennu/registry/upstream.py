"""What names mean in their registries now, beside what they meant when the store got its images.

A name that no registry knows, or that we may not ask for, was made here and has nothing upstream. A registry that does
not answer is said and passed over: nobody's drift.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import NamedTuple

from bennu.config import Settings
from bennu.digest import Digest, short
from bennu.errors import BennuError, Invalid, NotFound
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
                if reference is None or image is None:
                    continue
                try:
                    found = registries.sources(reference)[-1].find_manifest(reference.tagged().tag or "latest")
                except NotFound:
                    continue
                except BennuError as error:
                    if "access is denied" not in error.message:
                        notes.append(f"image {name}: {error.message}")
                    continue
                if found is not None:
                    here[name], there[name] = short(_known(image, reference, sent)), short(found.digest)
        finally:
            timer.cancel()
    return Upstream(here, there, tuple(notes))


def _known(image: Image, reference: Reference, sent: Sent) -> Digest:
    """What a registry would call the image that the store has under a name."""
    digest = image.indexed.get(reference.tagged().name, image.manifest)
    return sent.pushed(reference.repository, digest) or digest


def _reference(name: str) -> Reference | None:
    try:
        reference = parse_reference(name)
    except Invalid:
        return None
    return None if reference.digest else reference
