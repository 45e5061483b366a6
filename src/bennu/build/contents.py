"""The content of what a COPY takes, as one digest; and the digests of files, remembered so that few are read twice.

A file whose device, inode, size, mtime and ctime are what they were has the content that it had (``FileDigests``). An
entry whose mtime or ctime is not older than the scan's start is not remembered: two edits within one tick of the clock
would go unseen. What counts: relative path, type, permission bits, owner (a context's is root), link target,
extended attributes, device number, content. What does not: times, and where the context lies.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
import time
from collections.abc import Iterable
from typing import Final

from bennu.build.source import Entry, Selection
from bennu.digest import Digest
from bennu.store.database import Database

BLOCK_BYTES: Final = 1 << 20
RACY_NS: Final = 20_000_000  # times of files come from the last timer tick, up to 10 ms ago
PARALLEL_FROM: Final = 64

_Signature = tuple[int, int, int, int, int]


class FileDigests:
    """The remembered digests of the files below one root. ``hashed`` counts files that were read, for tests."""

    def __init__(self, database: Database | None, root: str) -> None:
        self._database = database
        self._root = root
        self._known: dict[str, tuple[_Signature, bytes]] | None = None
        self._lock = threading.Lock()
        self.hashed = 0

    def of(self, entries: Iterable[Entry]) -> dict[str, bytes]:
        """The sha256 of each regular file, by its path."""
        started = time.time_ns()
        known = self._load()
        result: dict[str, bytes] = {}
        unknown: list[Entry] = []
        for entry in entries:
            found = known.get(entry.path)
            if found is not None and found[0] == _signature(entry.status):
                result[entry.path] = found[1]
            else:
                unknown.append(entry)
        fresh = self._hash(unknown)
        result.update(fresh)
        self._remember(unknown, fresh, started)
        return result

    def _load(self) -> dict[str, tuple[_Signature, bytes]]:
        with self._lock:
            if self._known is None:
                rows = (
                    self._database.query("SELECT * FROM file_digests WHERE root = ?", (self._root,))
                    if self._database
                    else []
                )
                self._known = {
                    row["path"]: (
                        (row["device"], row["inode"], row["size_bytes"], row["mtime_ns"], row["ctime_ns"]),
                        row["digest"],
                    )
                    for row in rows
                }
            return self._known

    def _hash(self, entries: list[Entry]) -> dict[str, bytes]:
        self.hashed += len(entries)
        if len(entries) < PARALLEL_FROM and sum(entry.status.st_size for entry in entries) < 8 * BLOCK_BYTES:
            return {entry.path: _file_digest(entry.path) for entry in entries}
        from concurrent.futures import ThreadPoolExecutor  # dear to import, and most builds read few files

        with ThreadPoolExecutor(2) as pool:  # hashing releases the interpreter lock
            return dict(zip((e.path for e in entries), pool.map(_file_digest, (e.path for e in entries)), strict=True))

    def _remember(self, entries: list[Entry], fresh: dict[str, bytes], started_ns: int) -> None:
        rows = []
        for entry in entries:
            status = entry.status
            if max(status.st_mtime_ns, status.st_ctime_ns) >= started_ns - RACY_NS:
                continue
            signature = _signature(status)
            self._load()[entry.path] = (signature, fresh[entry.path])
            rows.append((self._root, entry.path, *signature, fresh[entry.path]))
        if rows and self._database:
            with self._database.transaction(durable=False) as connection:
                connection.executemany(
                    "INSERT OR REPLACE INTO file_digests"
                    " (root, path, device, inode, size_bytes, mtime_ns, ctime_ns, digest)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    rows,
                )


def content_digest(selection: Selection, digests: FileDigests) -> Digest:
    """The digest of all that a selection would copy, framed field by field."""
    regular = [e for item in selection.items for e in item.entries if stat.S_ISREG(e.status.st_mode)]
    by_path = digests.of(regular)
    running = hashlib.sha256()
    for item in selection.items:
        name = "" if item.is_directory else item.name
        running.update(b"item %d %d:" % (item.is_directory, len(item.entries)) + _framed(os.fsencode(name)))
        for entry in item.entries:
            if item.is_directory and not entry.target:
                continue  # the contents are copied; the directory's own appearance is not
            running.update(_described(entry, selection, by_path))
    return Digest(f"sha256:{running.hexdigest()}")


def _described(entry: Entry, selection: Selection, by_path: dict[str, bytes]) -> bytes:
    status = entry.status
    mode = status.st_mode
    owner = (status.st_uid, status.st_gid) if selection.keeps_owners else (0, 0)
    if stat.S_ISREG(mode):
        detail = by_path[entry.path]
    elif stat.S_ISLNK(mode):
        detail = os.fsencode(os.readlink(entry.path))
    elif stat.S_ISBLK(mode) or stat.S_ISCHR(mode):
        detail = b"%d" % status.st_rdev
    else:
        detail = b""
    attributes = b"".join(
        _framed(name) + _framed(value) for name, value in (portable_xattrs(entry) if selection.keeps_owners else ())
    )
    head = b"%o %d %d" % (mode if not stat.S_ISLNK(mode) else stat.S_IFLNK, *owner)
    return _framed(os.fsencode(entry.target)) + _framed(head) + _framed(detail) + _framed(attributes)


def portable_xattrs(entry: Entry) -> list[tuple[bytes, bytes]]:
    """The extended attributes that belong to an image, sorted by name."""
    from bennu.store.tree import is_portable

    try:
        names = sorted(map(os.fsencode, os.listxattr(entry.path, follow_symlinks=False)))
    except OSError:  # a file system without them
        return []
    return [(name, os.getxattr(entry.path, name, follow_symlinks=False)) for name in names if is_portable(name)]


def _framed(data: bytes) -> bytes:
    return b"%d:" % len(data) + data


def _signature(status: os.stat_result) -> _Signature:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _file_digest(path: str) -> bytes:
    running = hashlib.sha256()
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        while block := os.read(fd, BLOCK_BYTES):
            running.update(block)
    finally:
        os.close(fd)
    return running.digest()
