"""Records of builds: which steps there were, what each was known by, whether it ran. ``bennu why`` reads them.

A build is one row; its steps are compressed JSON with every field of their keys, so that a later question needs nothing
else. What a step took from a context is a *listing*: path, mode and digest of each file, by the digest of the whole,
stored only where a step ran for it. Both are bounded: ``BUILDS_KEPT``, ``LISTINGS_KEPT`` and ``LISTINGS_BYTES``.
``why`` compares; ``keys`` says what the fields are.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from bennu.build.listings import Listing, unpacked
from bennu.digest import Digest
from bennu.store.database import Database

BUILDS_KEPT: Final = 200
BUILDS_KEPT_A_SCOPE: Final = 20
LISTINGS_KEPT: Final = 200
LISTINGS_BYTES: Final = 32 << 20
_LEVEL: Final = 1

Outcome = Literal["ran", "cached", "failed"]


class StepRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """One step of one build.

    ``fields`` is the preimage of its first key, ``taken`` the digests of the content that it read, as far as they were
    looked at, by the vertex's place among what it reads. ``parent`` and ``reads`` are numbers of steps, 0 for the empty
    tree and for contexts. ``line`` is 0 for what stands nowhere.
    """

    number: int
    label: str
    outcome: Outcome
    key: str = ""
    identity: str = ""
    fields: tuple[tuple[str, str], ...] = ()
    taken: tuple[tuple[int, str], ...] = ()
    parent: int = 0
    reads: tuple[int, ...] = ()
    arguments: tuple[str, ...] = ()
    line: int = 0
    seconds: float = 0.0


class BuildRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """One build. ``scope`` says which builds are of the same thing; ``fresh``: the cache was not to be used, for all
    steps or for these.
    """

    id: int
    manifest: str | None
    scope: str
    started: float
    steps: tuple[StepRecord, ...]
    use_cache: bool = True
    fresh: tuple[int, ...] = ()
    file: str = ""


class BuildRecords:
    """The builds of one root."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, record: BuildRecord, listings: Mapping[Digest, bytes]) -> int:
        """Remember a build, whose ``id`` counts for nothing, and forget the oldest. Gives its id."""
        body = zlib.compress(msgspec.json.encode(record), _LEVEL)
        with self._database.transaction(durable=False) as rows:
            added = rows.execute(
                "INSERT INTO builds (manifest, scope, started, body) VALUES (?, ?, ?, ?)",
                (record.manifest, record.scope, record.started, body),
            ).lastrowid
            rows.execute(
                "DELETE FROM builds WHERE scope = ? AND id NOT IN"
                " (SELECT id FROM builds WHERE scope = ? ORDER BY id DESC LIMIT ?)",
                (record.scope, record.scope, BUILDS_KEPT_A_SCOPE),
            )
            rows.execute("DELETE FROM builds WHERE id <= (SELECT MAX(id) FROM builds) - ?", (BUILDS_KEPT,))
            if listings:
                rows.executemany(
                    "INSERT OR REPLACE INTO listings (content, body, created) VALUES (?, ?, ?)",
                    [(content, body, record.started) for content, body in listings.items()],
                )
                rows.execute(
                    "DELETE FROM listings WHERE content IN (SELECT content FROM (SELECT content, row_number() OVER"
                    " newest AS place, sum(length(body)) OVER newest AS size FROM listings WINDOW newest AS"
                    " (ORDER BY created DESC, content)) WHERE place > ? OR size > ?)",
                    (LISTINGS_KEPT, LISTINGS_BYTES),
                )
        assert added is not None
        return added

    def last(self) -> BuildRecord | None:
        """The newest build."""
        return self._first("SELECT * FROM builds ORDER BY id DESC LIMIT 1", ())

    def of_image(self, manifest: Digest) -> BuildRecord | None:
        """The newest build that ran steps and came to an image; where none did, the newest that came to it."""
        found = [
            self._read(row)
            for row in self._database.query("SELECT * FROM builds WHERE manifest = ? ORDER BY id DESC", (manifest,))
        ]
        return next(
            (each for each in found if any(s.outcome == "ran" for s in each.steps)), found[0] if found else None
        )

    def before(self, build: BuildRecord) -> list[BuildRecord]:
        """Earlier builds: those of the same thing first, the newest first."""
        query = "SELECT * FROM builds WHERE id < ? ORDER BY scope = ? DESC, id DESC LIMIT ?"
        rows = self._database.query(query, (build.id, build.scope, 2 * BUILDS_KEPT_A_SCOPE))
        return [self._read(row) for row in rows]

    def listing(self, content: str) -> Listing | None:
        """What was taken, by path, where it is still known."""
        row = self._database.one("SELECT body FROM listings WHERE content = ?", (content,))
        return None if row is None else unpacked(row["body"])

    def has_listing(self, content: str) -> bool:
        """Whether a listing is stored."""
        return self._database.one("SELECT 1 FROM listings WHERE content = ?", (content,)) is not None

    def _first(self, query: str, parameters: tuple[object, ...]) -> BuildRecord | None:
        row = self._database.one(query, parameters)
        return None if row is None else self._read(row)

    def _read(self, row: sqlite3.Row) -> BuildRecord:
        record = msgspec.json.decode(zlib.decompress(row["body"]), type=BuildRecord)
        return msgspec.structs.replace(record, id=row["id"])
