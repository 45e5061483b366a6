"""What a container is like inside: mounts, limits, its network, its files, as names and texts that can be compared.

``take`` looks when the runtime has made everything and the process has not been let go: that is the *baseline*, what
the runtime made of the specification, whatever runtime it is. ``look`` looks again later; what differs then was
changed by somebody. Kept in the bundle, so that each start has a baseline of its own.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

from bennu.digest import sha256_hex
from bennu.host import cgroups, listing, network_state, sysctls, tasks
from bennu.host.files import directory, open_in_root, read_in_root, write_atomic
from bennu.host.namespaces import visiting
from bennu.runtime.places import Place

Groups = dict[str, dict[str, str]]
"""Kind of fact -> name -> text."""

WRITTEN: Final = 5_000
"""So many entries of what a container wrote are looked at."""
ETC: Final = ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf")
_FLAGS: Final = ("ro", "nosuid", "nodev", "noexec")
_OF_THE_KERNEL: Final = ("/proc", "/sys")


class Interior(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen. ``pid`` and ``started`` (clock ticks) are the first process's; ``since`` has change times of files
    by kind and name (Unix seconds); ``owners`` the user of each thing in scratch space.
    """

    pid: int
    started: int
    groups: Groups
    since: dict[str, dict[str, float]] = {}
    owners: dict[str, int] = {}


def take(place: Place, pid: int) -> None:
    """Keep what a container is like before its process is let go."""
    seen = look({pid: place}).get(pid)
    if seen is not None:
        write_atomic(_path(place), msgspec.json.encode(seen), durable=False)


def baseline(place: Place) -> Interior | None:
    """What ``take`` kept at the last start; None where an older bennu started it."""
    try:
        return msgspec.json.decode(_path(place).read_bytes(), type=Interior)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def _path(place: Place) -> Path:
    return place.bundle / "interior.json"


def look(places: Mapping[int, Place]) -> dict[int, Interior]:
    """What containers are like now, by the pids of their first processes. One that has ended meanwhile is left out."""
    inside = visiting(places, lambda _pid: _in_namespaces())
    found = {}
    for pid, groups in inside.items():
        task = tasks.look(pid)
        if task is None:
            continue
        files = _Files(pid, places[pid])
        groups |= {
            "mount": mounts(tasks.mount_table(pid)),
            "limit": cgroups.settings(places[pid].cgroup),
            "rlimit": {name: hard for name, (_, hard) in tasks.limits(pid).items()},
            "etc": files.etc(),
            "file": files.written(),
            "scratch": files.scratch(),
            "device": files.devices(),
        }
        if tasks.look(pid) is not None:  # what was read of one that ended meanwhile is not whole
            found[pid] = Interior(pid=pid, started=task.started, groups=groups, since=files.since, owners=files.owners)
    return found


@cache
def _settings(interfaces: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """The names of the kernel's settings in the calling thread's namespaces, which are alike where these are."""
    del interfaces
    return sysctls.names(sysctls.INSIDE)


def _in_namespaces() -> Groups:
    links = network_state.links()
    interfaces = links.texts
    return {
        "interface": interfaces,
        "address": network_state.addresses(links),
        "route": network_state.routes(links),
        "firewall": network_state.firewall(),
        "sysctl": sysctls.read_all(_settings(tuple(sorted(interfaces)))),
        "hostname": {"hostname": network_state.host_name()},
    }


def mounts(table: Iterable[tasks.MountEntry]) -> dict[str, str]:
    """By target: file system, access, and what of a host's file system is mounted there. A second mount over one that
    is there has ``(2)`` in its name.
    """
    found: dict[str, str] = {}
    for entry in table:
        name, number = entry.target, 2
        while name in found:
            name, number = f"{entry.target} ({number})", number + 1
        found[name] = mount_words(entry)
    return found


def mount_words(entry: tasks.MountEntry) -> str:
    """One mount as a text."""
    flags = [flag for flag in _FLAGS if flag in entry.options]
    access = "read-only" if "ro" in flags else "writable"
    rest = [flag for flag in flags if flag != "ro"]
    below = " (of a read-only file system)" if entry.is_readonly_below and "ro" not in flags else ""
    what = "" if entry.root == "/" else f" of {entry.root.removesuffix('//deleted')}"
    return " ".join([entry.kind, access + below, *rest]) + what


class _Files:
    """What lies in one container, seen through its first process."""

    def __init__(self, pid: int, place: Place) -> None:
        self._root = f"/proc/{pid}/root"
        self._pid = pid
        self._place = place
        self.since: dict[str, dict[str, float]] = {}
        self.owners: dict[str, int] = {}

    def etc(self) -> dict[str, str]:
        """Digests of what the container sees as its names and resolvers."""
        found = {}
        for path in ETC:
            with suppress(OSError):
                data = read_in_root(Path(self._root), path)
                found[path] = "missing" if data is None else sha256_hex(data.rstrip())[:12]
        return found

    def written(self) -> dict[str, str]:
        """What is in the writable layer."""
        found: dict[str, str] = {}
        with suppress(OSError), directory(self._place.upper) as fd:
            for entry in listing.walk(fd, limit=WRITTEN):
                text = "removed" if entry.is_whiteout else listing.words(entry.status)
                self._note("file", entry, found, entry.path, text)
        return found

    def scratch(self) -> dict[str, str]:
        """Everything in tmpfs that the container may write: what it is and, below, whose."""
        found: dict[str, str] = {}
        for target, entry in self._in_scratch():
            path, mode = target.rstrip("/") + entry.path, entry.status.st_mode
            if entry.is_program or entry.is_device or (stat.S_ISREG(mode) and mode & (stat.S_ISUID | stat.S_ISGID)):
                self._note("scratch", entry, found, path, _without_time(entry))
            self.owners[path] = entry.status.st_uid
            self.since.setdefault("owner", {})[path] = entry.status.st_ctime
        return found

    def _in_scratch(self) -> Iterator[tuple[str, listing.Entry]]:
        for mount in tasks.mount_table(self._pid):
            if mount.kind != "tmpfs" or "ro" in mount.options or mount.target == "/dev":
                continue
            if mount.root != "/" or mount.target.startswith(_OF_THE_KERNEL):
                continue
            with suppress(OSError), directory(self._root) as root, directory(mount.target, inside=root) as fd:
                for entry in listing.walk(fd, limit=WRITTEN):
                    yield mount.target, entry

    def devices(self) -> dict[str, str]:
        """The device nodes of /dev."""
        found: dict[str, str] = {}
        with suppress(OSError), directory(self._root) as root:
            fd = open_in_root(root, "/dev", os.O_RDONLY | os.O_DIRECTORY)
            try:
                for entry in listing.walk(fd, limit=WRITTEN):
                    if entry.is_device:
                        self._note("device", entry, found, "/dev" + entry.path, listing.words(entry.status))
            finally:
                os.close(fd)
        return found

    def _note(self, kind: str, entry: listing.Entry, found: dict[str, str], path: str, text: str) -> None:
        found[path] = text
        self.since.setdefault(kind, {})[path] = entry.status.st_ctime


def _without_time(entry: listing.Entry) -> str:
    return listing.words(entry.status).partition(",")[0]
