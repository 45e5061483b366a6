"""Configs and secrets of replicas on this host: files in memory (``/run``), mounted read-only into the replicas.

One file serves all replicas whose file has the same version, owner and mode. After a reboot they are made again from
the store when the first replica that needs them starts. ``sweep`` removes those that no set has any more.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from bennu.config import Settings
from bennu.digest import encoded
from bennu.engine.sets import ReplicaFile, SetSpec
from bennu.host import files
from bennu.store.contents import Contents


class ReplicaFiles:
    """The files of all replicas of one root."""

    def __init__(self, settings: Settings) -> None:
        self._contents = Contents(settings)
        self.directory = settings.run / "files"

    def place(self, spec: SetSpec) -> None:
        """Make the files of a set's replicas, where they are missing. ``NotFound``, ``Corrupt`` from the store."""
        for file in spec.files:
            path = path_of(self.directory, file)
            if not path.exists():
                self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                temporary = path.with_name(f".{path.name}.{os.urandom(6).hex()}")
                files.write_atomic(temporary, self._contents.read(file.version), mode=0o600, durable=False)
                os.chown(temporary, file.uid, file.gid)
                os.chmod(temporary, file.mode)
                os.rename(temporary, path)

    def sweep(self, specs: Iterable[SetSpec]) -> None:
        """Remove the files that none of these sets has."""
        kept = {path_of(self.directory, file).name for spec in specs for file in spec.files}
        for path in self.directory.iterdir() if self.directory.is_dir() else ():
            if path.name not in kept:
                with suppress(FileNotFoundError):
                    path.unlink()


def path_of(directory: Path, file: ReplicaFile) -> Path:
    """Where a replica's file stands on the host."""
    return directory / f"{encoded(file.version)}-{file.uid}-{file.gid}-{file.mode:o}"
