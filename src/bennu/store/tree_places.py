"""Directories inside a snapshot while a layer is unpacked: found, followed through links, made where they are missing.

A layer is written into the snapshot's own directory, but means the merged tree: a parent that only the layers below
have is made anew with their mode, owner, attributes and time; a link that only they have is followed; ``..`` and
absolute links end at the snapshot's root. Paths are walked name by name with descriptors, so no string ever decides
where a write goes. Nobody else writes to the snapshot meanwhile. See ``tree_writer`` for the entries themselves.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import Final

from bennu.errors import Corrupt
from bennu.host import syscalls
from bennu.store.tree import OPAQUE_XATTR, is_portable

MAX_LINKS: Final = 40
OPEN_DIRECTORIES: Final = 64

_OPEN: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_RULES: Final = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS


@dataclass(slots=True, eq=False)
class Place:
    """A directory that is there: its real path from the root, and (once asked) whether lower layers show through."""

    path: bytes
    parent: Place | None
    merged: bool | None = None

    def below(self, name: bytes) -> bytes:
        """The path of something in it."""
        return self.path + b"/" + name if self.path else name


class Places:
    """The directories of one snapshot. ``root`` and ``lower`` are descriptors that the caller keeps open. Where it
    ``is_confined``, a link whose dots lead out of the root is ``Corrupt``; otherwise it ends at the root.

    ``mtimes`` has the time (nanoseconds) that each directory which was touched is to have at the end; ``mtime`` is the
    time of the entry at hand, for parents that nobody describes.
    """

    def __init__(self, root: int, lower: int | None, *, is_confined: bool = False) -> None:
        self._root = root
        self._is_confined = is_confined
        self._lower = lower
        self._top = Place(b"", None, lower is not None)
        self._known: dict[bytes, Place] = {b"": self._top}
        self._fds: dict[bytes, int] = {}
        self.mtimes: dict[bytes, int] = {b"": os.fstat(root).st_mtime_ns}
        self.mtime = 0

    def close(self) -> None:
        """Close what was opened."""
        for fd in self._fds.values():
            os.close(fd)
        self._fds.clear()

    def of(self, path: bytes) -> Place:
        """The directory at a clean path, links followed, made with its parents where it is missing."""
        place = self._known.get(path)
        return place if place is not None else self._walk(path)

    def fd(self, place: Place) -> int:
        """A directory's descriptor, good until ``OPEN_DIRECTORIES`` others were asked for."""
        if place is self._top:
            return self._root
        fd = self._fds.pop(place.path, None)
        if fd is None:
            while len(self._fds) >= OPEN_DIRECTORIES:
                os.close(self._fds.pop(next(iter(self._fds))))
            fd = syscalls.openat2(self._root, place.path, _OPEN, 0, _RULES)
        self._fds[place.path] = fd  # last in order: the first is closed when room is needed
        return fd

    def make(self, parent: Place, name: bytes) -> Place:
        """A new directory, 0700 and root's until the caller says otherwise. ``FileExistsError``."""
        os.mkdir(name, 0o700, dir_fd=self.fd(parent))
        return self.know(parent, name)

    def know(self, parent: Place, name: bytes) -> Place:
        """The place of a directory that is there."""
        place = Place(parent.below(name), parent)
        self._known[place.path] = place
        return place

    def forget(self, path: bytes) -> None:
        """A directory was removed: it and all below it are places no more."""
        prefix = path + b"/"
        self.close()
        for gone in [each for each in self._known if each == path or each.startswith(prefix)]:
            del self._known[gone]
            self.mtimes.pop(gone, None)

    def is_merged(self, place: Place) -> bool:
        """Whether the layers below show through a directory, that is, have one at its path that nothing hides."""
        asked = [place]
        while asked[-1].merged is None and asked[-1].parent is not None:
            asked.append(asked[-1].parent)
        for each in reversed(asked):  # no recursion: a hostile layer nests deeper than Python's stack
            if each.merged is None:
                assert each.parent is not None
                each.merged = bool(each.parent.merged) and self._shows_through(each)
        return bool(place.merged)

    def _shows_through(self, place: Place) -> bool:
        assert self._lower is not None
        try:
            status = os.stat(place.path, dir_fd=self._lower, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return stat.S_ISDIR(status.st_mode) and not _is_opaque(self.fd(place))

    def status_below(self, place: Place, name: bytes) -> os.stat_result | None:
        """What the layers below have there, links not followed; None if nothing, or if it is hidden."""
        if self._lower is None or not self.is_merged(place):
            return None
        try:
            return os.stat(place.below(name), dir_fd=self._lower, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def hide_below(self, place: Place) -> None:
        """Make a directory opaque where it is not yet, and there is something to hide."""
        if self.is_merged(place):
            os.setxattr(self.fd(place), OPAQUE_XATTR, b"y")
            place.merged = False

    def _walk(self, path: bytes) -> Place:
        names = [name for name in reversed(path.split(b"/")) if name]
        place = self._top
        links = 0
        while names:
            name = names.pop()
            if name == b".":
                continue
            if name == b"..":
                if self._is_confined and place.parent is None:
                    raise Corrupt(f"layer has an entry below {os.fsdecode(path)!r}, which leads out of the root")
                place = place.parent or self._top
                continue
            following = self._known.get(place.below(name)) or self._step(place, name)
            if isinstance(following, Place):
                place = following
                continue
            links += 1
            if links > MAX_LINKS:
                raise Corrupt(f"layer has an entry below {os.fsdecode(path)!r}, which is a link to itself")
            names += [each for each in reversed(following.split(b"/")) if each]
            if following.startswith(b"/"):
                place = self._top
        return place

    def _step(self, place: Place, name: bytes) -> Place | bytes:
        """The directory of this name, made if it is missing, or the target of the link that it is."""
        fd = self.fd(place)
        try:
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            return self._missing(place, name)
        if stat.S_ISDIR(status.st_mode):
            self.mtimes.setdefault(place.below(name), status.st_mtime_ns)
            return self.know(place, name)
        if stat.S_ISLNK(status.st_mode):
            return os.readlink(name, dir_fd=fd)
        if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
            os.unlink(name, dir_fd=fd)
            made = self._fresh(place, name)
            self.hide_below(made)
            return made
        raise Corrupt(f"layer has an entry below {os.fsdecode(place.below(name))!r}, which is not a directory")

    def _missing(self, place: Place, name: bytes) -> Place | bytes:
        status = self.status_below(place, name)
        if status is None:
            return self._fresh(place, name)
        path = place.below(name)
        assert self._lower is not None
        if stat.S_ISLNK(status.st_mode):
            return os.readlink(path, dir_fd=self._lower)
        if not stat.S_ISDIR(status.st_mode):
            raise Corrupt(
                f"layer has an entry below {os.fsdecode(path)!r}, which is not a directory in the layers below"
            )
        made = self.make(place, name)
        made.merged = True
        source = os.open(path, _OPEN, dir_fd=self._lower)
        try:
            _copy_appearance(source, self.fd(made))
        finally:
            os.close(source)
        self.mtimes[path] = status.st_mtime_ns
        return made

    def _fresh(self, place: Place, name: bytes) -> Place:
        # nobody says what it is like: Docker's mode and owner, and a time that is the same wherever this is unpacked
        made = self.make(place, name)
        os.chmod(self.fd(made), 0o755)  # noqa: S103
        self.mtimes[made.path] = self.mtime * 1_000_000_000
        return made


def _copy_appearance(source: int, target: int) -> None:
    status = os.fstat(source)
    os.fchown(target, status.st_uid, status.st_gid)
    os.fchmod(target, status.st_mode & 0o7777)
    for name in os.listxattr(source):
        if is_portable(os.fsencode(name)):
            os.setxattr(target, name, os.getxattr(source, name))


def _is_opaque(fd: int) -> bool:
    return OPAQUE_XATTR in os.listxattr(fd) and os.getxattr(fd, OPAQUE_XATTR) == b"y"
