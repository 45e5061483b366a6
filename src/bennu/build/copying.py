"""COPY and ADD: a selection written into the mounted tree of a step, by Docker's rules.

A directory gives its contents; a file goes to the destination's name, or into it where that is a directory or ends with
a slash. Links in the destination itself are followed (``destinations``); below it nothing is. What is in the way is
replaced, except that files and directories do not replace each other. Hard links within one selection stay hard links.
Owners: a context's files are root's, another tree's keep theirs; ``--chown`` and ``--chmod`` set all, made parents
included. Times are the sources' in whole seconds; SOURCE_DATE_EPOCH, where it is given, is the time of everything.
Source of the rules: the Dockerfile reference, and what BuildKit does where it says nothing.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from bennu.build import destinations
from bennu.build.contents import portable_xattrs
from bennu.build.destinations import Say, owner_named
from bennu.build.graph import Copy, InlineFile
from bennu.build.source import Entry, Item, Selection, Status
from bennu.errors import Conflict, Invalid, Unsupported
from bennu.host import files

INLINE_MODE: Final = 0o644
_MAGIC: Final = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")
_TAR_MAGIC_AT: Final = 257


class Appearance(NamedTuple):
    """What ``--chown`` and ``--chmod`` ask for, and the time to set (Unix seconds); None leaves the source's."""

    owner: tuple[int, int] | None = None
    mode: int | None = None
    epoch: int | None = None


def appearance(step: Copy, root: Path, epoch: int | None, say: Say) -> Appearance:
    """The step's options as numbers; names are looked up in the target tree."""
    owner = None if step.chown is None else owner_named(step.chown, root, lambda line: say(f"--chown: {line}"))
    mode = None
    if step.chmod is not None:
        try:
            mode = int(step.chmod, 8)
        except ValueError:
            raise Unsupported(f"--chmod={step.chmod} is not octal", "write it as --chmod=755") from None
        if not 0 <= mode <= 0o7777:
            raise Invalid(f"--chmod={step.chmod} is not a file mode")
    return Appearance(owner, mode, epoch)


def copy(selections: Iterable[Selection], step: Copy, root: Path, epoch: int | None, say: Say) -> None:
    """Write selections, then the inline files, into the tree mounted at ``root``; see the module."""
    copier = _Copier(step, appearance(step, root, epoch, say))
    with files.directory(root) as fd:
        copier.run(fd, selections)


class _Copier:
    """One COPY into one tree."""

    def __init__(self, step: Copy, look: Appearance) -> None:
        self._step = step
        self._look = look
        self._linked: dict[tuple[int, int], str] = {}

    def run(self, root: int, selections: Iterable[Selection]) -> None:
        """Write the selections, then the inline files."""
        for selection in selections:
            for item in selection.items:
                self._item(root, item, keeps_owners=selection.keeps_owners)
        for file in self._step.inline:
            self._inline(root, file)

    def _item(self, root: int, item: Item, *, keeps_owners: bool) -> None:
        if self._step.unpack and not item.is_directory and _is_archive(item.entries[0]):
            raise Unsupported(
                f"ADD of the archive {item.name!r} would unpack it, which is not there yet",
                "COPY it and unpack it in a RUN, or add --unpack=false",
            )
        if item.is_directory:
            directory, entries = self._step.destination, item.entries[1:]
        else:
            directory, name = self._place(root, item.name)
            entries = [item.entries[0]._replace(target=name)]
        with self._directory(root, directory) as fd:
            _Writer(fd, self._look, self._linked, keeps_owners=keeps_owners).contents(entries)

    def _inline(self, root: int, file: InlineFile) -> None:
        directory, name = self._place(root, file.name)
        with self._directory(root, directory) as fd:
            _clear(fd, name)
            mode = INLINE_MODE if self._look.mode is None else self._look.mode
            target = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=fd)
            with open(target, "wb") as stream:
                stream.write(file.content.encode())
                stream.flush()
                os.fchown(target, *(self._look.owner or (0, 0)))
                os.fchmod(target, mode)
                when = self._look.epoch if self._look.epoch is not None else 0
                os.utime(target, (when, when))

    def _place(self, root: int, name: str) -> tuple[str, str]:
        """The directory and name that a file goes to."""
        destination = self._step.destination
        if destination.endswith("/"):
            return destination, name
        destination = destinations.resolved(root, destination)
        return (destination, name) if destinations.is_directory(root, destination) else os.path.split(destination)

    def _directory(self, root: int, path: str) -> AbstractContextManager[int]:
        look = self._look
        # --chmod counts for directories on the way as for mkdir(2) under the usual umask, as in BuildKit
        mode = destinations.DIRECTORY_MODE if look.mode is None else look.mode & 0o777 & ~0o022
        return destinations.directory(root, path, owner=look.owner, mode=mode, epoch=look.epoch)


class _Writer:
    """Writes entries into one open directory; ``linked`` remembers where files with several names went."""

    def __init__(self, fd: int, look: Appearance, linked: dict[tuple[int, int], str], *, keeps_owners: bool) -> None:
        self._top = fd
        self._look = look
        self._linked = linked
        self._keeps = keeps_owners
        self._open: list[tuple[str, int, Entry]] = []

    def contents(self, entries: list[Entry]) -> None:
        """Write entries, which come directories first; each one's parent is the top or came before."""
        try:
            for entry in entries:
                parent, _, name = entry.target.rpartition("/")
                self._leave(parent)
                fd = self._open[-1][1] if self._open else self._top
                if entry.is_directory:
                    self._enter(fd, name, entry)
                else:
                    self._write(fd, name, entry)
        finally:
            self._leave(None)

    def _leave(self, parent: str | None) -> None:
        """Close directories until the parent is the innermost; their times are set last, when nothing is added."""
        while self._open and self._open[-1][0] != parent:
            _, fd, entry = self._open.pop()
            self._dress(fd, entry)
            os.close(fd)

    def _enter(self, fd: int, name: str, entry: Entry) -> None:
        try:
            os.mkdir(name, 0o700, dir_fd=fd)
        except FileExistsError:
            if not stat.S_ISDIR(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode):
                raise Invalid(f"directory {entry.target!r} cannot replace a file of the same name") from None
        child = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
        self._open.append((entry.target, child, entry))

    def _write(self, fd: int, name: str, entry: Entry) -> None:
        status = entry.status
        _clear(fd, name)
        mode = status.st_mode
        if stat.S_ISREG(mode):
            if status.st_nlink > 1 and self._link(fd, name, entry):
                return
            self._file(fd, name, entry)
            return
        if stat.S_ISLNK(mode):
            os.symlink(os.readlink(entry.path), name, dir_fd=fd)
        else:
            os.mknod(name, mode, status.st_rdev, dir_fd=fd)
            os.chmod(name, self._mode(status), dir_fd=fd)
        uid, gid = self._owner(status)
        os.chown(name, uid, gid, dir_fd=fd, follow_symlinks=False)
        os.utime(name, ns=self._times(status), dir_fd=fd, follow_symlinks=False)

    def _link(self, fd: int, name: str, entry: Entry) -> bool:
        inode = (entry.status.st_dev, entry.status.st_ino)
        first = self._linked.get(inode)
        if first is None:
            self._linked[inode] = os.path.join(os.readlink(f"/proc/self/fd/{fd}"), name)
            return False
        os.link(first, name, dst_dir_fd=fd, follow_symlinks=False)
        return True

    def _file(self, fd: int, name: str, entry: Entry) -> None:
        source = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            target = os.open(
                name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=fd
            )
            try:
                if entry.status.st_size:
                    files.copy_range(source, target, entry.status.st_size)
                if not self._keeps:
                    _refuse_changed(source, entry)
                self._dress(target, entry)
            finally:
                os.close(target)
        finally:
            os.close(source)

    def _dress(self, fd: int, entry: Entry) -> None:
        status = entry.status
        uid, gid = self._owner(status)
        os.fchown(fd, uid, gid)
        os.fchmod(fd, self._mode(status))
        if self._keeps:
            for key, value in portable_xattrs(entry):
                with suppress(OSError):  # a file system without this kind of attribute
                    os.setxattr(fd, key, value)
        os.utime(fd, ns=self._times(status))

    def _owner(self, status: Status) -> tuple[int, int]:
        if self._look.owner is not None:
            return self._look.owner
        return (status.st_uid, status.st_gid) if self._keeps else (0, 0)

    def _mode(self, status: Status) -> int:
        return stat.S_IMODE(status.st_mode) if self._look.mode is None else self._look.mode

    def _times(self, status: Status) -> tuple[int, int]:
        epoch = self._look.epoch
        when = status.st_mtime_ns // 1_000_000_000 if epoch is None else epoch
        return (when * 1_000_000_000, when * 1_000_000_000)


def _refuse_changed(source: int, entry: Entry) -> None:
    # what is recorded under a content's key has to be that content, also when somebody saves a file just now
    now, then = os.fstat(source), entry.status
    if (now.st_mtime_ns, now.st_ctime_ns, now.st_size) != (then.st_mtime_ns, then.st_ctime_ns, then.st_size):
        raise Conflict(f"{entry.path!r} changed while it was copied", "build again")


def _clear(fd: int, name: str) -> None:
    """Make room for a file. ``Invalid`` where a directory is in the way."""
    try:
        os.unlink(name, dir_fd=fd)
    except FileNotFoundError:
        return
    except IsADirectoryError:
        raise Invalid(f"file {name!r} cannot replace a directory of the same name") from None


def _is_archive(entry: Entry) -> bool:
    """Whether ADD would unpack it: what BuildKit recognises by content, a tar archive, compressed or not."""
    if not stat.S_ISREG(entry.status.st_mode):
        return False
    with open(entry.path, "rb") as stream:
        head = stream.read(512)
    return head.startswith(_MAGIC) or head[_TAR_MAGIC_AT : _TAR_MAGIC_AT + 5] == b"ustar"
