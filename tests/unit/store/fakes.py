"""The store's contracts in memory, for tests of what stands on them."""

import io
import itertools
import time
from contextlib import contextmanager
from pathlib import Path

from bennu.digest import digest_of
from bennu.errors import Conflict, Corrupt, NotFound
from bennu.oci.image_config import chain_ids
from bennu.store.base import CommittedSnapshot, LayerInfo


class MemoryLayers:
    """A ``LayerStore`` and as much of a ``Snapshotter`` as images need: each snapshot is the bytes of its layer."""

    def __init__(self):
        self.contents = {}
        self.foreign = set()
        self.chains = {}
        self.removed = []
        self.syncs = 0
        self.made = {}
        self._numbers = itertools.count(1)

    def make(self, content, parent=None):
        """A committed snapshot whose canonical layer is ``content``."""
        snapshot = CommittedSnapshot(f"s{next(self._numbers)}", parent.chain if parent else ())
        self.contents[snapshot.id] = content
        self.made[snapshot.id] = time.time()
        ids = [digest_of(self.contents[one]) for one in reversed(snapshot.chain)]
        self.chains.setdefault(chain_ids(ids)[-1], snapshot)
        return snapshot

    def info(self, snapshot, *, give_up=None):
        content = self.contents[snapshot.id]
        return LayerInfo(digest_of(content), len(content))

    def snapshot_of(self, diff_ids):
        return self.chains.get(chain_ids(diff_ids)[-1]) if diff_ids else None

    @contextmanager
    def open(self, diff_id):
        for name, content in self.contents.items():
            if digest_of(content) == diff_id and name not in self.foreign:
                yield io.BytesIO(content)
                return
        raise NotFound(f"layer {diff_id} is not in the store")

    def unpack(self, stream, parent, expected):
        content = stream.read()
        if digest_of(content) != expected:
            raise Corrupt(f"layer {expected} has the diff_id {digest_of(content)}")
        snapshot = self.make(content, parent)
        if b"foreign" in content:
            self.foreign.add(snapshot.id)
        return snapshot

    def is_canonical(self, snapshot):
        return snapshot.id not in self.foreign

    def sync(self):
        self.syncs += 1

    def stat(self, snapshot_id):
        return next((each for each in self.chains.values() if each.id == snapshot_id), None)

    def walk(self):
        yield from list(self.chains.values())

    def recent(self, since):
        yield from (each for each in self.chains.values() if self.made[each.id] >= since)

    def directory(self, snapshot):
        return Path("/nonexistent") / snapshot.id

    def touch(self, snapshot):
        self.made[snapshot.id] = time.time()

    def remove(self, snapshot, *, unused_since=float("inf")):
        if self.made[snapshot.id] >= unused_since:
            raise Conflict("it has just been used")
        if any(snapshot.id in each.parents for each in self.chains.values()):
            raise Conflict("it has others standing on it")
        self.removed.append(snapshot.id)
        self.chains = {chain: each for chain, each in self.chains.items() if each.id != snapshot.id}
        self.contents.pop(snapshot.id, None)

    def sweep(self):
        return 0
