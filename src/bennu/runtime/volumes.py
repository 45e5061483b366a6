"""Volumes: named or anonymous directories that outlive containers.

A volume is a row and a directory ``volumes/<name>/_data``; the row comes first and goes last. An empty one is filled
with what the image has at its target, owner and mode included, before its first container starts; ``filling`` beside
``_data`` says that this was under way, so that a crash makes it start again. Paths inside a volume and inside
an image resolve there. One with ``options`` is no directory of the store but what they say (``volume_drivers``), seen
at ``_data`` in the mount namespaces of those who use it. Next: ``mount_points``, ``volume_snapshots``.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from bennu.config import Settings
from bennu.errors import AlreadyExists, Conflict, NotFound
from bennu.host import btrfs, process
from bennu.host.files import directory, open_in_root, remove_tree
from bennu.runtime.options import MountOption
from bennu.runtime.volume_drivers import mount_device, opened_device, parse_device
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
    options: dict[str, str] = {}


class Volumes:
    """The volumes of one root. Safe to call from several threads and processes."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._root = settings.volumes
        self._database = database

    def ensure(
        self, name: str, labels: Mapping[str, str] | None = None, options: Mapping[str, str] | None = None
    ) -> Volume:
        """The volume of a name, made if it is missing; then with these labels and options.

        ``Conflict`` for one that is there with other options: what it holds is elsewhere.
        """
        found = self.get(name) or self._make(volume_name(name), labels or {}, options or {}, False, exists_ok=True)
        if options is not None and found.options != dict(options):
            raise Conflict(
                f"volume {name!r} was made with other driver options",
                f"remove it first (`bennu volume rm {name}`), or give the new one another name",
            )
        return found

    def create(
        self,
        name: str | None = None,
        labels: Mapping[str, str] | None = None,
        options: Mapping[str, str] | None = None,
    ) -> Volume:
        """A new volume, anonymous without a name. ``AlreadyExists`` if the name is taken."""
        chosen = os.urandom(ANONYMOUS_BYTES).hex() if name is None else volume_name(name)
        return self._make(chosen, labels or {}, options or {}, name is None, exists_ok=False)

    def _make(
        self, name: str, labels: Mapping[str, str], options: Mapping[str, str], anonymous: bool, *, exists_ok: bool
    ) -> Volume:
        parse_device(options)
        try:
            with self._database.transaction() as rows:
                rows.execute(
                    "INSERT INTO volumes (name, anonymous, labels, options, created) VALUES (?, ?, ?, ?, ?)",
                    (name, int(anonymous), _json(labels), _json(options), time.time()),
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
        place = self._root / name
        place.mkdir(mode=0o755, exist_ok=True)
        with suppress(FileExistsError):
            if not btrfs.make_subvolume(place / "_data"):
                (place / "_data").mkdir(mode=0o755)

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
            options=msgspec.json.decode(row["options"]),
        )

    def place(self, name: str) -> Path:
        """The directory of a volume: its data, its snapshots, and what is being made of them."""
        return self._root / name

    def users(self, name: str) -> tuple[str, ...]:
        """The ids of the containers that mount a volume."""
        rows = self._database.query("SELECT container FROM container_volumes WHERE volume = ? ORDER BY 1", (name,))
        return tuple(row["container"] for row in rows)

    def remove(self, name: str, *, snapshots: bool = True) -> None:
        """Remove a volume and its content. ``NotFound``; ``Conflict`` while a container mounts it.

        With ``snapshots`` off, ``Conflict`` for one that has any: they go with it.
        """
        try:
            with self._database.transaction() as rows:
                found = rows.execute("SELECT COUNT(*) FROM volume_snapshots WHERE volume = ?", (name,)).fetchone()[0]
                if found and not snapshots:
                    what = "a snapshot" if found == 1 else f"{found} snapshots"
                    hint = f"`bennu volume rm --force {name}` removes all of it"
                    raise Conflict(f"volume {name!r} has {what} that a rollback may need", hint)
                rows.execute("DELETE FROM volume_snapshots WHERE volume = ?", (name,))
                rows.execute("DELETE FROM volume_restores WHERE volume = ?", (name,))
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

    def source(self, name: str, subpath: str | None = None) -> str:
        """The directory of the host that a container mounts. ``NotFound`` for a subpath that is not there."""
        data = self._root / name / "_data"
        if not data.is_dir():  # a crash between the row and the directory
            self._make_directory(name)
        if subpath is None:
            return str(data)
        with directory(data) as root:
            try:
                fd = open_in_root(root, subpath, os.O_PATH)
            except OSError as error:
                raise NotFound(f"volume {name!r} has no {subpath!r}") from error
            try:
                return os.readlink(f"/proc/self/fd/{fd}")
            finally:
                os.close(fd)

    def is_readonly(self, name: str) -> bool:
        """Whether its options say that nobody may write it."""
        volume = self.get(name)
        device = None if volume is None else parse_device(volume.options)
        return device is not None and device.is_readonly

    def mount_devices(self, names: Iterable[str]) -> None:
        """Mount what volumes are made from that are no directories of the store, for the caller's mount namespace."""
        for name in dict.fromkeys(names):
            volume = self.get(name)
            device = None if volume is None else parse_device(volume.options)
            if volume is not None and device is not None:
                self._make_directory(name)
                mount_device(device, volume.path)

    @contextmanager
    def opened(self, volume: Volume) -> Iterator[Path]:
        """A path of what a volume holds, good for this process and the block."""
        device = parse_device(volume.options)
        self._make_directory(volume.name)
        if device is None:
            yield volume.path
            return
        with opened_device(device, volume.path) as path:
            yield path


def _json(value: Mapping[str, str]) -> str:
    return msgspec.json.encode(dict(value)).decode()


@contextmanager
def _locked(place: Path) -> Iterator[None]:
    with directory(place) as fd:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
