"""Images from one registry to another, or to another repository of the same, without the store: only what is missing.

Documents are copied byte for byte, so digests stay. Blobs are mounted where both are in one registry, else read and
written at once through a temporary file that is checked on the way.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Final, NamedTuple

from bennu.digest import Digest
from bennu.errors import Invalid, NotFound, Unavailable
from bennu.oci import media
from bennu.oci.descriptor import Descriptor
from bennu.oci.manifest import choose, parse_index, parse_manifest
from bennu.oci.platform import Platform
from bennu.oci.reference import Reference
from bennu.registry.download import Download
from bennu.registry.pull import Listener, Silent
from bennu.registry.registries import Registries
from bennu.registry.repository import Document, Repository, first_answer
from bennu.registry.transport import CHUNK_BYTES
from bennu.registry.workers import Workers

AT_ONCE: Final = 3
MAX_DEPTH: Final = 4


class Copied(NamedTuple):
    """What the target's name points at now, how many blobs were sent, and how many were there or mounted."""

    digest: Digest
    sent: int
    there: int


class Copier:
    """Copies between repositories. ``temporary`` is where blobs pass through."""

    def __init__(self, registries: Registries, temporary: Path, listener: Listener | None = None) -> None:
        self._registries = registries
        self._temporary = temporary
        self._listener = listener or Silent()
        self._lock = threading.Lock()
        self._sent = 0
        self._there = 0

    def copy(self, source: Reference, target: Reference, *, platform: Platform | None = None) -> Copied:
        """Copy what a name means, an index with all of its images, or the image for one platform of it."""
        origins, goal = self._registries.sources(source), self._registries.target(target)
        document = self._manifest(origins, source.digest or source.tagged().tag or "latest")
        if platform is not None and document.media_type in media.INDEXES:
            index = parse_index(document.data, document.digest)
            document = self._manifest(origins, choose(index, platform, source.familiar).digest)
        tag = target.tag or (document.digest if target.digest else target.tagged().tag) or "latest"
        self._document(origins, goal, document, 0)
        goal.put_manifest(tag, document.data, document.media_type)
        return Copied(document.digest, self._sent, self._there)

    def _manifest(self, origins: tuple[Repository, ...], reference: str) -> Document:
        return first_answer(origins, lambda origin: origin.manifest(reference))

    def _document(self, origins: tuple[Repository, ...], goal: Repository, document: Document, depth: int) -> None:
        """See to it that the goal has all that a document names."""
        if depth > MAX_DEPTH:
            raise Invalid(f"{origins[-1].shown}: indexes are nested more than {MAX_DEPTH} deep")
        if document.media_type not in media.INDEXES:
            manifest = parse_manifest(document.data, document.digest)
            self._blobs(origins, goal, (manifest.config, *manifest.layers))
            return
        for member in parse_index(document.data, document.digest).manifests:
            if goal.find_manifest(member.digest) is None:
                found = self._manifest(origins, member.digest)
                self._document(origins, goal, found, depth + 1)
                goal.put_manifest(found.digest, found.data, found.media_type)

    def _blobs(self, origins: tuple[Repository, ...], goal: Repository, descriptors: tuple[Descriptor, ...]) -> None:
        with Workers(AT_ONCE, self._registries.cancel) as workers:
            for each in {each.digest: each for each in descriptors}.values():
                self._listener.layer(each.digest, "waiting", 0, each.size_bytes)

                def work(each: Descriptor = each) -> None:
                    workers.check()
                    self._blob(origins, goal, each, workers)

                workers.submit(work)

    def _blob(
        self, origins: tuple[Repository, ...], goal: Repository, descriptor: Descriptor, workers: Workers
    ) -> None:
        digest = descriptor.digest
        if goal.has_blob(digest) or self._mounted(origins[-1], goal, digest):
            self._count(there=1)
            self._listener.layer(digest, "there", descriptor.size_bytes, descriptor.size_bytes)
            return
        self._temporary.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self._temporary, prefix="copy-") as file:
            path = Path(file.name)
            download = Download(
                origins,
                descriptor,
                path,
                workers.stop,
                lambda count: self._listener.layer(digest, "downloading", count, descriptor.size_bytes),
            )
            download.run()

            def body() -> Generator[bytes, None, None]:
                with open(path, "rb") as stream:
                    while chunk := stream.read(CHUNK_BYTES):
                        yield chunk

            goal.finish_upload(goal.begin_upload(), digest, body, descriptor.size_bytes)
        self._count(sent=1)
        self._listener.layer(digest, "done", descriptor.size_bytes, descriptor.size_bytes)

    def _count(self, *, sent: int = 0, there: int = 0) -> None:
        with self._lock:
            self._sent += sent
            self._there += there

    def _mounted(self, origin: Repository, goal: Repository, digest: Digest) -> bool:
        if origin.transport.endpoint.domain != goal.transport.endpoint.domain or origin.path == goal.path:
            return False
        try:
            upload = goal.mount(digest, origin.path)
        except (Unavailable, NotFound):
            return False
        if upload is not None:
            goal.cancel_upload(upload)
        return upload is None
