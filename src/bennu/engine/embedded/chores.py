"""Work that must hold nobody up: each chore in a thread of its own, its result heard of through a descriptor.

A probe may hang for its whole timeout and a sick replica take its whole grace to stop; meanwhile others end and have
to be noticed. The threads are daemons: a process that ends waits for none of them, since every chore is safe to be
killed at any point. Next: ``readiness`` and ``tending``, whose chores they are.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Final, Generic, Self, TypeVar

from bennu.errors import BennuError, Failed

T = TypeVar("T")
PARALLEL: Final = 16


class Chores(Generic[T]):
    """Chores by key; no two of one key at once. To be used from one thread. Close it when done, or leave its block."""

    def __init__(self, parallel: int = PARALLEL) -> None:
        self._turns = threading.BoundedSemaphore(parallel)
        self._changed = threading.Condition()
        self._under_way: set[str] = set()
        self._done: dict[str, T | BennuError] = {}
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hear of nothing any more. What is under way goes on by itself."""
        with self._changed:
            bell, self._bell = self._bell, -1
        if bell >= 0:
            os.close(bell)

    def fileno(self) -> int:
        """The descriptor that can be read when there are results."""
        return self._bell

    def begin(self, key: str, function: Callable[[], T]) -> None:
        """Begin a chore, unless one of this key is under way or its result has not been taken."""
        with self._changed:
            if key in self._under_way or key in self._done:
                return
            self._under_way.add(key)
        threading.Thread(target=self._run, args=(key, function), name=f"bennu-chore-{key[:12]}", daemon=True).start()

    def has(self, key: str) -> bool:
        """A chore of this key is under way, or its result has not been taken."""
        with self._changed:
            return key in self._under_way or key in self._done

    def settle(self, seconds: float) -> None:
        """Wait until nothing is under way, or the time is up."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while self._under_way and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)

    def results(self) -> dict[str, T | BennuError]:
        """The results that have come, by key: what the chore returned, or the error that ended it."""
        with self._changed:
            if self._done:
                os.eventfd_read(self._bell)
            done, self._done = self._done, {}
            return done

    def _run(self, key: str, function: Callable[[], T]) -> None:
        result: T | BennuError
        with self._turns:
            try:
                result = function()
            except BennuError as error:
                result = error
            except Exception as error:  # noqa: BLE001 - a thread's end must be heard of, whatever it was
                result = Failed(str(error) or type(error).__name__)
        with self._changed:
            self._under_way.discard(key)
            if self._bell >= 0:
                self._done[key] = result
                os.eventfd_write(self._bell, 1)
            self._changed.notify_all()
