"""The files of a context, and how they come onto a disk: the same bytes, modes and times wherever it is done.

Times are in 2001 unless a case says otherwise, so that what a build makes itself is told apart from what it copies.
Archives are made here too, from the same nodes, with every kind of entry that a tar can hold.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MTIME = 1_000_000_000
"""2001-09-09: the time of every file that says no other."""


@dataclass(frozen=True)
class File:
    """A regular file. ``size`` extends it with a hole. ``device`` makes it a device (``("c", 1, 3)``) or a pipe."""

    data: bytes = b""
    mode: int = 0o644
    owner: tuple[int, int] = (0, 0)
    mtime: float = MTIME
    xattrs: tuple[tuple[str, bytes], ...] = ()
    device: tuple[str, int, int] | None = None


@dataclass(frozen=True)
class Dir:
    """A directory."""

    mode: int = 0o755
    owner: tuple[int, int] = (0, 0)
    mtime: float = MTIME
    xattrs: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True)
class Link:
    """A symbolic link."""

    target: str
    owner: tuple[int, int] = (0, 0)
    mtime: float = MTIME


@dataclass(frozen=True)
class Hard:
    """Another name of a file that stands before it."""

    target: str
    mtime: float = field(default=0, repr=False)


@dataclass(frozen=True)
class Tar:
    """An archive with entries in the order given; a name is written as it is, ``/x`` and ``../x`` too."""

    entries: tuple[tuple[str, Node], ...]
    compression: str = ""
    mode: int = 0o644
    mtime: float = MTIME
    format: int = tarfile.PAX_FORMAT
    cut: int = 0
    tail: bytes = b""

    @classmethod
    def of(cls, entries: Mapping[str, Content], compression: str = "", **options: object) -> Tar:
        """From contents by name."""
        nodes = tuple((name, as_node(content)) for name, content in entries.items())
        return cls(nodes, compression, **options)

    def bytes(self) -> bytes:
        """The archive."""
        data = compressed(archive(self.entries, self.format), self.compression) + self.tail
        return data[: len(data) - self.cut]


Node = File | Dir | Link | Hard | Tar
Content = Node | str | bytes


def as_node(content: Content) -> Node:
    """Text and bytes are regular files."""
    if isinstance(content, str):
        content = content.encode()
    return File(content) if isinstance(content, bytes) else content


def archive(entries: tuple[tuple[str, Node], ...], form: int = tarfile.PAX_FORMAT) -> bytes:
    """An uncompressed tar."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as tar:
        for name, node in entries:
            info = tarfile.TarInfo(name)
            data = _fill(info, node)
            tar.addfile(info, io.BytesIO(data) if data else None)
    return stream.getvalue()


def _fill(info: tarfile.TarInfo, node: Node) -> bytes:
    if isinstance(node, Hard):
        info.type, info.linkname, info.mtime = tarfile.LNKTYPE, node.target, node.mtime
        return b""
    if isinstance(node, Tar):
        node = File(node.bytes(), node.mode)
    info.uid, info.gid = node.owner
    info.mtime = node.mtime
    if isinstance(node, Link):
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, node.target, 0o777
        return b""
    info.mode = node.mode
    for key, value in node.xattrs:
        info.pax_headers[f"SCHILY.xattr.{key}"] = value.decode("utf-8", "surrogateescape")
    if isinstance(node, Dir):
        info.type = tarfile.DIRTYPE
        return b""
    if node.device is not None:
        kind, info.devmajor, info.devminor = node.device
        info.type = {"c": tarfile.CHRTYPE, "b": tarfile.BLKTYPE, "p": tarfile.FIFOTYPE}[kind]
        return b""
    info.size = len(node.data)
    return node.data


def compressed(data: bytes, how: str) -> bytes:
    """Bytes packed, the same at any time."""
    if how == "gz":
        return gzip.compress(data, 6, mtime=0)
    if how == "bz2":
        return bz2.compress(data)
    if how == "xz":
        return lzma.compress(data)
    if how == "zst":
        return zstd.compress(data)
    return data


@dataclass
class Disk:
    """Nodes written below a directory. ``finish`` sets the times, innermost first."""

    root: Path
    times: dict[bytes, float] = field(default_factory=dict)

    def write(self, nodes: Mapping[str, Node]) -> None:
        """Write nodes by path, the directories on the way as well; then every time is set."""
        self.root.mkdir(parents=True, exist_ok=True)
        for name, node in nodes.items():
            path = os.path.join(os.fsencode(self.root), os.fsencode(name))
            self._parents(os.path.dirname(path))
            self._node(path, node)
        for place in sorted(self.times, reverse=True):
            os.utime(place, (self.times[place],) * 2, follow_symlinks=False)
        os.utime(self.root, (MTIME, MTIME))

    def _parents(self, path: bytes) -> None:
        if not os.path.isdir(path):
            self._parents(os.path.dirname(path))
            os.mkdir(path)
            os.chmod(path, 0o755)
            self.times[path] = MTIME

    def _node(self, path: bytes, node: Node) -> None:
        if isinstance(node, Hard):
            os.link(os.path.join(os.fsencode(self.root), os.fsencode(node.target)), path, follow_symlinks=False)
            return
        if isinstance(node, Tar):
            node = File(node.bytes(), node.mode, mtime=node.mtime)
        if isinstance(node, Link):
            os.symlink(os.fsencode(node.target), path)
        elif isinstance(node, Dir):
            if not os.path.isdir(path):
                os.mkdir(path)
        elif node.device is not None:
            kind, major, minor = node.device
            os.mknod(path, {"c": 0o020000, "b": 0o060000, "p": 0o010000}[kind] | 0o600, os.makedev(major, minor))
        else:
            with open(path, "wb") as stream:
                stream.write(node.data)
        os.chown(path, *node.owner, follow_symlinks=False)
        if not isinstance(node, Link):
            os.chmod(path, node.mode)
            for key, value in node.xattrs:
                os.setxattr(path, key, value)
        self.times[path] = node.mtime
