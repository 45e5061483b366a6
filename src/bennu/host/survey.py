"""What this host has, as facts: programs, kernel, cgroups, limits, the state directory. Judges nothing.

``observe`` looks, everything else is a value. What a fact means, and the command that mends it, is the business of
``bennu.cli.requirements``. Looking changes nothing that outlives the look: the overlay is tried in a temporary
directory beside the state.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from bennu.errors import BennuError
from bennu.host import mounts, process
from bennu.host.files import temporary_directory

SECCOMP_PROFILE: Final = Path("/usr/share/containers/seccomp.json")
_CGROUPS: Final = Path("/sys/fs/cgroup")
_SYSTEM_DIRECTORIES: Final = "/usr/local/sbin:/usr/sbin:/sbin"
_VERSION_ARGUMENTS: Final = {"haproxy": ("-v",), "ip": ("-V",), "ssh": ("-V",)}
_PROGRAMS: Final = (
    "crun", "runc", "conmon", "haproxy", "nft", "ip", "conntrack", "tcpdump", "mmdebstrap", "git", "ssh",
)  # fmt: skip

Hierarchy = Literal["none", "v1", "hybrid", "v2"]


@dataclass(frozen=True, slots=True)
class Program:
    """A program that was found: where, whether ``PATH`` leads there, and the first line that it says of itself."""

    path: str
    is_on_path: bool
    version: str


@dataclass(frozen=True, slots=True)
class Cgroups:
    """The hierarchy that is mounted and the controllers that can be used in it."""

    hierarchy: Hierarchy
    controllers: frozenset[str]


@dataclass(frozen=True, slots=True)
class State:
    """Where the state directory is or would be: the nearest directory that exists, its file system, what is free.

    ``overlay_error`` is None where an overlay could be mounted there, else the reason; also None where that was not
    tried, for want of root.
    """

    root: Path
    existing: Path
    filesystem: str
    free_bytes: int
    is_writable: bool
    overlay_error: str | None


@dataclass(frozen=True, slots=True)
class Survey:
    """All that was seen, at one moment. A program that is not there is None; a limit that cannot be read is None."""

    python: tuple[int, int, int]
    kernel: str
    is_root: bool
    programs: dict[str, Program | None]
    cgroups: Cgroups
    user_namespaces: int | None
    ip_forward: bool | None
    inotify_instances: int | None
    inotify_watches: int | None
    has_seccomp_profile: bool
    state: State


def observe(root: Path, search_path: str) -> Survey:
    """Look at this host; ``root`` is the state directory, ``search_path`` the value of ``PATH``."""
    forward = _number(Path("/proc/sys/net/ipv4/ip_forward"))
    return Survey(
        python=sys.version_info[:3],
        kernel=platform.release(),
        is_root=os.geteuid() == 0,
        programs={name: find_program(name, search_path) for name in _PROGRAMS},
        cgroups=observe_cgroups(_CGROUPS, Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()),
        user_namespaces=_user_namespaces(),
        ip_forward=None if forward is None else forward > 0,
        inotify_instances=_number(Path("/proc/sys/fs/inotify/max_user_instances")),
        inotify_watches=_number(Path("/proc/sys/fs/inotify/max_user_watches")),
        has_seccomp_profile=SECCOMP_PROFILE.is_file(),
        state=observe_state(root),
    )


def find_program(name: str, search_path: str) -> Program | None:
    """The program by name, in ``search_path`` or else in the system's own directories."""
    found = shutil.which(name, path=search_path)
    path = found or shutil.which(name, path=_SYSTEM_DIRECTORIES)
    if path is None:
        return None
    version = ""
    with suppress(BennuError, OSError):
        done = process.run([path, *_VERSION_ARGUMENTS.get(name, ("--version",))], check=False, timeout_seconds=10)
        text = (done.stdout or done.stderr).decode(errors="replace").strip()
        version = text.splitlines()[0] if text else ""
    return Program(path, found is not None, version)


def observe_cgroups(top: Path, mountinfo: Iterable[str]) -> Cgroups:
    """The hierarchy below ``top`` from the lines of mountinfo(5): v2 alone, v1, or v1 with v2 beside it."""
    unified: Path | None = None
    controllers: set[str] = set()
    has_v1 = False
    for line in mountinfo:
        before, _, after = line.partition(" - ")
        point, (kind, _, options) = Path(before.split()[4]), after.split()[:3]
        if not point.is_relative_to(top):
            continue
        if kind == "cgroup2":
            unified = point
        elif kind == "cgroup":
            named = {option for option in options.split(",") if "=" not in option} - {"rw", "ro"}
            has_v1 = has_v1 or bool(named)
            controllers |= named
    if unified is not None and not has_v1:
        with suppress(OSError):
            controllers |= set((unified / "cgroup.controllers").read_text().split())
        return Cgroups("v2", frozenset(controllers))
    return Cgroups("none" if not has_v1 else "hybrid" if unified else "v1", frozenset(controllers))


def observe_state(root: Path) -> State:
    """The state directory's surroundings."""
    existing = next(path for path in (root, *root.parents) if path.is_dir())
    usage = os.statvfs(existing)
    is_writable = os.access(existing, os.W_OK)
    error = _overlay_error(existing) if is_writable and os.geteuid() == 0 else None
    return State(root, existing, _filesystem_of(existing), usage.f_bavail * usage.f_frsize, is_writable, error)


def _overlay_error(parent: Path) -> str | None:
    """Why the kernel makes no overlay below ``parent``; None if it does."""
    try:
        with temporary_directory(parent, ".bennu-doctor") as place:
            parts = [place / name for name in ("low", "lower", "upper", "work")]
            for part in parts:
                part.mkdir()
            os.close(mounts.detached(mounts.Overlay(lowers=(parts[0], parts[1]), upper=parts[2], work=parts[3])))
    except OSError as error:
        return error.strerror
    return None


def _filesystem_of(directory: Path) -> str:
    """The type of the file system that a directory is on, from the mount with its device number."""
    device = directory.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as table:
        for line in table:
            if line.split(" ", 3)[2] == wanted:
                return line.partition(" - ")[2].split()[0]
    return "unknown"


def _user_namespaces() -> int | None:
    """How many user namespaces one may make; 0 where Debian's switch keeps them from everybody but root."""
    if os.geteuid() != 0 and _number(Path("/proc/sys/kernel/unprivileged_userns_clone")) == 0:
        return 0
    return _number(Path("/proc/sys/user/max_user_namespaces"))


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
