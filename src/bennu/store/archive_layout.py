"""A directory that is an OCI layout, read as an archive is: the same names, the same checks, nothing outside it.

Source: OCI image specification, image-layout.md. ``archive_reader`` finds the images in it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from bennu.errors import Invalid, NotFound
from bennu.host import files
from bennu.store.archive_tar import Member


class File(Member, frozen=True):
    """A file of the layout, by its path there."""

    path: str = ""


class LayoutDirectory:
    """An open layout. ``what`` is what errors call it."""

    def __init__(self, fd: int, what: str) -> None:
        self._fd = fd
        self.what = what

    def find(self, name: str) -> Member | None:
        """The file of this name, links followed inside the layout; None if there is none."""
        try:
            fd = files.open_in_root(self._fd, name, os.O_PATH)
        except OSError:
            return None
        try:
            status = os.fstat(fd)
        finally:
            os.close(fd)
        return File(0, status.st_size, path=name) if stat.S_ISREG(status.st_mode) else None

    def member(self, name: str) -> Member:
        """As ``find``; ``Invalid`` if it is missing."""
        found = self.find(name)
        if found is None:
            raise Invalid(f"{self.what} lacks {name!r}, which it refers to")
        return found

    def open(self, member: Member) -> IO[bytes]:
        """A file's bytes."""
        assert isinstance(member, File)
        return open(files.open_in_root(self._fd, member.path, os.O_RDONLY | os.O_CLOEXEC), "rb")

    def read(self, name: str, limit_bytes: int) -> bytes:
        """A small file whole; ``Invalid`` if it is missing or larger than the limit."""
        member = self.member(name)
        if member.size_bytes > limit_bytes:
            raise Invalid(f"{self.what}: {name!r} is larger than {limit_bytes >> 20} MiB")
        with self.open(member) as stream:
            return stream.read()


@contextmanager
def opened_layout(path: Path) -> Iterator[LayoutDirectory]:
    """The layout in a directory. ``NotFound`` if there is no directory, ``Invalid`` if it is no layout."""
    what = f"OCI layout {str(path)!r}"
    if not path.is_dir():
        raise NotFound(f"{what} is not a directory")
    with files.directory(path) as fd:
        layout = LayoutDirectory(fd, what)
        if layout.find("index.json") is None:
            raise Invalid(f"{what} has no index.json", "`bennu save` or `bennu build -o type=oci` makes one")
        yield layout
