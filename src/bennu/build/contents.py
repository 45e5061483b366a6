"""The content of what a COPY takes, as one digest.

What counts: relative path, type, permission bits, owner (a context's is root), link target, extended attributes,
device number, content. What does not: times, and where the context lies. ``file_digests`` has the contents of files.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import Final

from bennu.build.entries import Entries, Entry
from bennu.build.file_digests import FileDigests
from bennu.build.source import Item, Selection
from bennu.digest import Digest, finish, hash_of_about

ENTRY_BYTES: Final = 100
"""About what an entry adds to the digest's input."""


def content_digest(selection: Selection, digests: FileDigests) -> Digest:
    """The digest of all that a selection would copy, framed field by field."""
    running = hash_of_about(ENTRY_BYTES * selection.walked)
    with digests.asked() as digest_of:
        for item in selection.items:
            name = "" if item.is_directory else item.name
            running.update(b"item %d %d:" % (item.is_directory, len(item.entries)) + _framed(os.fsencode(name)))
            # where the contents of a directory are copied, its own appearance is not
            entries = item.entries.rest() if item.is_directory else item.entries
            item.entries.details.clear()
            for entry in entries:
                running.update(_described(entry, item, digest_of, keeps_owners=selection.keeps_owners))
    return finish(running)


def mount_digest(selection: Selection, digests: FileDigests, *, is_root: bool = False) -> Digest:
    """The digest of what a mount shows: a directory's own appearance counts unless it ``is_root``, a name does not."""
    (item,) = selection.items
    running = hash_of_about(ENTRY_BYTES * len(item.entries))
    running.update(b"mount %d:" % len(item.entries))
    item.entries.details.clear()
    with digests.asked() as digest_of:
        for entry in item.entries.rest() if is_root else item.entries:
            running.update(_described(entry, item, digest_of, keeps_owners=selection.keeps_owners))
    return finish(running)


def _described(entry: Entry, item: Item, digest_of: Callable[[Entry], bytes], *, keeps_owners: bool) -> bytes:
    """An entry in bytes that tell where they end: no path has a zero in it, and a digest's length is known.

    The start of a file's digest is noted in its item.
    """
    status = entry.status
    mode = status.st_mode
    kind = stat.S_IFMT(mode)
    if kind == stat.S_IFREG:
        detail = digest_of(entry)
        item.entries.details += detail[: Entries.DETAIL_BYTES]
    elif kind == stat.S_IFLNK:
        mode = stat.S_IFLNK
        detail = _framed(os.fsencode(os.readlink(entry.path)))
    elif kind in {stat.S_IFBLK, stat.S_IFCHR}:
        detail = _framed(b"%d" % status.st_rdev)
    else:
        detail = b""
    if not keeps_owners:
        return os.fsencode(f"{entry.target}\0{mode:o}\0") + detail
    head = os.fsencode(f"{entry.target}\0{mode:o} {status.st_uid} {status.st_gid}\0")
    attributes = [_framed(name) + _framed(value) for name, value in portable_xattrs(entry)]
    return b"".join((head, detail, b"%d:" % len(attributes), *attributes))


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
