"""The files of a source as they were seen, in the order of the walk: a hundred bytes each, whatever a context has.

A status in Python takes most of a kilobyte and a path some more. Here they are packed, some hundreds together, and
come apart while somebody looks. ``source`` fills this, ``contents`` and ``copying`` read it.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from itertools import islice
from typing import Final, NamedTuple


class Status(NamedTuple):
    """What counts of ``os.stat_result``, by the same names."""

    st_dev: int
    st_ino: int
    st_size: int
    st_mtime_ns: int
    st_ctime_ns: int
    st_mode: int
    st_uid: int
    st_gid: int
    st_nlink: int
    st_rdev: int


_STATUS: Final = struct.Struct("=QQqqqIIIQQ")
_pack: Final = _STATUS.pack
_BATCH: Final = 512
PACKED_BYTES: Final = _STATUS.size
"""The length of ``Entry.packed``."""
SIGNATURE_BYTES: Final = 40
"""So much of ``Entry.packed`` tells the content of a file from another one: device, inode, size, mtime, ctime."""


class Entry(NamedTuple):
    """One file, directory or link. ``target`` is relative to its item, empty for the item itself."""

    target: str
    path: str
    packed: bytes

    @property
    def status(self) -> Status:
        """Its status, unpacked: take it once."""
        return Status._make(_STATUS.unpack(self.packed))

    @property
    def is_directory(self) -> bool:
        """A directory, and no link to one."""
        return stat.S_ISDIR(self.status.st_mode)


class Entries:
    """The entries of the item at ``path``, itself first, directories before what is in them.

    ``details`` holds the first ``DETAIL_BYTES`` of the digest of each regular file in their order, once ``contents``
    has been through them.
    """

    DETAIL_BYTES: Final = 8
    """Enough of a digest to tell two contents of one path apart."""

    def __init__(self, path: str, status: os.stat_result) -> None:
        self._path = path
        self._batches: list[tuple[bytes, bytes]] = []
        self._targets: list[str] = []
        self._packed: list[bytes] = []
        self._full = 0
        self.details = bytearray()
        self.append("", status)
        self.first = Entry("", path, self._packed[0])

    def __len__(self) -> int:
        return self._full + len(self._targets)

    def __iter__(self) -> Iterator[Entry]:
        size, base = _STATUS.size, self._path
        for names, packed in (*self._batches, ("\0".join(self._targets).encode(*_CODEC), b"".join(self._packed))):
            for number, target in enumerate(names.decode(*_CODEC).split("\0")):
                path = f"{base}/{target}" if target else base
                yield Entry(target, path, packed[number * size : (number + 1) * size])

    def rest(self) -> Iterator[Entry]:
        """All but the item itself."""
        return islice(self, 1, None)

    def append(self, target: str, status: os.stat_result) -> None:
        """Add what was seen below the item, as lstat(2) tells of it."""
        if len(self._targets) == _BATCH:
            self._batches.append(("\0".join(self._targets).encode(*_CODEC), b"".join(self._packed)))
            self._full += _BATCH
            self._targets.clear()
            self._packed.clear()
        self._targets.append(target)
        # as a tuple, which is quicker than by names, where there is a choice
        mode, inode, device, links, uid, gid, size, _, _, _ = status
        self._packed.append(
            _pack(device, inode, size, status.st_mtime_ns, status.st_ctime_ns, mode, uid, gid, links, status.st_rdev)
        )

    def drop(self) -> None:
        """Take the last one away again."""
        self._targets.pop()
        self._packed.pop()


_CODEC: Final = ("utf-8", "surrogateescape")
