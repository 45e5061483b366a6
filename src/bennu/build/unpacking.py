"""ADD of archives: recognised by their content, unpacked into a directory of a step's tree by Docker's rules.

An archive is what begins with a valid header of tar once it is decompressed (gzip, bzip2, xz, zstd), whatever its name.
Its directory is to it what the root is to a process: absolute names and links end there, and what would lead out is
refused. Owners, modes, attributes and times are the archive's, ``--chown`` sets all owners but those of directories
that the archive does not name, ``--chmod`` nothing. What is in the way is replaced, a directory by a file too. Names
such as ``.wh.x`` mean nothing special. ``store.tree_writer`` writes.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from bennu.errors import Corrupt, Failed, Invalid, Unavailable, Unsupported
from bennu.store.compression import decompressed
from bennu.store.tar_reader import TarReader
from bennu.store.tree_writer import TreeWriter

MAGIC: Final = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")
HEADER_BYTES: Final = 512
_CHECKSUM: Final = slice(148, 156)
_OWN_WORD: Final = "layer "


def is_archive(path: str) -> bool:
    """Whether ADD unpacks a file, which is opened and of which little is read."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(fd, "rb") as stream:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return False
        head = stream.read(HEADER_BYTES)
        if not head.startswith(MAGIC) and not _looks_like_a_header(head):
            return False
        stream.seek(0)
        try:
            with decompressed(stream, path, as_it_comes=True) as plain, TarReader(plain) as reader:
                return next(iter(reader), None) is not None
        except Corrupt:
            return False
        except Unsupported:  # an archive, of a kind that unpacking refuses by name
            return True


def _looks_like_a_header(head: bytes) -> bool:
    """Whether a block could be a header: its checksum, in any of the ways in which it is written, is a number."""
    return len(head) == HEADER_BYTES and not head[_CHECKSUM].strip(b"01234567 \0") and any(head)


def unpack(path: str, name: str, directory: int, owner: tuple[int, int] | None) -> None:
    """Unpack an archive into an open directory. ``Invalid`` names it, and the entry that is at fault."""
    with ExitStack() as stack:
        stack.enter_context(_named(name))
        stream = stack.enter_context(open(path, "rb"))
        reader = stack.enter_context(TarReader(stack.enter_context(decompressed(stream, name, as_it_comes=True))))
        writer = stack.enter_context(TreeWriter(directory, whiteouts=False))
        for member in reader:
            if owner is not None:
                member.uid, member.gid = owner
            member.mtime = max(member.mtime, 0)
            writer.write(member, reader)


@contextmanager
def _named(name: str) -> Iterator[None]:
    try:
        yield
    except Unavailable:
        raise
    except (Corrupt, Failed, Unsupported) as error:
        what = error.message.removeprefix(f"{name} ").removeprefix(_OWN_WORD)
        raise Invalid(f"archive {name!r} cannot be unpacked: {what}", "--unpack=false copies it as it is") from error
