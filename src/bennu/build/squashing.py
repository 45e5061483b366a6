"""``--squash``: all layers that a build put upon its base as one. The steps' own snapshots and records stay.

The layers are laid over each other as overlayfs lays them, into one upper directory: a later one's file, link or device
takes the place of an earlier one's, directories become one, a whiteout takes away what is below it and stays where the
base might have it, an opaque directory takes away all that came before. In the end whiteouts go that hide nothing of
the base: the kernel lists those in directories that it need not merge. What a squashed tree was made of is remembered,
so that the next build finds it.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

import msgspec

from bennu.build.cache import StepCache
from bennu.build.history import COMMENT
from bennu.build.keys import Key
from bennu.digest import digest_of
from bennu.host import files
from bennu.host.mounts import opened
from bennu.oci.image_config import History, ImageConfig
from bennu.store.base import CommittedSnapshot
from bennu.store.snapshots import Snapshots
from bennu.store.tree import OPAQUE_XATTR

FORMAT: Final = "1"
"""Changed whenever the same layers might become another one."""


def squashed(snapshots: Snapshots, cache: StepCache, tree: CommittedSnapshot, inherited: int) -> CommittedSnapshot:
    """The tree with all but its ``inherited`` lowest layers as one; itself where that is so already."""
    own = tree.chain[: len(tree.chain) - inherited]
    if len(own) < 2:
        return tree
    key = _key(own, tree.chain[len(own) :])
    known = cache.find(key.digest)
    found = None if known is None else cache.tree(known)
    if found is not None:
        cache.touch([key.digest])
        return found
    below = tree.chain[len(own) :]
    base = CommittedSnapshot(below[0], below[1:]) if below else None
    active = snapshots.prepare(base)
    try:
        target = snapshots.directory(active)
        for number in reversed(range(len(own))):
            _Layer(snapshots.directory(CommittedSnapshot(own[number], tree.chain[number + 1 :])), target).lay()
        if base is None:
            _prune(target, "", None)
        else:
            with opened(snapshots.mounts(base)) as lower:
                _prune(target, "", lower)
        made = snapshots.commit(active)
    except BaseException:
        snapshots.discard(active)
        raise
    cache.record([key], key.digest, made.id, f"squash of {len(own)} layers")
    return made


def squashed_history(config: ImageConfig, inherited: int) -> ImageConfig:
    """The configuration for a squashed tree: each entry above the base's layers has none, one at the end has all."""
    entries: list[History] = []
    layers = 0
    for entry in config.history:
        layers += not entry.empty_layer
        is_own = not entry.empty_layer and layers > inherited
        entries.append(msgspec.structs.replace(entry, empty_layer=True) if is_own else entry)
    count = layers - inherited
    if count < 2:
        return config
    merged = History(created_by=f"SQUASH {count} layers", comment=COMMENT)
    return msgspec.structs.replace(config, history=(*entries, merged))


def _prune(directory: Path, path: str, lower: int | None) -> None:
    """Remove the whiteouts below a directory that hide nothing. ``lower``: the base, None where nothing of it shows."""
    status = os.lstat(directory)
    if lower is not None and (_is_opaque(directory) or not stat.S_ISDIR(_below(lower, path or "."))):
        lower = None
    removed = False
    with os.scandir(directory) as listing:
        entries = list(listing)
    for entry in entries:
        below = f"{path}/{entry.name}" if path else entry.name
        if entry.is_dir(follow_symlinks=False):
            _prune(Path(entry.path), below, lower)
        elif _is_whiteout(entry.stat(follow_symlinks=False)) and (lower is None or not _below(lower, below)):
            os.unlink(entry.path)
            removed = True
    if removed:
        os.utime(directory, ns=(status.st_atime_ns, status.st_mtime_ns))


def _below(lower: int, path: str) -> int:
    """The mode of what the base has at a path, whose parents are directories there; 0 for nothing."""
    try:
        return os.stat(path, dir_fd=lower, follow_symlinks=False).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _key(own: tuple[str, ...], below: tuple[str, ...]) -> Key:
    preimage = (("squash", FORMAT), ("own", " ".join(own)), ("below", " ".join(below)))
    return Key(digest_of(msgspec.json.encode(preimage)), preimage)


class _Layer:
    """One layer's directory to be laid over ``target``."""

    def __init__(self, source: Path, target: Path) -> None:
        self._source = source
        self._target = target
        self._linked: dict[tuple[int, int], Path] = {}

    def lay(self) -> None:
        """Lay it."""
        self._below(self._source, self._target)
        _dress(self._source, self._target, os.lstat(self._source))

    def _below(self, source: Path, target: Path) -> None:
        with os.scandir(source) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
        for entry in entries:
            status = entry.stat(follow_symlinks=False)
            place = target / entry.name
            if stat.S_ISDIR(status.st_mode):
                self._directory(Path(entry.path), place, status)
            else:
                files.remove_tree(place)
                self._file(Path(entry.path), place, status)

    def _directory(self, source: Path, place: Path, status: os.stat_result) -> None:
        there = _mode(place)
        hides = _is_opaque(source)
        if there is not None and (hides or not stat.S_ISDIR(there)):
            # a whiteout or a file hid what the base has there, and so does what comes in its place
            hides = True
            files.remove_tree(place)
            there = None
        if there is None:
            os.mkdir(place, 0o700)
        self._below(source, place)
        was_opaque = hides or _is_opaque(place)
        _dress(source, place, status)
        if was_opaque:
            os.setxattr(place, OPAQUE_XATTR, b"y")

    def _file(self, source: Path, place: Path, status: os.stat_result) -> None:
        if status.st_nlink > 1 and not _is_whiteout(status):
            first = self._linked.setdefault((status.st_dev, status.st_ino), place)
            if first != place:
                os.link(first, place, follow_symlinks=False)
                return
        if stat.S_ISREG(status.st_mode):
            with source.open("rb") as read, place.open("xb") as write:
                files.copy_range(read.fileno(), write.fileno(), status.st_size)
        elif stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(source), place)
        else:
            os.mknod(place, status.st_mode, status.st_rdev)
        if not _is_whiteout(status):
            _dress(source, place, status)


def _dress(source: Path, place: Path, status: os.stat_result) -> None:
    """Owner, mode, attributes and time of the layer's entry; attributes that it does not have go."""
    os.chown(place, status.st_uid, status.st_gid, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(place, stat.S_IMODE(status.st_mode))
    wanted = {name: os.getxattr(source, name, follow_symlinks=False) for name in _names(source)}
    for name in set(_names(place)) - set(wanted):
        os.removexattr(place, name, follow_symlinks=False)
    for name, value in wanted.items():
        os.setxattr(place, name, value, follow_symlinks=False)
    os.utime(place, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)


def _names(path: Path) -> list[str]:
    return [name for name in os.listxattr(path, follow_symlinks=False) if not name.startswith("trusted.overlay.")]


def _is_opaque(path: Path) -> bool:
    try:
        return os.getxattr(path, OPAQUE_XATTR, follow_symlinks=False) == b"y"
    except OSError:
        return False


def _is_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _mode(place: Path) -> int | None:
    try:
        return os.lstat(place).st_mode
    except FileNotFoundError:
        return None
