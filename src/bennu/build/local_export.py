"""A tree into a directory of whoever builds, as ``type=local`` asks: all of it or nothing of it, into what is there.

Modes (setuid bits too), times, extended attributes, links and hard links are the tree's; owners are the caller's. What
is in a directory already and not in the tree stays; what has the same name is replaced. The files are copied beside the
directory first and then moved in, so that a failure half-way leaves what was there. Source: BuildKit's local exporter.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from bennu.errors import Failed
from bennu.host import files

NEW_MODE = 0o700
"""Of a directory that was not there; Docker's."""


def export_tree(source: Path, target: Path) -> None:
    """Copy what is below ``source`` into the directory ``target``, made with its parents where it is missing.

    ``Failed`` names what could not be made.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    is_there = target.is_dir()
    # inside the directory where there is one: it may be a mount of its own, or a link
    stage = (target if is_there else target.parent) / f".{target.name}.{secrets.token_hex(6)}"
    try:
        stage.mkdir(mode=NEW_MODE)
        _Copier(source, stage).run()
        if is_there:
            _move(stage, target)
        else:
            os.rename(stage, target)
    except OSError as error:
        place = str(error.filename or target).replace(str(stage), str(target))
        raise Failed(f"output {str(target)!r}: {place!r} cannot be written: {error.strerror}") from error
    finally:
        files.remove_tree(stage)


class _Copier:
    """One copy. ``_linked`` has the first name of each file that has several."""

    def __init__(self, source: Path, target: Path) -> None:
        self._source = source
        self._target = target
        self._linked: dict[tuple[int, int], str] = {}

    def run(self) -> None:
        """Copy everything."""
        self._below(str(self._source), str(self._target))

    def _below(self, source: str, target: str) -> None:
        with os.scandir(source) as listing:
            entries = list(listing)
        for entry in entries:
            place = f"{target}/{entry.name}"
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                os.mkdir(place, 0o700)
                self._below(entry.path, place)
                _dress(entry.path, place, status)
            elif self._is_new(status, place):
                self._file(entry.path, place, status)

    def _is_new(self, status: os.stat_result, place: str) -> bool:
        if status.st_nlink > 1:
            first = self._linked.setdefault((status.st_dev, status.st_ino), place)
            if first != place:
                os.link(first, place, follow_symlinks=False)
                return False
        return True

    def _file(self, source: str, place: str, status: os.stat_result) -> None:
        if stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(source), place)
        elif stat.S_ISREG(status.st_mode):
            with open(source, "rb") as read, open(place, "xb") as write:
                files.copy_range(read.fileno(), write.fileno(), status.st_size)
        elif not stat.S_ISSOCK(status.st_mode):
            os.mknod(place, stat.S_IFMT(status.st_mode) | 0o600, status.st_rdev)
        else:
            return
        _dress(source, place, status)


def _dress(source: str, place: str, status: os.stat_result) -> None:
    """Attributes, mode and time, in the order in which none undoes another."""
    from bennu.store.tree import is_portable

    for name in os.listxattr(source, follow_symlinks=False):
        if is_portable(os.fsencode(name)):
            os.setxattr(place, name, os.getxattr(source, name, follow_symlinks=False), follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(place, stat.S_IMODE(status.st_mode))
    os.utime(place, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)


def _move(stage: Path, target: Path) -> None:
    """Move all that is in one directory into another on the same file system; directories that both have are one."""
    for name in sorted(os.listdir(stage)):
        source, place = stage / name, target / name
        status = os.lstat(source)
        there = _status(place)
        if stat.S_ISDIR(status.st_mode) and there is not None and stat.S_ISDIR(there.st_mode):
            os.chmod(source, 0o700)
            _move(source, place)
            _dress(str(source), str(place), status)
            continue
        if there is not None and stat.S_IFMT(there.st_mode) != stat.S_IFMT(status.st_mode):
            files.remove_tree(place)
        os.rename(source, place)


def _status(place: Path) -> os.stat_result | None:
    try:
        return os.lstat(place)
    except FileNotFoundError:
        return None
