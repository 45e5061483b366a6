"""Volumes: named or anonymous directories that outlive containers, and what a container mounts of all kinds.

A volume is a row and a directory ``volumes/<name>/_data``; the row comes first and goes last. An empty one is filled
with what the image has at its target, owner and mode included, before its first container starts; ``filling`` beside
``_data`` says that this was under way, so that a crash makes it start again. Volumes are mounted nosuid, nodev and
(unless ``exec`` is asked for) noexec, binds nosuid and nodev. Paths inside a volume and inside an image resolve there.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from bennu.config import Settings
from bennu.errors import AlreadyExists, Conflict, Invalid, NotFound
from bennu.host import process
from bennu.host.files import directory, open_in_root, remove_tree
from bennu.runtime.options import MountOption
from bennu.runtime.spec import MountPoint
from bennu.runtime.volume_specs import volume_name
from bennu.store.database import Database

ANONYMOUS_BYTES: Final = 32
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Volume(msgspec.Struct, frozen=True, kw_only=True):
    """A volume as it is recorded. ``path`` is its content on the host; ``created`` in Unix seconds."""

    name: str
    path: Path
    anonymous: bool
    labels: dict[str, str]
    created: float


class Volumes:
    """The volumes of one root. Safe to call from several threads and processes."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._root = settings.volumes
        self._database = database

    def ensure(self, name: str, labels: dict[str, str] | None = None) -> Volume:
        """The volume of a name, made if it is missing; then with these labels."""
        return self.get(name) or self._make(volume_name(name), labels or {}, anonymous=False, exists_ok=True)

    def create(self, name: str | None = None, labels: dict[str, str] | None = None) -> Volume:
        """A new volume, anonymous without a name. ``AlreadyExists`` if the name is taken."""
        chosen = os.urandom(ANONYMOUS_BYTES).hex() if name is None else volume_name(name)
        return self._make(chosen, labels or {}, anonymous=name is None, exists_ok=False)

    def _make(self, name: str, labels: dict[str, str], *, anonymous: bool, exists_ok: bool) -> Volume:
        try:
            with self._database.transaction() as rows:
                rows.execute(
                    "INSERT INTO volumes (name, anonymous, labels, created) VALUES (?, ?, ?, ?)",
                    (name, int(anonymous), msgspec.json.encode(labels).decode(), time.time()),
                )
        except sqlite3.IntegrityError as error:
            if not exists_ok:
                raise AlreadyExists(f"volume {name!r} exists") from error
        self._make_directory(name)
        found = self.get(name)
        if found is None:
            raise Conflict(f"volume {name!r} was removed meanwhile")
        return found

    def _make_directory(self, name: str) -> None:
        # other users of the host must not reach what setuid or world-writable files a volume may hold
        self._root.mkdir(mode=0o711, parents=True, exist_ok=True)
        (self._root / name / "_data").mkdir(mode=0o755, parents=True, exist_ok=True)

    def get(self, name: str) -> Volume | None:
        """A volume, or None."""
        row = self._database.one("SELECT * FROM volumes WHERE name = ?", (name,))
        return None if row is None else self._volume(row)

    def walk(self) -> tuple[Volume, ...]:
        """All volumes, by name."""
        return tuple(map(self._volume, self._database.query("SELECT * FROM volumes ORDER BY name")))

    def _volume(self, row: sqlite3.Row) -> Volume:
        return Volume(
            name=row["name"],
            path=self._root / row["name"] / "_data",
            anonymous=bool(row["anonymous"]),
            labels=msgspec.json.decode(row["labels"]),
            created=row["created"],
        )

    def users(self, name: str) -> tuple[str, ...]:
        """The ids of the containers that mount a volume."""
        rows = self._database.query("SELECT container FROM container_volumes WHERE volume = ? ORDER BY 1", (name,))
        return tuple(row["container"] for row in rows)

    def remove(self, name: str) -> None:
        """Remove a volume and its content. ``NotFound``; ``Conflict`` while a container mounts it."""
        try:
            with self._database.transaction() as rows:
                removed = rows.execute("DELETE FROM volumes WHERE name = ?", (name,)).rowcount
        except sqlite3.IntegrityError as error:
            users = ", ".join(one[:12] for one in self.users(name))
            raise Conflict(f"volume {name!r} is mounted by {users}", "remove these containers first") from error
        if not removed:
            raise NotFound(f"volume {name!r} does not exist")
        remove_tree(self._root / name)

    def claim(self, rows: sqlite3.Connection, container: str, mounts: tuple[MountOption, ...]) -> None:
        """Record, in the transaction that records a container, which volumes it mounts."""
        names = dict.fromkeys(mount.source for mount in mounts if mount.type == "volume")
        rows.executemany(
            "INSERT INTO container_volumes (container, volume) VALUES (?, ?)", [(container, name) for name in names]
        )

    def anonymous_of(self, container: str) -> tuple[str, ...]:
        """The anonymous volumes that only this container mounts."""
        rows = self._database.query(
            "SELECT v.name FROM volumes v JOIN container_volumes c ON c.volume = v.name"
            " WHERE v.anonymous AND c.container = ? AND NOT EXISTS"
            " (SELECT 1 FROM container_volumes o WHERE o.volume = v.name AND o.container <> c.container)",
            (container,),
        )
        return tuple(row["name"] for row in rows)

    def fill(self, name: str, rootfs: Path, target: str) -> None:
        """Give an empty volume what the image has at ``target``, with owner and mode. Once; safe to repeat."""
        place = self._root / name
        with _locked(place):
            filling, data = place / "filling", place / "_data"
            if any(os.scandir(data)) and not filling.exists():
                return
            with directory(rootfs) as root:
                try:
                    source = open_in_root(root, target, _DIRECTORY)
                except OSError:  # the image has nothing there, or not a directory
                    return
                try:
                    self._copy(source, data, filling)
                finally:
                    os.close(source)

    def _copy(self, source: int, data: Path, filling: Path) -> None:
        if any(os.scandir(source)):
            filling.touch()
            for entry in os.scandir(data):
                remove_tree(Path(entry.path))
            process.run(["cp", "-a", f"/proc/self/fd/{source}/.", str(data)], pass_fds=(source,))
        status = os.fstat(source)
        os.chown(data, status.st_uid, status.st_gid)
        os.chmod(data, status.st_mode & 0o7777)
        filling.unlink(missing_ok=True)

    def point(self, mount: MountOption) -> MountPoint:
        """What the runtime mounts. ``NotFound`` for a bind source that is missing and is not to be made."""
        if mount.type == "tmpfs":
            return _tmpfs(mount)
        options = ["rbind" if mount.recursive else "bind", mount.propagation or "rprivate", "nosuid", "nodev"]
        if mount.type == "bind":
            source = _bind_source(mount)
        else:
            source = self._volume_source(mount)
            options += [] if mount.exec else ["noexec"]
        return MountPoint(
            target=mount.target, source=source, options=(*options, *(("rro", "ro") if mount.readonly else ("rw",)))
        )

    def _volume_source(self, mount: MountOption) -> str:
        assert mount.source is not None  # anonymous ones were named when the container was recorded
        data = self._root / mount.source / "_data"
        if not data.is_dir():  # a crash between the row and the directory
            self._make_directory(mount.source)
        if mount.subpath is None:
            return str(data)
        with directory(data) as root:
            try:
                fd = open_in_root(root, mount.subpath, os.O_PATH)
            except OSError as error:
                raise NotFound(f"volume {mount.source!r} has no {mount.subpath!r}") from error
            try:
                return os.readlink(f"/proc/self/fd/{fd}")
            finally:
                os.close(fd)


def _bind_source(mount: MountOption) -> str:
    assert mount.source is not None
    if not os.path.exists(mount.source):
        if not mount.create:
            raise NotFound(f"bind source {mount.source!r} does not exist", "create it, or use -v, which does")
        os.makedirs(mount.source, exist_ok=True)
    return mount.source


def _tmpfs(mount: MountOption) -> MountPoint:
    options = ["nosuid", "nodev", *([] if mount.exec else ["noexec"]), "ro" if mount.readonly else "rw"]
    options.append(f"mode={0o1777 if mount.mode is None else mount.mode:o}")
    for key, value in (("size", mount.size_bytes), ("uid", mount.uid), ("gid", mount.gid)):
        if value is not None:
            options.append(f"{key}={value}")
    options += ["tmpcopyup"] if mount.copyup else []
    return MountPoint(target=mount.target, source="tmpfs", kind="tmpfs", options=tuple(options))


def complete(mounts: tuple[MountOption, ...], image_volumes: tuple[str, ...]) -> tuple[MountOption, ...]:
    """The mounts that were asked for, and an anonymous volume for each of the image's that none of them covers.

    ``Invalid`` if two stand on one target.
    """
    seen: set[str] = set()
    for mount in mounts:
        if mount.target in seen:
            raise Invalid(f"two mounts on {mount.target!r}", "keep one of them")
        seen.add(mount.target)
    extra = [MountOption(type="volume", target=target, exec=True) for target in image_volumes if target not in seen]
    return (*mounts, *extra)


@contextmanager
def _locked(place: Path) -> Iterator[None]:
    with directory(place) as fd:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
