"""The logs of builds: what every step wrote, whole, one file a step under ``Settings.builds``.

A build's directory is named by when it began; ``last`` gives the newest. Old ones go when a new one comes.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final, Self

from bennu.build.progress import Broken, Event, Output
from bennu.config import Settings
from bennu.host.files import remove_tree

KEPT: Final = 20


class BuildLogs:
    """A listener that writes each step's output to ``<number>.log``. Makes its directory when there is something.

    ``broken`` is the number of the step that failed.
    """

    def __init__(self, settings: Settings) -> None:
        self._parent = settings.builds
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
        self.directory = self._parent / f"{stamp}-{os.getpid()}-{os.urandom(2).hex()}"
        self.broken: int | None = None
        self._files: dict[int, BinaryIO] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            for file in self._files.values():
                file.close()
            self._files.clear()

    def __call__(self, event: Event) -> None:
        """Append what a step wrote."""
        if isinstance(event, Broken) and not event.cancelled:
            self.broken = event.number
        if isinstance(event, Output):
            with self._lock:
                self._file(event.number).write(event.data)

    def path(self, number: int) -> Path:
        """Where a step's output is."""
        return self.directory / f"{number}.log"

    def _file(self, number: int) -> BinaryIO:
        if number not in self._files:
            if not self.directory.exists():
                self.directory.mkdir(parents=True)
                self._forget_old()
            self._files[number] = open(self.path(number), "ab", buffering=0)  # noqa: SIM115 - closed by __exit__
        return self._files[number]

    def _forget_old(self) -> None:
        for name in sorted(os.listdir(self._parent))[:-KEPT]:
            with suppress(OSError):
                remove_tree(self._parent / name)
