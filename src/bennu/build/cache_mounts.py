"""Cache mounts: named directories that outlive builds, one or several of a name, and who may use which at a time.

A cache mount is a directory ``cache-mounts/<name>`` with ``about.json``, a lock, and the files under ``data``. Its name
is a digest of what it was asked for with (``Wanted``) and a number: where all of that digest are in use, a private or
shared user gets a new one, and what is free later is taken up again. That is BuildKit's rule; *shared* users use one
directory at once, a *private* one uses it alone, a *locked* one waits until it can. Nothing here is ever in a layer.

For the verbs: ``walk`` lists, ``remove`` removes (``Conflict`` while a build uses it), ``export`` writes a tar.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Final

import msgspec

from bennu.build.mounts import Look
from bennu.config import Settings
from bennu.digest import sha256_hex
from bennu.dockerfile.mounts import Sharing
from bennu.errors import Conflict, Failed, NotFound
from bennu.host import files, locks

POLL_SECONDS: Final = 0.1
CANCELLED: Final = 137
_NAME_DIGITS: Final = 16
_BUCKET_DIGITS: Final = 3


class Wanted(msgspec.Struct, frozen=True):
    """What a build asks for: an id, and what the directory begins as (a snapshot's id, empty for nothing)."""

    id: str
    origin: str = ""
    look: Look | None = None

    @property
    def name(self) -> str:
        """The same for equal wishes, and a directory's name."""
        look = "" if self.look is None else f"{self.look.mode:o} {self.look.uid}:{self.look.gid}"
        return sha256_hex(f"{self.id}\0{self.origin}\0{look}".encode("utf-8", "surrogateescape"))[:_NAME_DIGITS]


class CacheMountRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A cache mount as it is listed. ``path`` is its content; times are Unix seconds."""

    name: str
    id: str
    path: Path
    created: float
    used: float
    is_busy: bool

    @property
    def size_bytes(self) -> int:
        """What it takes on the disk. Every file is looked at, unless nobody has used it since that was done."""
        note = self.path.parent / "size"
        with suppress(FileNotFoundError, ValueError):
            used, size_bytes = note.read_text().split()
            if float(used) == self.used:
                return int(size_bytes)
        found = files.disk_usage(self.path)
        if not self.is_busy:
            with suppress(FileNotFoundError):  # it is just being removed
                files.write_atomic(note, f"{self.used!r} {found}\n".encode(), durable=False)
        return found


class _About(msgspec.Struct, frozen=True):
    """What stands in ``about.json``."""

    id: str
    created: float
    origin: str = ""


Fill = Callable[[Path], None]


class CacheMounts:
    """The cache mounts of one root. Safe with several builds at once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._root = settings.cache_mounts

    @contextmanager
    def held(
        self,
        wanted: Wanted,
        sharing: Sharing,
        *,
        fill: Fill | None = None,
        owner: str = "",
        cancel: threading.Event,
        on_wait: Callable[[str], None] = lambda _holder: None,
    ) -> Iterator[Path]:
        """The directory of a cache, for the block. A new one is empty, or what ``fill`` puts there.

        ``on_wait`` is told once who it is waited for. ``Failed`` when cancelled.
        """
        with ExitStack() as stack:

            def take(place: Path) -> bool:
                with suppress(Conflict):
                    shared = sharing is Sharing.SHARED
                    stack.enter_context(locks.held(place / "lock", shared=shared, wait_seconds=0, owner=owner))
                    return True
                return False

            told = False
            place = self._taken(wanted, take, fill, waits=sharing is Sharing.LOCKED)
            while place is None:
                if cancel.is_set():
                    raise Failed("cancelled", status=CANCELLED)
                if not told:
                    on_wait(self._holder(wanted.name))
                    told = True
                cancel.wait(POLL_SECONDS)
                place = self._taken(wanted, take, fill, waits=True)
            os.utime(place / "about.json")
            yield place / "data"

    def _taken(self, wanted: Wanted, take: Callable[[Path], bool], fill: Fill | None, *, waits: bool) -> Path | None:
        """A directory that ``take`` could lock, made if need be; None where all are in use and one is waited for."""
        with self._choosing(wanted.name):
            existing = self._places(wanted.name)
            for place in existing:
                if take(place):
                    return place
            if existing and waits:
                return None
            place = self._make(wanted, existing, fill)
            taken = take(place)
            assert taken  # nobody else has seen it
            return place

    def _holder(self, name: str) -> str:
        found = (locks.holder(place / "lock") for place in self._places(name))
        return next((holder for holder in found if holder), locks.UNKNOWN)

    def _choosing(self, name: str) -> AbstractContextManager[str | None]:
        # an instant, or as long as it takes to fill a new one
        return locks.held(self._settings.locks / f"cache-mount-{name[:_BUCKET_DIGITS]}.lock")

    def _places(self, name: str) -> list[Path]:
        found = [each for each in self._names() if each.rpartition("-")[0] == name]
        return [self._root / each for each in sorted(found, key=lambda each: int(each.rpartition("-")[2]))]

    def _names(self) -> list[str]:
        return os.listdir(self._root) if self._root.is_dir() else []

    def _make(self, wanted: Wanted, existing: list[Path], fill: Fill | None) -> Path:
        # setuid programs may lie in there: no other user of the host may come near them
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        names = (f"{wanted.name}-{number}" for number in range(len(existing) + 1))
        place = next(path for path in (self._root / name for name in names) if path not in existing)
        with files.temporary_directory(self._settings.temporary, "cache-mount") as outer:
            half = outer / "made"
            data = half / "data"
            data.mkdir(parents=True)
            look = wanted.look or Look(0o755)
            os.chown(data, look.uid, look.gid)
            os.chmod(data, look.mode)
            if fill is not None:
                fill(data)
            about = _About(wanted.id, time.time(), wanted.origin)
            (half / "about.json").write_bytes(msgspec.json.encode(about))
            os.rename(half, place)
        return place

    def walk(self) -> tuple[CacheMountRecord, ...]:
        """All cache mounts, by id."""
        found = [record for name in self._names() if (record := self._record(name)) is not None]
        return tuple(sorted(found, key=lambda record: (record.id, record.name)))

    def _record(self, name: str) -> CacheMountRecord | None:
        place = self._root / name
        try:
            about = msgspec.json.decode((place / "about.json").read_bytes(), type=_About)
            used = (place / "about.json").stat().st_mtime
        except FileNotFoundError:  # it is just being removed
            return None
        return CacheMountRecord(
            name=name,
            id=about.id,
            path=place / "data",
            created=about.created,
            used=used,
            is_busy=self._is_busy(place),
        )

    def _is_busy(self, place: Path) -> bool:
        try:
            # a build that chooses must not take this look for a user
            with self._choosing(place.name), locks.held(place / "lock", wait_seconds=0):
                return False
        except Conflict:
            return True

    def remove(self, name: str) -> None:
        """Remove a cache mount. ``NotFound``; ``Conflict`` while a build uses it."""
        place = self._known(name)
        with files.temporary_directory(self._settings.temporary, "cache-mount") as outer:
            with self._choosing(name), locks.held(place / "lock", wait_seconds=0, subject=f"cache mount {name!r}"):
                os.rename(place, outer / "gone")
            files.remove_tree(outer / "gone")

    def export(self, name: str, sink: IO[bytes]) -> None:
        """Write the content of a cache mount to ``sink`` as an uncompressed tar. ``NotFound``."""
        from bennu.store.tar_output import TarOutput
        from bennu.store.tree import pack

        with files.directory(self._known(name) / "data") as root, TarOutput(sink) as output:
            pack(root, None, output)
            output.end()

    def _known(self, name: str) -> Path:
        if name not in self._names():
            raise NotFound(f"cache mount {name!r} does not exist", "`bennu builder du` lists what there is")
        return self._root / name
