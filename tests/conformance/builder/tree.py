"""Trees, told entry by entry in one line each, so that two can be compared whatever they were read from.

A tree comes out of an image's layers (``of_layers``: what Docker saves) or from a directory (``of_directory``: what
bennu mounts). ``changes`` leaves only what differs from the tree that the build began with. A time is told where it is
before 2020, which only copied times are: what a build makes is as old as the build. A directory's time is told nowhere:
whatever is done in it changes that.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

OLD = 1_577_836_800
SHORT = 300
BIG = 100_000
_known: dict[tuple[int, ...], str] = {}
_KINDS = {stat.S_IFDIR: "dir", stat.S_IFREG: "file", stat.S_IFLNK: "link", stat.S_IFIFO: "pipe", stat.S_IFCHR: "char"}
_KINDS[stat.S_IFBLK] = "block"
_TAR_KINDS = {
    tarfile.DIRTYPE: "dir",
    tarfile.SYMTYPE: "link",
    tarfile.FIFOTYPE: "pipe",
    tarfile.CHRTYPE: "char",
    tarfile.BLKTYPE: "block",
}
_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"


@dataclass
class Entry:
    """One entry. ``content`` is what a file holds (its digest where it is long), a link says, a device is."""

    kind: str
    mode: int
    owner: tuple[int, int]
    content: str = ""
    mtime: float = 0
    xattrs: Mapping[str, bytes] = field(default_factory=dict)

    def line(self, others: Iterable[str]) -> str:
        """Everything about it, and the other names of the same file."""
        words = [self.kind, f"{self.mode:04o}", f"{self.owner[0]}:{self.owner[1]}"]
        if self.content:
            words.append(self.content)
        words += [f"{key}={value.hex()}" for key, value in sorted(self.xattrs.items())]
        if self.mtime < OLD and self.kind != "dir":
            words.append(f"@{self.mtime:.9f}".rstrip("0").rstrip("."))
        words += [f"= {other}" for other in others]
        return " ".join(words)


Tree = Mapping[str, Entry]
"""Entries by absolute path; names of one file share one entry."""


def told(tree: Tree) -> dict[str, str]:
    """One line for each path."""
    names: dict[int, list[str]] = {}
    for path in sorted(tree):
        names.setdefault(id(tree[path]), []).append(path)
    return {path: tree[path].line(each for each in names[id(tree[path])] if each != path) for path in sorted(tree)}


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, str]:
    """What is new or other in ``after``, and ``gone`` for what is not there."""
    differing = {path: line for path, line in after.items() if before.get(path) != line}
    gone = before.keys() - after.keys()
    tops = {path: "gone" for path in gone if os.path.dirname(path) not in gone}
    return dict(sorted({**differing, **tops}.items()))


def data_line(data: bytes) -> str:
    """Content of a file: itself where it is short text, else size and digest."""
    if len(data) <= SHORT:
        try:
            return repr(data.decode())
        except UnicodeDecodeError:
            pass
    return f"{len(data)} bytes sha256:{hashlib.sha256(data).hexdigest()}"


def of_layers(layers: Iterable[bytes], below: Tree = {}) -> dict[str, Entry]:  # noqa: B006
    """The tree of layers, the lowest first, put upon the tree that is below them."""
    tree: dict[str, Entry] = dict(below)
    for layer in layers:
        with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
            members = [(("/" + member.name.strip("/")), member) for member in tar]
            for path, _ in members:
                _whiteout(tree, path)
            for path, member in members:
                if path != "/" and not os.path.basename(path).startswith(_WHITEOUT):
                    _put(tree, path, member, tar)
    return tree


def _whiteout(tree: dict[str, Entry], path: str) -> None:
    directory, name = os.path.split(path)
    if name == _OPAQUE:
        _remove(tree, f"{directory.rstrip('/')}/")
    elif name.startswith(_WHITEOUT):
        victim = os.path.join(directory, name.removeprefix(_WHITEOUT))
        tree.pop(victim, None)
        _remove(tree, f"{victim}/")


def _remove(tree: dict[str, Entry], prefix: str) -> None:
    for path in [path for path in tree if path.startswith(prefix)]:
        del tree[path]


def _put(tree: dict[str, Entry], path: str, member: tarfile.TarInfo, tar: tarfile.TarFile) -> None:
    if member.islnk():
        tree[path] = tree["/" + member.linkname.strip("/")]
        return
    kind = _TAR_KINDS.get(member.type, "file")
    content = ""
    if kind == "file":
        stream = tar.extractfile(member)
        content = data_line(stream.read() if stream else b"")
    elif kind == "link":
        content = repr(member.linkname)
    elif kind in {"char", "block"}:
        content = f"{member.devmajor},{member.devminor}"
    if kind != "dir":
        _remove(tree, f"{path}/")
    prefix = "SCHILY.xattr."
    tree[path] = Entry(
        kind,
        0o777 if kind == "link" else stat.S_IMODE(member.mode),
        (member.uid, member.gid),
        content,
        member.mtime,
        {
            key.removeprefix(prefix): value.encode("utf-8", "surrogateescape")
            for key, value in member.pax_headers.items()
            if key.startswith(prefix)
        },
    )


def of_directory(root: Path) -> dict[str, Entry]:
    """The tree below a directory."""
    tree: dict[str, Entry] = {}
    shared: dict[tuple[int, int], Entry] = {}
    for place, directories, names in os.walk(root):
        for name in (*directories, *names):
            path = os.path.join(place, name)
            status = os.lstat(path)
            inode = (status.st_dev, status.st_ino)
            entry = shared.get(inode) or _entry(path, status)
            if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
                shared[inode] = entry
            tree[path.removeprefix(str(root))] = entry
    return tree


def _entry(path: str, status: os.stat_result) -> Entry:
    kind = _KINDS[stat.S_IFMT(status.st_mode)]
    content = ""
    if kind == "file":
        content = _content(path, status.st_size, status.st_ino, status.st_ctime_ns, status.st_dev)
    elif kind == "link":
        content = repr(os.readlink(path))
    elif kind in {"char", "block"}:
        content = f"{os.major(status.st_rdev)},{os.minor(status.st_rdev)}"
    names = os.listxattr(path, follow_symlinks=False)
    xattrs = {
        name: os.getxattr(path, name, follow_symlinks=False) for name in names if not name.startswith("trusted.overlay")
    }
    return Entry(
        kind,
        stat.S_IMODE(status.st_mode),
        (status.st_uid, status.st_gid),
        content,
        status.st_mtime_ns / 1_000_000_000,
        xattrs,
    )


def _content(path: str, size: int, *identity: int) -> str:
    """A file's content; a big one is read once, whatever tree it is seen in."""
    if size < BIG:
        return data_line(Path(path).read_bytes())
    if (size, *identity) not in _known:
        _known[size, *identity] = data_line(Path(path).read_bytes())
    return _known[size, *identity]
