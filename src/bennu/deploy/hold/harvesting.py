"""Harvesting: a held replica's files looked at, sorted into packages, removals and files, and written for a Dockerfile.

Building the result gives the replica's files back, byte for byte, with modes, owners, links, devices and extended
attributes. A file of a package counts as the package's where its content is what dpkg recorded and nobody has touched
it since the package was unpacked; everything else goes as it is, dpkg's own records too, so that the package list is
right without the network telling the same today.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from bennu.deploy.hold import files as held_files
from bennu.deploy.hold import packages as held_packages
from bennu.deploy.hold.files import BLOCK_BYTES, Change, Held
from bennu.deploy.hold.harvest import (
    ARCHIVE,
    FILES,
    Copied,
    Harvest,
    can_be_copied,
    dockerfile,
    is_left_out,
)
from bennu.engine.base import HeldFiles
from bennu.errors import AlreadyExists, Corrupt, Failed
from bennu.host.files import remove_tree
from bennu.oci.reference import parse_reference
from bennu.store import packages
from bennu.store.packages import Package
from bennu.store.tar import BLOCK_DEVICE, CHARACTER, DIRECTORY, FIFO, HARD_LINK, REGULAR, SYMLINK, Member, encode
from bennu.store.tar_output import TarOutput

MOST_COPIED: Final = 20
MOST_COPIED_BYTES: Final = 1 << 16
UNPACKING_SECONDS: Final = 2.0
"""Between the moments at which dpkg puts a package's files in place and writes their list."""
_KINDS: Final = {stat.S_IFLNK: SYMLINK, stat.S_IFCHR: CHARACTER, stat.S_IFBLK: BLOCK_DEVICE, stat.S_IFIFO: FIFO}
_REMOVERS: Final = ("bin/rm", "usr/bin/rm")


class Found(NamedTuple):
    """A harvest, and the changes that its archive and its copied files are made from."""

    harvest: Harvest
    archived: tuple[Change, ...]


def write(files: HeldFiles, title: str, output: Path | None, *, with_packages: bool = True) -> Harvest:
    """Look, and write ``Dockerfile``, ``drift.tar`` and ``files/`` into ``output``, which is made, where one is given.

    ``AlreadyExists`` for a directory that has something in it; ``Failed`` where files change too fast to be read.
    """
    with held_files.look(files) as held:
        found = _found(held, files, title, with_packages=with_packages)
        if output is not None:
            _write(held, found, output)
    return found.harvest


def _found(held: Held, files: HeldFiles, title: str, *, with_packages: bool) -> Found:
    changes = tuple(held.changes())
    wanted = [one for one in changes if not is_left_out(one.path)]
    installed = held_packages.difference(held).installed if with_packages else ()
    told = tuple(one for one in installed if held_packages.sums_of(held, one))
    given = {path for one in told for path in _given_by(held, one, wanted)}
    there = [one for one in wanted if one.status is not None and one.path not in given]
    sockets = [one.path for one in there if one.kind == stat.S_IFSOCK]
    removed = tuple(one.path for one in wanted if one.verdict in {"removed", "replaced"})
    unsaid = [f"the socket /{path}" for path in sockets]
    if removed and not any(held.status(held.lower, path) for path in _REMOVERS):
        unsaid.append("removals: the image has no rm to run")
    odd = [path for path in removed if not path.isprintable()]
    unsaid += [f"the removal of /{path}" for path in odd]
    says = not any(one.startswith("removals") for one in unsaid)
    there = [one for one in there if one.kind != stat.S_IFSOCK]
    copied = _copied(held, there)
    names = {one.path for one in copied}
    archived = tuple(one for one in there if one.path not in names)
    harvest = Harvest(
        title=title, base=_base(files), user="" if files.user in {"root", "0"} else files.user,
        packages=tuple(sorted(_asked(held, one) for one in told)),
        removed=tuple(path for path in removed if path not in odd) if says else (),
        archived=tuple((one.verdict, one.path) for one in archived), copied=copied,
        left_out=tuple(one.path for one in changes if is_left_out(one.path)), unsaid=tuple(unsaid),
    )  # fmt: skip
    return Found(harvest, archived)


def _base(files: HeldFiles) -> str:
    name = parse_reference(files.image_name) if files.image_name else None
    if files.image is None:
        return files.image_name
    return f"{name.familiar_repository}@{files.image}" if name is not None else files.image


def _asked(held: Held, package: Package) -> str:
    """A package as apt-get takes it, with its architecture where that is not the image's own."""
    own = {one.architecture for one in held_packages.native(held)}
    foreign = package.architecture not in {"", "all"} and own and package.architecture not in own
    return (
        f"{package.name}:{package.architecture}={package.version}" if foreign else f"{package.name}={package.version}"
    )


def _given_by(held: Held, package: Package, changes: Iterable[Change]) -> set[str]:
    """Those of the changes that installing a package makes, as far as dpkg can tell."""
    sums = held_packages.sums_of(held, package)
    unpacked = held_packages.unpacked_at(held, package)
    found = set()
    for one in changes:
        expected = sums.get(one.path)
        if expected is None or one.status is None or one.kind != stat.S_IFREG:
            continue
        touched = unpacked is None or one.status.st_ctime > unpacked + UNPACKING_SECONDS
        if not touched and one.status.st_nlink == 1 and _md5(held, one.path) == expected:
            found.add(one.path)
    return found


def _md5(held: Held, path: str) -> str | None:
    with held.content(held.upper, path) as fd:
        if fd is None:
            return None
        sum_ = hashlib.md5(usedforsecurity=False)
        while block := os.read(fd, BLOCK_BYTES):
            sum_.update(block)
        return sum_.hexdigest()


def _copied(held: Held, changes: Iterable[Change]) -> tuple[Copied, ...]:
    """The files that get a line of their own: few, small, and nothing but content, mode and owner."""
    found = []
    for one in changes:
        status = one.status
        if status is None or one.kind != stat.S_IFREG or status.st_nlink > 1 or status.st_size > MOST_COPIED_BYTES:
            continue
        if not can_be_copied(one.path) or one.path.startswith(packages.RECORDS) or held.xattrs(held.upper, one.path):
            continue
        mode = stat.S_IMODE(status.st_mode)
        found.append(Copied(path=one.path, mode=mode, uid=status.st_uid, gid=status.st_gid))
    return tuple(found) if len(found) <= MOST_COPIED else ()


# writing


def _write(held: Held, found: Found, output: Path) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    part = output.parent / f".{output.name}.part-{os.getpid()}"
    try:
        part.mkdir(mode=0o755)
        (part / "Dockerfile").write_text(dockerfile(found.harvest), encoding="utf-8", errors="surrogateescape")
        if found.archived:
            _write_archive(held, found.archived, part / ARCHIVE)
        for one in found.harvest.copied:
            _write_file(held, one.path, part / FILES / one.path)
        _put_in_place(part, output)
    finally:
        remove_tree(part)


def _put_in_place(part: Path, output: Path) -> None:
    try:
        os.rename(part, output)  # over an empty directory too
    except OSError as error:
        if error.errno in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
            raise AlreadyExists(
                f"{str(output)!r} has something in it", "name a directory that is not there yet"
            ) from error
        raise Failed(f"{str(output)!r} cannot be written: {error.strerror}") from error


def _write_file(held: Held, path: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    content = held.read(held.upper, path)
    if content is None:
        raise _moving(path)
    target.write_bytes(content)


def _write_archive(held: Held, changes: Iterable[Change], target: Path) -> None:
    links: dict[tuple[int, int], bytes] = {}
    with open(target, "xb") as sink, TarOutput(sink) as output:
        for one in changes:
            _write_member(held, one, output, links)
        output.end()


def _write_member(held: Held, one: Change, output: TarOutput, links: dict[tuple[int, int], bytes]) -> None:
    status = held.status(held.upper, one.path)
    if status is None or stat.S_IFMT(status.st_mode) != one.kind:
        raise _moving(one.path)
    name = os.fsencode(one.path)
    member = Member(
        name, REGULAR, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, 0, int(status.st_mtime),
        xattrs=held.xattrs(held.upper, one.path) or None,
    )  # fmt: skip
    first = links.setdefault((status.st_dev, status.st_ino), name) if status.st_nlink > 1 else name
    if one.kind == stat.S_IFDIR:
        member.kind = DIRECTORY
    elif first != name:
        member.kind, member.link = HARD_LINK, first  # with all its attributes: some who unpack it set them anew
    elif one.kind == stat.S_IFREG:
        _write_content(held, one.path, member, output)
        return
    else:
        member.kind = _KINDS[one.kind]
        if one.kind == stat.S_IFLNK:
            member.mode, member.link = 0o777, os.fsencode(held.link(held.upper, one.path) or "")
        elif one.kind != stat.S_IFIFO:
            member.device = (os.major(status.st_rdev), os.minor(status.st_rdev))
    output.write(encode(member))


def _write_content(held: Held, path: str, member: Member, output: TarOutput) -> None:
    with held.content(held.upper, path) as fd:
        if fd is None:
            raise _moving(path)
        member.size_bytes = os.fstat(fd).st_size
        output.write(encode(member))
        if member.size_bytes:
            try:
                output.copy(fd, member.size_bytes, member.name)
            except Corrupt as error:
                raise _moving(path) from error


def _moving(path: str) -> Failed:
    return Failed(f"/{path} changed while it was read", "try again, or `bennu stop` the held replica first")
