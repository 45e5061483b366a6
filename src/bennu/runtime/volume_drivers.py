"""What the local driver can mount as a volume: a block device, NFS, a directory of the host.

``Device`` is made of ``driver_opts`` (``type``, ``device``, ``o`` as mount(8) has them); refused is what the kernel
would be told by a program of its own. It is mounted in the private mount namespace of each container that wants it, so
that nothing has to be unmounted, ever: the kernel shares one file system between all mounts of the same device. Source
of the words: mount(8), "FILESYSTEM-INDEPENDENT MOUNT OPTIONS"; Docker's `volume create` reference, "Driver-specific
options".
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from bennu.errors import Failed, Invalid, Unsupported
from bennu.host import syscalls
from bennu.host.namespaces import in_private_mounts

KEYS: Final = ("type", "device", "o")
_FLAGS: Final = {
    "ro": 1, "nosuid": 2, "nodev": 4, "noexec": 8, "sync": 16, "mand": 64, "dirsync": 128, "noatime": 1024,
    "nodiratime": 2048, "bind": 4096, "rbind": 4096 | 16384, "relatime": 1 << 21, "strictatime": 1 << 24,
    "lazytime": 1 << 25,
}  # fmt: skip
_REMOUNT: Final = 32
_BIND: Final = 4096
_BIND_RECURSIVE: Final = _BIND | 16384
_NOTHING: Final = frozenset({"rw", "defaults", "async", "dev", "suid", "exec", "auto", "noauto", "nofail", "_netdev"})
_ALWAYS: Final = _FLAGS["nosuid"] | _FLAGS["nodev"]


class Device(msgspec.Struct, frozen=True):
    """Something that mount(2) takes. ``flags`` are MS_*; ``data`` is for the file system itself."""

    kind: str
    source: str
    flags: int = 0
    data: str = ""

    @property
    def is_readonly(self) -> bool:
        """Nobody may write it."""
        return bool(self.flags & _FLAGS["ro"])

    @property
    def is_bind(self) -> bool:
        """It is a directory of the host."""
        return bool(self.flags & _BIND)


def parse_device(options: Mapping[str, str]) -> Device | None:
    """The device of ``driver_opts``; None where there are none. ``Invalid`` and ``Unsupported`` name the option."""
    if not options:
        return None
    unknown = sorted(options.keys() - set(KEYS))
    if unknown:
        raise Invalid(f"volume option {unknown[0]!r} is not known", f"known: {', '.join(KEYS)}")
    kind, source = options.get("type", "none"), options.get("device", "")
    if not source:
        raise Invalid("volume option 'device' is missing", "say what is mounted: -o device=/dev/sdb1")
    if kind == "tmpfs":
        raise Unsupported("volume type 'tmpfs' would be a memory of each container's own", "use --tmpfs")
    words = [word for word in options.get("o", "").split(",") if word]
    flags = _ALWAYS
    for word in words:
        flags |= _FLAGS.get(word, 0)
    data = [word for word in words if word not in _FLAGS and word not in _NOTHING]
    if kind in {"none", "", "bind"} and not flags & _BIND:
        raise Invalid(f"volume type {kind!r} needs the option 'bind'", "add -o o=bind, or name the file system's type")
    if not source.startswith("/") and not kind.startswith("nfs"):
        raise Invalid(f"volume device {source!r} is not an absolute path")
    return Device(kind, source, flags, ",".join(data))


def mount_device(device: Device, target: Path) -> None:
    """Mount it at a directory, in the mount namespace of the caller. ``Failed`` with the kernel's reason."""
    try:
        if device.is_bind:
            syscalls.mount(device.source, target, "none", device.flags & _BIND_RECURSIVE, "")
            rest = device.flags & ~_BIND_RECURSIVE
            syscalls.mount("none", target, "none", rest | _BIND | _REMOUNT, "")
        else:
            syscalls.mount(_source(device), target, device.kind, device.flags, _data(device))
    except OSError as error:
        hint = f"try: mount -t {device.kind} {device.source} /mnt"
        if error.errno == errno.ENODEV:
            hint = f"the kernel does not know file systems of type {device.kind!r}"
        raise Failed(f"volume device {device.source!r} cannot be mounted: {error.strerror}", hint) from error


def _source(device: Device) -> str:
    """An NFS device begins with its host, which Docker's users leave out: then ``addr`` says it."""
    if device.kind.startswith("nfs") and device.source.startswith(":"):
        address = _word(device, "addr")
        if address is None:
            raise Invalid(f"NFS device {device.source!r} names no host", "write HOST:/PATH, or add o=addr=HOST")
        return address + device.source
    return device.source


def _data(device: Device) -> str:
    """NFS in the kernel wants the server's address in numbers, which is what mount.nfs is for otherwise."""
    if not device.kind.startswith("nfs"):
        return device.data
    host = _word(device, "addr") or device.source.rpartition(":/")[0].strip("[]")
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Failed(f"host {host!r} of NFS device {device.source!r} has no address: {error}") from error
    words = [word for word in device.data.split(",") if word and not word.startswith("addr=")]
    return ",".join([*words, f"addr={found[0][4][0]}"])


def _word(device: Device, key: str) -> str | None:
    return next((word.partition("=")[2] for word in device.data.split(",") if word.startswith(f"{key}=")), None)


@contextmanager
def opened_device(device: Device, place: Path) -> Iterator[Path]:
    """A path at which the device can be seen by this process alone, for the block. ``place`` is a directory."""

    def made() -> int:
        mount_device(device, place)
        return syscalls.open_tree(place, recursive=False)

    fd = in_private_mounts(made)
    try:
        yield Path(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)
