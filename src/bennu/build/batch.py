"""Several builds as one: all at once, what they share is done once, the first failure ends the rest.

Sharing needs nothing here: a step that two builds come to at the same time is held by one of them (``solver``), and the
other finds its record. A build whose Dockerfile names the image of another one waits for that. One listener hears them
all, with steps numbered through and each label beginning with its build's name. Signals are waited for in the calling
thread, since the builds run in others.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from typing import Final

import msgspec

from bennu.build.progress import Event, Listener
from bennu.build.request import BuildRequest, Built
from bennu.errors import BennuError
from bennu.host.terminal import deferred

WAKE_SECONDS: Final = 0.2
NONCE_BYTES: Final = 16
Build = Callable[[BuildRequest, Listener, threading.Event], Built]
"""``Builder.build``."""


def build_all(build: Build, requests: Mapping[str, BuildRequest], listener: Listener) -> dict[str, Built]:
    """What each request, by the name of its build, came to. Raises what the first failing one raised.

    A single build is told of without a name. Errors name the service.
    """
    if len(requests) == 1:
        return {name: _named(build, name, request, listener, threading.Event()) for name, request in requests.items()}
    batch = _Batch(build, listener)
    batch.run(requests)
    return {name: batch.built[name] for name in requests}


def _named(build: Build, name: str, request: BuildRequest, listener: Listener, cancel: threading.Event) -> Built:
    """One build; its errors say of which service they are."""
    try:
        return build(request, listener, cancel)
    except BennuError as error:
        error.message = f"service {name!r}: {error.message}"
        raise


class _Batch:
    """Builds under way. ``built`` has those that are done, ``_failure`` what ended them."""

    def __init__(self, build: Build, listener: Listener) -> None:
        self._build = build
        self._listener = listener
        self._lock = threading.Lock()
        self._cancel = threading.Event()
        self._failure: BaseException | None = None
        self._numbers: dict[tuple[str, int], int] = {}
        self._ended: dict[str, threading.Event] = {}
        self.built: dict[str, Built] = {}

    def run(self, requests: Mapping[str, BuildRequest]) -> None:
        """Build, to the end of every thread; then raise the failure, if there is one."""
        nonce = os.urandom(NONCE_BYTES)
        after = needs(requests)
        self._ended = {name: threading.Event() for name in requests}
        threads = [
            threading.Thread(
                target=self._work, args=(name, _with_nonce(request, nonce), after[name]), name=f"build {name}"
            )
            for name, request in requests.items()
        ]
        with deferred(self._cancel.set):
            for thread in threads:
                thread.start()
            for thread in threads:
                while thread.is_alive():
                    thread.join(WAKE_SECONDS)
        if self._failure is not None:
            raise self._failure

    def _work(self, name: str, request: BuildRequest, after: Collection[str]) -> None:
        try:
            for each in after:
                self._ended[each].wait()
            if self._cancel.is_set():
                return
            built = _named(self._build, name, request, lambda event: self._tell(name, event), self._cancel)
            with self._lock:
                self.built[name] = built
        except BaseException as error:  # noqa: BLE001 - raised again by ``run``, in the caller's thread
            with self._lock:
                self._failure = self._failure or error
            self._cancel.set()
        finally:
            self._ended[name].set()

    def _tell(self, name: str, event: Event) -> None:
        with self._lock:
            number = self._numbers.setdefault((name, event.number), len(self._numbers) + 1)
        self._listener(msgspec.structs.replace(event, number=number, label=labelled(name, event.label)))


def labelled(name: str, label: str) -> str:
    """A step's label with its build's name: ``[web 2/5] RUN make``, ``[web make 2/5] RUN make``."""
    return f"[{name} {label[1:]}" if label.startswith("[") else f"[{name}] {label}"


def needs(requests: Mapping[str, BuildRequest]) -> dict[str, frozenset[str]]:
    """For each build those whose image its Dockerfile names, as far as it says so without variables. No cycles: of
    builds that need each other, the one named first takes the image that is there.
    """
    makers = {made.name: name for name, request in requests.items() for made in request.names}
    found: dict[str, frozenset[str]] = {}
    for name, request in requests.items():
        direct = {makers[image] for image in _images(request) if image in makers} - {name}
        found[name] = frozenset(each for each in direct if name not in _reach(each, found))
    return found


def _reach(name: str, edges: Mapping[str, frozenset[str]]) -> set[str]:
    reached, todo = set(), [name]
    while todo:
        each = todo.pop()
        if each not in reached:
            reached.add(each)
            todo += edges.get(each, ())
    return reached


def _images(request: BuildRequest) -> Iterator[str]:
    """The full names of what a Dockerfile's FROM and ``--from`` may mean. What is wrong in it, its build will say."""
    from bennu.dockerfile.instructions import Copy
    from bennu.dockerfile.parser import parse
    from bennu.oci.reference import parse_name

    try:
        text = request.text if request.dockerfile is None else request.dockerfile.read_bytes()
        dockerfile = parse(text or b"", "")
    except (OSError, BennuError):
        return
    for stage in dockerfile.stages:
        copies = (each.from_ for each in stage.instructions if isinstance(each, Copy))
        for image in (stage.from_.image, *copies):
            with suppress(BennuError):
                yield parse_name(image or "").name


def _with_nonce(request: BuildRequest, nonce: bytes) -> BuildRequest:
    return request if request.nonce else msgspec.structs.replace(request, nonce=nonce)
