"""What sets are made from, looked at closely: the files of their images' layers, blobs, names.

A layer's files are read only with ``deep``. Otherwise an *inventory* (kept since it was first looked at) has what stat
said of each: a file whose content, mode or owner was changed has another ctime at least. Where the inventory differs,
the layer's digest decides: a hard link that the build cache made is no change. Owns the table ``layer_inventories``.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress

import msgspec

from bennu.digest import Digest, sha256_hex, short
from bennu.engine.sets import SetSpec
from bennu.engine.survey import Facts
from bennu.errors import BennuError, Corrupt, NotFound
from bennu.host import listing
from bennu.host.listing import Item
from bennu.oci.manifest import parse_manifest
from bennu.runtime.containers import Containers
from bennu.store.base import CommittedSnapshot, SnapshotId
from bennu.store.database import Database
from bennu.store.differ import OverlayDiffer
from bennu.store.images import Images

LARGE_BYTES = 1 << 20
_CHUNK = 1 << 20


class StoreSurvey:
    """The store of one root, as far as sets stand on it."""

    def __init__(self, database: Database, images: Images, containers: Containers) -> None:
        self._database = database
        self._images = images
        self._snapshots = containers.snapshots

    def tags(self, specs: Iterable[SetSpec]) -> dict[str, str]:
        """What the names of these sets' images mean now."""
        found = {}
        for name in sorted({spec.image_name for spec in specs}):
            try:
                image = self._images.find(name)
                found[name] = "nothing" if image is None else short(image.manifest)
            except BennuError as error:
                found[name] = error.message
        return found

    def facts(self, specs: Iterable[SetSpec], *, deep: bool) -> Iterator[Facts]:
        """Everything about the images of sets, each layer and blob once."""
        images = {spec.image: spec.image_name for spec in specs}
        seen: set[SnapshotId] = set()
        for manifest, name in sorted(images.items()):
            yield self._blobs(manifest, name, deep=deep)
            for snapshot in self._chain(manifest):
                if snapshot.id not in seen:
                    seen.add(snapshot.id)
                    yield self._layer(snapshot, name, deep=deep)

    # blobs

    def _blobs(self, manifest: Digest, name: str, *, deep: bool) -> Facts:
        have: dict[str, str] = {}
        sizes: dict[Digest, int] = {}
        state = self._small(manifest)
        have[f"manifest {short(manifest)}"] = state
        if state == "whole":
            parsed = parse_manifest(self._images.blobs.read(manifest), manifest)
            have[f"configuration {short(parsed.config.digest)}"] = self._small(parsed.config.digest)
            sizes = {each.digest: each.size_bytes for each in parsed.layers}
        kept = {row["blob"] for row in self._database.query("SELECT blob FROM layer_blobs")}
        for digest, size_bytes in sizes.items():
            if digest in kept:
                have[f"layer {short(digest)}"] = self._large(digest, size_bytes, deep=deep)
        return Facts(
            kind="blob",
            subject=name,
            want=dict.fromkeys(have, "whole"),
            have={label: text for label, text in have.items() if text != "missing"},
        )

    def _small(self, digest: Digest) -> str:
        try:
            self._images.blobs.read(digest)
        except NotFound:
            return "missing"
        except (Corrupt, OSError):
            return "altered"
        return "whole"

    def _large(self, digest: Digest, size_bytes: int, *, deep: bool) -> str:
        found = self._images.blobs.stat(digest)
        if found is None:
            return "missing"
        if found.size_bytes != size_bytes:
            return f"altered: {found.size_bytes} bytes instead of {size_bytes}"
        if deep:
            try:
                with self._images.blobs.open(digest) as stream:
                    while stream.read(_CHUNK):
                        pass
            except (Corrupt, OSError):
                return "altered"
        return "whole"

    # layers

    def _chain(self, manifest: Digest) -> Iterator[CommittedSnapshot]:
        rows = self._database.query(
            "SELECT chain_id FROM image_layers WHERE manifest = ? ORDER BY position DESC LIMIT 1", (manifest,)
        )
        for row in rows:
            for each in self._database.query("SELECT snapshot FROM layers WHERE chain_id = ?", (row["chain_id"],)):
                top = self._snapshots.stat(SnapshotId(each["snapshot"]))
                if top is not None:
                    chain = top.chain
                    yield from (CommittedSnapshot(chain[at], chain[at + 1 :]) for at in range(len(chain)))
                    return

    def _layer(self, snapshot: CommittedSnapshot, name: str, *, deep: bool) -> Facts:
        directory = self._snapshots.directory(snapshot)
        try:
            now = listing.inventory(directory)
        except OSError as error:
            text = f"cannot be looked at: {error.strerror}"
            return Facts(
                kind="layer", subject=name, want={f"layer {snapshot.id}": "whole"}, have={f"layer {snapshot.id}": text}
            )
        kept = self._kept(snapshot.id)
        content = _packed(now)
        differs = kept is not None and kept[0] != sha256_hex(content)
        is_whole = self._is_whole(snapshot) if differs or deep else None
        if (kept is None and is_whole is not False) or (differs and is_whole):
            self._keep(snapshot.id, content)
        if is_whole or not (differs or deep):
            return Facts(kind="layer", subject=name)
        before = now if kept is None else _unpacked(kept[1])
        return _altered(name, snapshot, before, now, is_proven=is_whole is False)

    def _is_whole(self, snapshot: CommittedSnapshot) -> bool | None:
        """Whether the files still give the layer's digest; None where it came from elsewhere and gave none."""
        row = self._database.one("SELECT tree FROM layers WHERE snapshot = ?", (snapshot.id,))
        if row is None or row["tree"] is None:
            return None
        with suppress(BennuError, OSError):
            return bool(OverlayDiffer(self._snapshots).diff(snapshot).diff_id == row["tree"])
        return False

    def _kept(self, snapshot: SnapshotId) -> tuple[str, bytes] | None:
        row = self._database.one("SELECT digest, body FROM layer_inventories WHERE snapshot = ?", (snapshot,))
        return None if row is None else (row["digest"], row["body"])

    def _keep(self, snapshot: SnapshotId, content: bytes) -> None:
        with self._database.transaction(durable=False) as rows:
            rows.execute(
                "INSERT OR REPLACE INTO layer_inventories (snapshot, digest, body, recorded)"
                " SELECT id, ?, ?, ? FROM snapshots WHERE id = ?",
                (sha256_hex(content), zlib.compress(content, 1), time.time(), snapshot),
            )


def _packed(items: list[Item]) -> bytes:
    return msgspec.msgpack.encode([tuple(item) for item in items])


def _unpacked(body: bytes) -> list[Item]:
    return [Item(*each) for each in msgspec.msgpack.decode(zlib.decompress(body))]


def _altered(name: str, snapshot: CommittedSnapshot, before: list[Item], now: list[Item], *, is_proven: bool) -> Facts:
    want, have, since = differences(before, now)
    if not want and not have:
        if not is_proven:
            return Facts(kind="layer", subject=name)
        key = f"layer {snapshot.id}"
        return Facts(kind="layer", subject=name, want={key: "the layer's digest"}, have={key: "another content"})
    return Facts(kind="layer", subject=name, want=want, have=have, since=since)


def differences(before: Iterable[Item], now: Iterable[Item]) -> tuple[dict[str, str], dict[str, str], dict[str, float]]:
    """What is another in one inventory than in the other: wanted texts, texts, and since when. Pure."""
    old, new = {item.path: item for item in before}, {item.path: item for item in now}
    changed = [path for path in sorted(old.keys() | new.keys()) if old.get(path) != new.get(path)]
    # a directory in which something came or went is no news beside that
    changed = [path for path in changed if not _is_only_parent(path, old, new, changed)]
    want = {path: str(old[path]) for path in changed if path in old}
    have = {path: _told(old.get(path), new[path]) for path in changed if path in new}
    return want, have, {path: new[path].ctime_ns / 1e9 for path in have}


def _is_only_parent(path: str, old: Mapping[str, Item], new: Mapping[str, Item], changed: list[str]) -> bool:
    before, after = old.get(path), new.get(path)
    if before is None or after is None or (before.mode, before.owner) != (after.mode, after.owner):
        return False
    inside = path.rstrip("/") + "/"
    return before.inode == after.inode and any(other.startswith(inside) for other in changed if other != path)


def _told(before: Item | None, after: Item) -> str:
    """The text of a thing, which is to differ from that of what it was."""
    text = str(after)
    if before is not None and text == str(before):
        changed = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(after.ctime_ns // 1_000_000_000))
        return f"{text}, changed {changed}"
    return text
