"""Layers found out ahead: what a step left becomes a layer (is hashed) while the steps after it run.

Only an image needs it, and only of the trees that it is made of. Whoever makes the image asks the store for the same
layers in the end and finds them remembered; what went wrong here is met there again, and told. One thread beside the
build, begun with the first step that ran.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self

from bennu.errors import BennuError
from bennu.store.base import CommittedSnapshot, LayerStore

if TYPE_CHECKING:
    from queue import SimpleQueue


class LayersAhead:
    """The layers of one build. ``wanted`` are the vertices whose trees are layers of its images.

    Leave the block to end: after an error at once, what is half done given up.
    """

    def __init__(self, layers: LayerStore, wanted: Collection[int]) -> None:
        self._layers = layers
        self._wanted = wanted
        self._given_up = threading.Event()
        self._made: SimpleQueue[CommittedSnapshot | None] | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, _error: object, _traceback: TracebackType | None) -> None:
        if kind is not None:
            self._given_up.set()
        self.finish()

    def made(self, vertex: int, tree: CommittedSnapshot) -> None:
        """A step has left a tree. Waits for nothing."""
        if vertex not in self._wanted:
            return
        with self._lock:
            if self._made is None:
                from queue import SimpleQueue

                self._made = SimpleQueue()
                self._thread = threading.Thread(target=self._run, name="bennu-layers", daemon=True)
                self._thread.start()
            self._made.put(tree)

    def finish(self) -> None:
        """Wait until every layer is known, or was given up."""
        with self._lock:
            made, thread = self._made, self._thread
            self._made = self._thread = None
        if made is not None and thread is not None:
            made.put(None)
            thread.join()

    def _run(self) -> None:
        made = self._made
        assert made is not None
        while (tree := made.get()) is not None and not self._given_up.is_set():
            with suppress(BennuError, OSError):
                self._layers.info(tree, give_up=self._given_up)
