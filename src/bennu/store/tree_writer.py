"""From a layer to a snapshot's own directory: entries written one after the other, whatever their names and links say.

``.wh.NAME`` and ``.wh..wh..opq`` become overlayfs's whiteouts and opaque directories, where the layers below have
something to hide; they never touch what this layer itself brings, in whatever order (OCI image specification, layer.md,
"Whiteouts"). A later entry of the same name replaces the earlier one. Owner, mode with setuid bits, attributes and
times are the archive's; directories get their times at the end. Where writes go is decided in ``tree_places``.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from bennu.errors import Corrupt, Failed, Unavailable
from bennu.host.files import remove_tree
from bennu.store.tar import BLOCK_DEVICE, CHARACTER, DIRECTORY, FIFO, HARD_LINK, REGULAR, SYMLINK, Member
from bennu.store.tar_reader import TarReader
from bennu.store.tree import OPAQUE, WHITEOUT, is_portable
from bennu.store.tree_places import Place, Places

_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_AUFS: Final = b".wh..wh."
_NODES: Final = {CHARACTER: stat.S_IFCHR, BLOCK_DEVICE: stat.S_IFBLK, FIFO: stat.S_IFIFO}


class TreeWriter:
    """Writes entries into the directory ``root`` over the tree ``lower`` (descriptors that the caller keeps open).

    ``whiteouts`` off is for an archive that is no layer: its names are literal, the root's own entry and attributes
    that the file system refuses are passed over, no link leads out, and a hard link's header counts. ``exact`` is for a
    backup: the root's own entry counts, and every attribute, times to the nanosecond, devices 0/0.

    Leaving the block without an error sets the directories' times. Errors: ``Corrupt`` for what an archive must not
    say, ``Failed`` and ``Unavailable`` (no space) from the kernel; each names the entry.
    """

    def __init__(self, root: int, lower: int | None = None, *, whiteouts: bool = True, exact: bool = False) -> None:
        self._root = root
        self._places = Places(root, lower, is_confined=not whiteouts)
        self._whiteouts = whiteouts
        self._exact = exact

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                for path, mtime in self._places.mtimes.items():
                    os.utime(path or b".", ns=(mtime, mtime), dir_fd=self._root, follow_symlinks=False)
        finally:
            self._places.close()

    def write(self, member: Member, content: TarReader | None = None) -> None:
        """Write one entry; a regular file takes its bytes from ``content``, whose member at hand it is."""
        try:
            self._places.mtime = member.mtime
            path = cleaned(member.name)
            parent, _, name = path.rpartition(b"/")
            if not name:
                self._top(member)
            elif self._whiteouts and name.startswith(WHITEOUT):
                self._removal(parent, name)
            else:
                self._entry(self._places.of(parent), name, member, content)
        except OSError as error:
            entry = os.fsdecode(member.name)
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                hint = "`bennu gc` removes what nothing needs"
                raise Unavailable(f"layer entry {entry!r} cannot be unpacked: {error.strerror}", hint) from error
            raise Failed(f"layer entry {entry!r} cannot be unpacked: {error.strerror}") from error

    def _entry(self, place: Place, name: bytes, member: Member, content: TarReader | None) -> None:
        kind = member.kind
        if kind == REGULAR:
            self._file(place, name, member, content)
        elif kind == DIRECTORY:
            self._directory(place, name, member)
        elif kind == HARD_LINK:
            self._hard_link(place, name, member)
        elif kind == SYMLINK:
            self._free(place, name)
            os.symlink(member.link, name, dir_fd=self._places.fd(place))
            self._dress_by_name(place, name, member, is_link=True)
        elif kind in _NODES:
            if kind == CHARACTER and member.device == (0, 0) and not self._exact:
                raise Corrupt(f"layer entry {os.fsdecode(member.name)!r} is a device 0/0: it would hide a file")
            self._free(place, name)
            mode = _NODES[kind] | 0o600
            os.mknod(name, mode, os.makedev(*member.device), dir_fd=self._places.fd(place))
            self._dress_by_name(place, name, member, is_link=False)
        else:
            raise Corrupt(f"layer entry {os.fsdecode(member.name)!r} has the type {kind!r}")

    def _top(self, member: Member) -> None:
        if not self._whiteouts and not self._exact:
            return
        if member.kind != DIRECTORY:
            raise Corrupt(f"layer entry {os.fsdecode(member.name)!r} is the root, but not a directory")
        self._dress(self._root, member)
        self._places.mtimes[b""] = self._time(member)

    def _file(self, place: Place, name: bytes, member: Member, content: TarReader | None) -> None:
        directory = self._places.fd(place)
        try:
            fd = os.open(name, _CREATE, 0o600, dir_fd=directory)
        except FileExistsError:
            self._free(place, name)
            fd = os.open(name, _CREATE, 0o600, dir_fd=self._places.fd(place))
        try:
            if content is not None:
                content.copy(fd)
            self._dress(fd, member)
            mtime = self._time(member)
            os.utime(fd, ns=(mtime, mtime))
        finally:
            os.close(fd)

    def _directory(self, place: Place, name: bytes, member: Member) -> None:
        hides = False
        try:
            made = self._places.make(place, name)
        except FileExistsError:
            status = os.stat(name, dir_fd=self._places.fd(place), follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                made = self._places.of(place.below(name))
            else:
                # what stood here hid the lower directory, and so does its successor
                self._free(place, name)
                made = self._places.make(place, name)
                hides = True
        self._dress(self._places.fd(made), member)
        self._places.mtimes[made.path] = self._time(member)
        if hides:
            self._places.hide_below(made)

    def _hard_link(self, place: Place, name: bytes, member: Member) -> None:
        target_parent, _, target = cleaned(member.link).rpartition(b"/")
        source = self._places.of(target_parent)
        if source is place and target == name:
            return
        here, there = self._places.fd(place), self._places.fd(source)
        try:
            status = os.stat(target, dir_fd=there, follow_symlinks=False)
        except FileNotFoundError:
            status = None
        if status is None or stat.S_ISDIR(status.st_mode) or _is_whiteout(status):
            entry, link = os.fsdecode(member.name), os.fsdecode(member.link)
            raise Corrupt(f"layer entry {entry!r} is a hard link to {link!r}, which is no file of this layer")
        if self._free(place, name):
            here, there = self._places.fd(place), self._places.fd(source)
        os.link(target, name, src_dir_fd=there, dst_dir_fd=here, follow_symlinks=False)
        if not self._whiteouts:
            self._dress_by_name(place, name, member, is_link=stat.S_ISLNK(status.st_mode))

    def _time(self, member: Member) -> int:
        return member.mtime * 1_000_000_000 + (member.nanoseconds if self._exact else 0)

    def _removal(self, parent: bytes, name: bytes) -> None:
        if name == OPAQUE:
            self._places.hide_below(self._places.of(parent))
            return
        if name.startswith(_AUFS):
            return  # aufs's own notes, which old images carry
        hidden = name[len(WHITEOUT) :]
        if hidden in {b"", b".", b".."}:
            raise Corrupt(f"layer entry {os.fsdecode(name)!r} removes nothing that could be there")
        place = self._places.of(parent)
        if self._places.status_below(place, hidden) is None:
            return
        try:
            os.mknod(hidden, stat.S_IFCHR, 0, dir_fd=self._places.fd(place))
        except (
            FileExistsError
        ):  # this layer brings one of its own, which stays; a directory no longer shows the lower's
            status = os.stat(hidden, dir_fd=self._places.fd(place), follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                self._places.hide_below(self._places.of(place.below(hidden)))

    def _free(self, place: Place, name: bytes) -> bool:
        """Remove what an earlier entry put there; whether there was something."""
        fd = self._places.fd(place)
        try:
            os.unlink(name, dir_fd=fd)
        except FileNotFoundError:
            return False
        except (IsADirectoryError, PermissionError):
            self._places.forget(place.below(name))
            with suppress(FileNotFoundError):
                remove_tree(Path(f"/proc/self/fd/{self._places.fd(place)}/{os.fsdecode(name)}"))
        return True

    def _dress_by_name(self, place: Place, name: bytes, member: Member, *, is_link: bool) -> None:
        fd = self._places.fd(place)
        os.chown(name, member.uid, member.gid, dir_fd=fd, follow_symlinks=False)
        if not is_link:
            os.chmod(name, member.mode, dir_fd=fd)
        self._set_xattrs(b"/proc/self/fd/%d/%b" % (fd, name), member)
        mtime = self._time(member)
        os.utime(name, ns=(mtime, mtime), dir_fd=fd, follow_symlinks=False)

    def _dress(self, fd: int, member: Member) -> None:
        # owner first: chown takes setuid bits and capabilities away
        os.fchown(fd, member.uid, member.gid)
        os.fchmod(fd, member.mode)
        if member.xattrs:
            self._set_xattrs(fd, member)

    def _set_xattrs(self, target: int | bytes, member: Member) -> None:
        for key, value in (member.xattrs or {}).items():
            if is_portable(key) or (self._exact and not key.startswith(b"security.")):
                try:
                    os.setxattr(target, key, value, follow_symlinks=isinstance(target, int))
                except OSError as error:
                    if self._whiteouts or self._exact or error.errno not in {errno.ENOTSUP, errno.EPERM}:
                        raise


def cleaned(name: bytes) -> bytes:
    """A name without empty and ``.`` parts and outer slashes; ``Corrupt`` where its ``..`` lead out of the root."""
    if b"//" not in name and b"/." not in name and not name.startswith((b"/", b".")):
        return name.rstrip(b"/")
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part == b"..":
            if not parts:
                raise Corrupt(f"layer has the name {os.fsdecode(name)!r}, which leads out of the root")
            parts.pop()
        elif part not in {b"", b"."}:
            parts.append(part)
    return b"/".join(parts)


def _is_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0
