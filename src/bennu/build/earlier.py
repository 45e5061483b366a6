"""Earlier excerpts of the same place: which of their files are what a new one would hold, so that they are linked.

A file of an excerpt was copied from one of the context. While that one has the same status, to its inode and its change
time, so is the copy what copying would give again; a hard link to it, from one tree of the store to another, is the
same file at a tenth of the price. Nothing is ever linked from a context. A file whose times are not older than the look
at it is not noted: two edits within one tick of the clock would go unseen.

For each place one flat file says which snapshot the last excerpt is, and in the order of the walk what its files were
copied from. It lies with those of ``file_digests``, is pruned with them and, where it is not whole, counts for nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bennu.build.entries import PACKED_BYTES, Entries, Entry, Status
from bennu.build.file_digests import RACY_NS, prune
from bennu.digest import sha256_bytes, sha256_hex
from bennu.host import files
from bennu.store.base import CommittedSnapshot, SnapshotId
from bennu.store.snapshots import Snapshots

_MAGIC: Final = b"bennu excerpt 1\n"
_DIGEST_BYTES: Final = 32


class Earlier:
    """The last excerpt of one place, as long as its snapshot is there. ``content``: where it has the item.

    ``linked`` counts files that were linked, for tests.
    """

    def __init__(self, directory: Path, place: str, look: str) -> None:
        """``place`` is the absolute path of what is taken, ``look`` says how the copies appear."""
        self._file = directory / f"{sha256_hex(os.fsencode(f'excerpt {look} {place}'))[:32]}"
        self._records: Iterator[tuple[list[str], bytes]] = iter(())
        self._at: tuple[list[str], bytes] | None = None
        self._base = ""
        self.linked = 0

    def open(self, snapshots: Snapshots, content: str) -> None:
        """Look for it. From now on its snapshot stays until whatever is under way has ended."""
        found = _read(self._file)
        if found is None:
            return
        name, body = found
        snapshot = snapshots.stat(SnapshotId(name))
        if snapshot is None:
            return
        snapshots.touch(snapshot)
        if snapshots.stat(snapshot.id) is None:
            return
        self._base = f"{snapshots.directory(snapshot)}/{content.strip('/')}"
        self._records = _unpacked(body)
        self._at = next(self._records, None)

    def link(self, entry: Entry, status: Status, fd: int, name: str) -> bool:
        """Make a file in a directory of the new tree as a link, if the same one is there. Entries come in order."""
        wanted = _parts(entry.target)
        while self._at is not None and self._at[0] < wanted:
            self._at = next(self._records, None)
        if self._at is None or self._at != (wanted, entry.packed) or status.st_nlink > 1:
            return False
        try:
            os.link(f"{self._base}/{entry.target}", name, dst_dir_fd=fd, follow_symlinks=False)
        except OSError:  # too many links, as like as not, or it is there already
            return False
        self.linked += 1
        return True

    def note(self, snapshot: CommittedSnapshot, entries: Entries, started_ns: int) -> None:
        """Remember what the files of a new excerpt were copied from, which is looked at from ``started_ns`` on."""
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self._file.exists():
            prune(self._file.parent)
        body = bytearray(snapshot.id.encode() + b"\n")
        for entry in entries.rest():
            status = entry.status
            if max(status.st_mtime_ns, status.st_ctime_ns) < started_ns - RACY_NS and status.st_nlink == 1:
                body += os.fsencode(entry.target) + b"\0" + entry.packed
        files.write_atomic(self._file, b"".join((_MAGIC, sha256_bytes(body), body)), mode=0o600, durable=False)


def _read(file: Path) -> tuple[str, bytes] | None:
    """The snapshot and the records; None where there are none, or they are not whole."""
    try:
        data = file.read_bytes()
    except OSError:
        return None
    head = len(_MAGIC) + _DIGEST_BYTES
    if not data.startswith(_MAGIC) or data[len(_MAGIC) : head] != sha256_bytes(data[head:]):
        return None
    name, _, body = data[head:].partition(b"\n")
    return name.decode(), body


def _unpacked(body: bytes) -> Iterator[tuple[list[str], bytes]]:
    """Paths and packed statuses."""
    at = 0
    while at < len(body):
        end = body.index(b"\0", at) + 1
        target, at = os.fsdecode(body[at : end - 1]), end + PACKED_BYTES
        yield _parts(target), body[end:at]


def _parts(target: str) -> list[str]:
    """A path in the order of the walk: what is in a directory comes right after it."""
    return target.split("/")
