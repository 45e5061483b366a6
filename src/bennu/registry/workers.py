"""A few threads for transfers that can be left at once: who is tired of waiting need not wait for a silent server.

Leaving the block by an error sets ``stop`` and goes on; a thread that waits for the wire ends when its time is up. The
first failure stops the others, and is what comes out of the block, whatever they said when they were stopped.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Self

from bennu.errors import BennuError, Failed


class Workers:
    """Up to ``count`` things at once, in the order in which they were given. ``outer`` stops them as well."""

    def __init__(self, count: int, outer: threading.Event) -> None:
        self.stop: threading.Event = _Either(outer)
        self._count = count
        self._threads: list[threading.Thread] = []
        self._first: BaseException | None = None
        self._waiting: queue.SimpleQueue[tuple[Callable[[], None], Future[None]] | None] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, *_: object) -> None:
        if kind is not None:
            self.stop.set()
        for _thread in self._threads:
            self._waiting.put(None)
        if kind is None:
            for thread in self._threads:
                thread.join()
        if self._first is not None and self._first is not error and (kind is None or isinstance(error, BennuError)):
            raise self._first

    def submit(self, work: Callable[[], None]) -> Future[None]:
        """Do something as soon as a thread is free."""
        future: Future[None] = Future()
        self._waiting.put((work, future))
        if len(self._threads) < self._count:
            thread = threading.Thread(target=self._run, name="bennu-transfer", daemon=True)
            self._threads.append(thread)
            thread.start()
        return future

    def check(self) -> None:
        """``Failed`` once all is to stop: the beginning of a piece of work that nobody else waits for."""
        if self.stop.is_set():
            raise Failed("cancelled", status=137)

    def _run(self) -> None:
        while (item := self._waiting.get()) is not None:
            work, future = item
            try:
                work()  # when all is stopped too: somebody may wait for what it says of that
            except BaseException as error:  # noqa: BLE001 - whoever waits for the future gets it
                self._first = self._first or error
                self.stop.set()
                future.set_exception(error)
            else:
                future.set_result(None)


class _Either(threading.Event):
    """Set when it is, or another one."""

    def __init__(self, outer: threading.Event) -> None:
        super().__init__()
        self._outer = outer

    def is_set(self) -> bool:
        """Whether either is."""
        return self._outer.is_set() or super().is_set()
