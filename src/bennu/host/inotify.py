"""inotify(7): to be told when something in a directory changes. A descriptor to poll; what changed is not said."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from bennu.host import syscalls

_MODIFY: Final = 0x002
_MOVED_TO: Final = 0x080
_CREATE: Final = 0x100
_DELETE_SELF: Final = 0x400
_EVENTS: Final = _MODIFY | _MOVED_TO | _CREATE | _DELETE_SELF


class Watch:
    """A set of watched directories, behind one descriptor that is readable after a change."""

    def __init__(self) -> None:
        self._fd = syscalls.inotify_init()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def fileno(self) -> int:
        """The descriptor to poll."""
        return self._fd

    def add(self, directory: Path) -> None:
        """Watch a directory: files made, renamed into it, or written there."""
        syscalls.inotify_add_watch(self._fd, directory, _EVENTS)

    def drain(self) -> None:
        """Forget the changes that were told, so that only new ones make the descriptor readable."""
        with suppress(BlockingIOError):
            while os.read(self._fd, 1 << 16):
                pass
