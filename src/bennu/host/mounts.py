"""Mounts: described as values by those who need them (``Overlay``, ``Bind``, ``Tmpfs``), made here and nowhere else.

Everything goes through the mount API of Linux 5.2 (fsopen, fsconfig, fsmount, move_mount): ``lowerdir+`` takes
hundreds of overlay layers, one at a time (Linux 6.5; Documentation/filesystems/overlayfs.rst). Kernels before that (6.1
is Debian 12's) get mount(2) with its one page of options, where each layer is named by a descriptor, so that some 200
fit instead of 40; it happens in a mount namespace of its own, so that a crash leaves nothing.

Two quirks are handled here so that nobody else meets them: a read-only overlay needs two lower directories, so one
alone becomes a bind mount; and ``volatile`` leaves a marker in the work directory that makes the next mount of the
same upper directory fail, so it is taken away first: whoever mounts volatile throws the tree away after a crash.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from bennu.errors import Failed
from bennu.host import syscalls
from bennu.host.files import remove_tree
from bennu.host.namespaces import in_namespace, in_private_mounts

_OCTAL: Final = re.compile(rb"\\([0-7]{3})")  # how mountinfo writes spaces, tabs, newlines and backslashes


class Access(msgspec.Struct, frozen=True):
    """What a mount forbids."""

    readonly: bool = False
    nosuid: bool = False
    nodev: bool = False
    noexec: bool = False

    @property
    def attributes(self) -> int:
        """The ``MOUNT_ATTR_*`` bits."""
        return (
            (syscalls.MOUNT_ATTR_RDONLY if self.readonly else 0)
            | (syscalls.MOUNT_ATTR_NOSUID if self.nosuid else 0)
            | (syscalls.MOUNT_ATTR_NODEV if self.nodev else 0)
            | (syscalls.MOUNT_ATTR_NOEXEC if self.noexec else 0)
        )


FREE = Access()
READONLY = Access(readonly=True)


class Overlay(msgspec.Struct, frozen=True):
    """An overlay of ``lowers`` (topmost first), written to ``upper`` with ``work`` beside it on the same file system.

    Without ``upper`` it is a read-only view. ``volatile`` omits every sync of the upper directory: for snapshots that
    are thrown away if the host dies before they are committed. ``redirect_dir``, ``metacopy`` and ``index`` are
    always off, so that the upper directory alone holds the difference, in whiteouts and opaque directories only.
    """

    lowers: tuple[Path, ...]
    upper: Path | None = None
    work: Path | None = None
    volatile: bool = False
    access: Access = FREE


class Bind(msgspec.Struct, frozen=True):
    """The directory or file ``source``, seen again; ``recursive`` takes the mounts below it along."""

    source: Path
    recursive: bool = False
    access: Access = FREE


class Tmpfs(msgspec.Struct, frozen=True):
    """A file system in memory. ``size_bytes`` None leaves the kernel's default, half of the memory."""

    size_bytes: int | None = None
    mode: int = 0o755
    access: Access = FREE


Mount = Overlay | Bind | Tmpfs


def attach(mount: Mount, target: Path) -> None:
    """Make a mount at ``target``, which exists. ``Failed`` with the kernel's reason where it cannot be made."""
    try:
        fd = detached(mount)
        try:
            syscalls.move_mount(fd, target)
        finally:
            os.close(fd)
    except OSError as error:
        raise _refused(mount, error, f"mount {str(target)!r}: ") from error


def detached(mount: Mount) -> int:
    """The mount as a file descriptor that stands nowhere yet; ``OSError`` from the kernel. The caller closes it."""
    match mount:
        case Overlay(lowers=(only,), upper=None, access=access):
            return _bind(Bind(source=only, access=Access(True, access.nosuid, access.nodev, access.noexec)))
        case Overlay():
            return _overlay(mount)
        case Bind():
            return _bind(mount)
        case Tmpfs(size_bytes=size, mode=mode, access=access):
            options = {"mode": f"{mode:o}"} | ({"size": str(size)} if size is not None else {})
            return _filesystem("tmpfs", options, (), access)


def _refused(mount: Mount, error: OSError, where: str = "") -> Failed:
    kind = type(mount).__name__.lower()
    what = f"{kind} of {str(mount.source)!r}" if isinstance(mount, Bind) else kind
    hint = "run `bennu doctor`; it says what the host lacks"
    return Failed(f"{where}the kernel refused the {what}: {error.strerror}", hint)


@contextmanager
def opened(mount: Mount) -> Iterator[int]:
    """The root of a mount that stands nowhere, as a directory's descriptor: seen by the holder alone, gone with it."""
    try:
        fd = detached(mount)
    except OSError as error:
        raise _refused(mount, error) from error
    try:
        # what fsmount gives is a path only (O_PATH): to list or stat through it takes an open directory
        root = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
        try:
            yield root
        finally:
            os.close(root)
    finally:
        os.close(fd)


def _bind(mount: Bind) -> int:
    return _restricted(syscalls.open_tree(mount.source, recursive=mount.recursive), mount)


def _restricted(fd: int, mount: Bind) -> int:
    if mount.access.attributes:
        try:
            syscalls.mount_setattr(fd, set_attributes=mount.access.attributes, recursive=mount.recursive)
        except OSError:
            os.close(fd)
            raise
    return fd


def _overlay(mount: Overlay) -> int:
    options: dict[str, str | Path] = dict.fromkeys(("index", "metacopy", "redirect_dir"), "off")
    flags: tuple[str, ...] = ()
    if mount.volatile and mount.work is not None:
        remove_tree(mount.work / "work" / "incompat")
        flags = ("volatile",)
    paths: dict[str, str | Path] = {}
    if mount.upper is not None and mount.work is not None:
        paths = {"upperdir": mount.upper, "workdir": mount.work}
    try:
        return _filesystem("overlay", options | paths, flags, mount.access, lowers=mount.lowers)
    except OSError as error:
        if error.errno != errno.EINVAL:  # what a kernel says that knows no "lowerdir+", and to paths over 255 bytes
            raise
        return _overlay_in_one_page(mount, (*flags, *(f"{key}={value}" for key, value in options.items())))


def _overlay_in_one_page(mount: Overlay, options: tuple[str, ...]) -> int:
    def made() -> int:
        with ExitStack() as stack:  # opened in here: the kernel takes no directory of another mount namespace

            def named(path: Path) -> str:
                fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
                stack.callback(os.close, fd)
                return f"/proc/self/fd/{fd}"

            words = ["lowerdir=" + ":".join(map(named, mount.lowers)), *options]
            if mount.upper is not None and mount.work is not None:
                words += [f"upperdir={named(mount.upper)}", f"workdir={named(mount.work)}"]
            place = mount.lowers[0]
            syscalls.mount("overlay", place, "overlay", 0, ",".join(words))
            return syscalls.open_tree(place, recursive=False)

    return _restricted(in_private_mounts(made), Bind(mount.lowers[0], access=mount.access))


def _filesystem(
    kind: str,
    options: Mapping[str, str | Path],
    flags: tuple[str, ...],
    access: Access,
    lowers: tuple[Path, ...] = (),
) -> int:
    fs = syscalls.fsopen(kind)
    try:
        for lower in lowers:
            syscalls.fsconfig_string(fs, "lowerdir+", lower)
        for key, value in options.items():
            syscalls.fsconfig_string(fs, key, value)
        for flag in flags:
            syscalls.fsconfig_flag(fs, flag)
        syscalls.fsconfig_create(fs)
        return syscalls.fsmount(fs, access.attributes)
    finally:
        os.close(fs)


def detach(target: Path) -> None:
    """Take the mount at ``target`` away, lazily where it is busy. Not an error where nothing is mounted."""
    try:
        syscalls.umount(target)
    except OSError as error:
        if error.errno == errno.EBUSY:
            with suppress(OSError):
                syscalls.umount(target, syscalls.MNT_DETACH)
        elif error.errno not in {errno.EINVAL, errno.ENOENT}:
            raise Failed(f"unmount {str(target)!r}: {error.strerror}") from error


def make_root_writable(pid: int) -> None:
    """Take the read-only flag off the root of a process, in its own mount namespace: nobody else's view changes.

    ``OSError``: ``ESRCH`` or ``ENOENT`` where the process is gone, ``EROFS`` where the file system itself is read-only.
    """

    def change() -> None:
        root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if os.fstatvfs(root).f_flag & os.ST_RDONLY:
                syscalls.mount_setattr(root, clear_attributes=syscalls.MOUNT_ATTR_RDONLY)
            if os.fstatvfs(root).f_flag & os.ST_RDONLY:
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), "/")
        finally:
            os.close(root)

    in_namespace(Path(f"/proc/{pid}/ns/mnt"), syscalls.CLONE_NEWNS, change)


@contextmanager
def attached(mount: Mount, target: Path) -> Iterator[Path]:
    """A mount for as long as the block runs."""
    attach(mount, target)
    try:
        yield target
    finally:
        detach(target)


def mounted_below(directory: Path) -> tuple[Path, ...]:
    """The mount points of this process's mount namespace at or below a directory, deepest first."""
    prefix = os.fsencode(directory)
    found: list[Path] = []
    with open("/proc/self/mountinfo", "rb") as table:
        for line in table:
            point = _OCTAL.sub(lambda match: bytes([int(match[1], 8)]), line.split(b" ", 5)[4])
            if point == prefix or point.startswith(prefix.rstrip(b"/") + b"/"):
                found.append(Path(os.fsdecode(point)))
    return tuple(sorted(found, key=lambda path: len(path.parts), reverse=True))
