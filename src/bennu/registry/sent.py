"""What is known of this store's images elsewhere: which bytes a layer became, and what an image is called there.

Owns the tables ``compressed_layers`` and ``pushed_images``.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from bennu.digest import Digest
from bennu.oci.reference import Reference
from bennu.store.base import BlobInfo
from bennu.store.database import Database


class Sent:
    """The memory of pushes and pulls of one root."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def compressed(self, diff_id: Digest, compression: str) -> BlobInfo | None:
        """What a layer became the last time that it was compressed so."""
        row = self._database.one(
            "SELECT blob, size_bytes FROM compressed_layers WHERE diff_id = ? AND compression = ?",
            (diff_id, compression),
        )
        return BlobInfo(Digest(row["blob"]), row["size_bytes"]) if row else None

    def remember_compressed(self, diff_id: Digest, compression: str, blob: BlobInfo) -> None:
        """Remember what a layer became."""
        with self._database.transaction(durable=False) as rows:
            rows.execute(
                "INSERT INTO compressed_layers (diff_id, compression, blob, size_bytes) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (diff_id, compression) DO UPDATE SET blob = excluded.blob,"
                " size_bytes = excluded.size_bytes",
                (diff_id, compression, blob.digest, blob.size_bytes),
            )

    def pushed(self, repository: str, manifest: Digest) -> Digest | None:
        """The digest of an image or index in a repository; None where it was neither sent there nor fetched."""
        row = self._database.one(
            "SELECT digest FROM pushed_images WHERE repository = ? AND manifest = ?", (repository, manifest)
        )
        return Digest(row["digest"]) if row else None

    def remember(self, target: Reference, manifest: Digest, digest: Digest) -> None:
        """Remember where an image is, and how it is called there."""
        with self._database.transaction() as rows:
            rows.execute(
                "INSERT INTO pushed_images (repository, manifest, digest, pushed) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (repository, manifest) DO UPDATE SET digest = excluded.digest, pushed = excluded.pushed",
                (target.repository, manifest, digest, time.time()),
            )

    def holders(self, domain: str, diff_id: Digest) -> list[str]:
        """Paths of the registry's repositories that are likely to have a layer, the latest first."""
        query = """
            WITH owners AS (SELECT manifest FROM image_layers WHERE diff_id = ?)
            SELECT repository AS place, pushed AS at FROM pushed_images WHERE manifest IN owners
            UNION SELECT name, updated FROM names WHERE manifest IN owners ORDER BY at DESC
        """
        rows = self._database.query(query, (diff_id,))
        return list(dict.fromkeys(_paths((row["place"] for row in rows), domain)))


def _paths(places: Iterable[str], domain: str) -> Iterable[str]:
    for place in places:
        host, _, rest = place.partition("/")
        if host == domain:
            head, _, last = rest.rpartition("/")
            yield "/".join(part for part in (head, last.partition(":")[0]) if part)
