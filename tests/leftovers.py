"""What a test run leaves on the host: mounts, namespaces, interfaces, cgroups, tables, processes, directories.

``look`` takes a snapshot, ``Leftovers`` compares two. Where the run has the machine for itself (``CI=true``) everything
new counts. Elsewhere other people's work comes and goes meanwhile, so only that counts which is ours: its name holds
the key of a root below the run's temporary directory, its path lies there, or its environment carries the run's mark.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from bennu.config import key_of

MARK = "BENNU_TEST_RUN"
CGROUPS = Path("/sys/fs/cgroup")
RUN = Path("/run/bennu")
PATIENCE_SECONDS = 10.0
DEPTH = 4


@dataclass(frozen=True)
class Snapshot:
    """What there is at one moment, by kind. Names and paths as the kernel gives them."""

    mounts: frozenset[str]
    interfaces: frozenset[str]
    namespaces: frozenset[str]
    cgroups: frozenset[str]
    tables: frozenset[str]
    directories: frozenset[str]

    def new_since(self, before: Snapshot) -> list[tuple[str, str]]:
        return [
            (kind, name)
            for kind in self.__dataclass_fields__
            for name in sorted(getattr(self, kind) - getattr(before, kind))
        ]


def look() -> Snapshot:
    """The host now. Only the tables need root; without it there can be none of ours."""
    return Snapshot(
        mounts=frozenset(line.split(" ")[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()),
        interfaces=_names(Path("/sys/class/net")),
        namespaces=_names(Path("/run/netns")),
        cgroups=frozenset(_cgroups(CGROUPS)),
        tables=_tables() if os.geteuid() == 0 else frozenset(),
        directories=frozenset(str(path) for place in (Path("/tmp"), RUN) for path in _directories(place)),
    )


def marked(mark: str) -> dict[int, str]:
    """The processes that carry the run's mark in their environment, but not this one, with their command lines."""
    found = {}
    wanted = f"{MARK}={mark}".encode()
    for name in filter(str.isdigit, os.listdir("/proc")):
        place = Path("/proc", name)
        try:
            if int(name) != os.getpid() and wanted in (place / "environ").read_bytes().split(b"\0"):
                found[int(name)] = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
    return found


@dataclass
class Leftovers:
    """One run's watch over the host. ``base`` is the directory in which the run's roots are."""

    base: Path
    mark: str
    is_alone: bool
    before: Snapshot = field(default_factory=look)

    def find(self) -> list[str]:
        """What is there and should not be, one line each, after waiting a little for what is just ending."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (found := self._find()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return found

    def _find(self) -> list[str]:
        keys = self.keys()
        lines = [
            f"{kind}: {name}"
            for kind, name in look().new_since(self.before)
            if self.is_alone or str(self.base) in name or any(key in name for key in keys)
        ]
        # What lies below the base is pytest's to remove; a mount there is not.
        lines = [line for line in lines if not line.startswith(f"directories: {self.base}")]
        return lines + [f"process {pid}: {line}" for pid, line in marked(self.mark).items()]

    def keys(self) -> set[str]:
        """The keys of every root that there may be below the base."""
        found, places = set(), [(self.base, 0)]
        while places:
            place, depth = places.pop()
            found.add(key_of(place))
            if depth < DEPTH:
                try:
                    below = [Path(entry.path) for entry in os.scandir(place) if entry.is_dir(follow_symlinks=False)]
                except OSError:
                    continue
                # A test's root may be gone with its fixture: its usual names are tried as well.
                places += [(path, depth + 1) for path in {*below, place / "root", place / "store", place / "state"}]
        return found


def _names(directory: Path) -> frozenset[str]:
    return frozenset(os.listdir(directory)) if directory.is_dir() else frozenset()


def _directories(place: Path) -> list[Path]:
    """Directories below a place, and sockets: files there (locks, logs of shells) are no state of ours."""
    if not place.is_dir():
        return []
    return [
        path
        for path in place.iterdir()
        if not path.name.startswith("pytest-of-") and (path.is_dir() or path.is_socket())
    ]


def _cgroups(top: Path) -> list[str]:
    return [place for place, _, _ in os.walk(top) if place != str(top)]


def _tables() -> frozenset[str]:
    done = subprocess.run(["nft", "-j", "list", "tables"], capture_output=True, check=True, timeout=30)
    tables = [each["table"] for each in json.loads(done.stdout)["nftables"] if "table" in each]
    return frozenset(f"{each['family']} {each['name']}" for each in tables)
