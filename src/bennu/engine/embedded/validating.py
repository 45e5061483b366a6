"""Validations of a test server: a request from the host, a command in a sidekick, a script on the host.

A sidekick is a throwaway container beside the replica: its network, its names, and nothing else of it. One that a kill
left behind goes with the next preparation or removal of the project, since its set is one that nobody knows.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from bennu.compose.extension import Expectation, Validation
from bennu.engine.base import Report
from bennu.engine.embedded.replicas import Replicas
from bennu.engine.sets import ReplicaObservation, SetSpec
from bennu.errors import BennuError, Failed, NotFound
from bennu.host import process
from bennu.runtime import logs
from bennu.runtime import options as labels
from bennu.runtime.options import SHARED_NETWORK, ContainerImage, ContainerOptions
from bennu.store.images import Images

PAUSE_SECONDS: Final = 1.0
BODY_BYTES: Final = 1 << 20
SHOWN_CHARACTERS: Final = 200
TAIL_LINES: Final = 10
POLL_SECONDS: Final = 0.1


class Verdict(NamedTuple):
    """What came of one try: None where it passed, else why not; and the last lines that a command wrote."""

    reason: str | None
    tail: tuple[str, ...] = ()


class Validating:
    """The validations of one test server."""

    def __init__(self, replicas: Replicas, images: Images, spec: SetSpec, replica: ReplicaObservation) -> None:
        self._replicas = replicas
        self._containers = replicas.containers
        self._images = images
        self._spec = spec
        self._replica = replica

    def check(self, validations: tuple[Validation, ...], report: Report, cancel: threading.Event) -> None:
        """Carry all of them out, in order. ``Failed`` at the first that does not pass, with the last lines."""
        for number, one in enumerate(validations, 1):
            verdict = self._attempts(one, cancel)
            if verdict.reason is not None:
                raise Failed(
                    f"validation {number} of {len(validations)} of replica {self._replica.name} of set {self._spec.id}:"
                    f" {described(one)} {verdict.reason}",
                    "nothing has been switched; mend the image or `x-bennu.validate`",
                    command=one.command or one.script,
                    tail=verdict.tail or self._replicas.last_lines(self._replica),
                )
            report(f"{number} of {len(validations)} passed: {described(one)}")

    def _attempts(self, one: Validation, cancel: threading.Event) -> Verdict:
        verdict = self._once(one, cancel)
        for _ in range(one.retries):
            if verdict.reason is None or cancel.wait(PAUSE_SECONDS):
                break
            verdict = self._once(one, cancel)
        if cancel.is_set():
            raise Failed("cancelled", status=137)
        return verdict

    def _once(self, one: Validation, cancel: threading.Event) -> Verdict:
        if one.http is not None:
            return request(one.http, self._replica.address, one.timeout_seconds)
        if one.script:
            return run_script(one.script, self._environment(), one.timeout_seconds, cancel)
        return self._sidekick(one, cancel)

    def _environment(self) -> dict[str, str]:
        return {
            "BENNU_PROJECT": self._spec.project,
            "BENNU_SERVICE": self._spec.service.name,
            "BENNU_SET": self._spec.id,
            "BENNU_REPLICA": self._replica.name,
            "BENNU_ADDRESS": self._replica.address or "",
        }

    def _sidekick(self, one: Validation, cancel: threading.Event) -> Verdict:
        given = {**self._spec.service.environment, **self._environment()} if one.image is None else self._environment()
        options = ContainerOptions(
            command=one.command,
            entrypoint=(),
            env=tuple(f"{name}={value}" for name, value in given.items()),
            labels={labels.PROJECT: self._spec.project, labels.SET: f"{self._spec.id}+validation"},
            network=f"{SHARED_NETWORK}{self._replica.container}",
            hosts_file=str(self._replicas.hosts_path(self._spec)),
            no_new_privileges=True,
        )
        record = self._containers.create(self._image(one.image), options)
        try:
            self._containers.start(record.id)
            deadline = time.monotonic() + one.timeout_seconds
            while not self._containers.wait_any([record.id], timeout_seconds=POLL_SECONDS):
                if cancel.is_set() or time.monotonic() > deadline:
                    return Verdict(f"has not ended after {one.timeout_seconds:g} s")
            status = self._containers.wait(record.id)
            lines = logs.read(self._containers.place(record), tail=TAIL_LINES)
            tail = tuple(line.data.decode(errors="replace").rstrip() for line in lines)
            return Verdict(f"ended with exit status {status}" if status else None, tail)
        except Failed as error:
            return Verdict(f"could not be started: {error.message}", error.tail)
        finally:
            self._containers.remove(record.id, force=True, volumes=True)

    def _image(self, name: str | None) -> ContainerImage:
        if name is None:
            return self._replicas.image(self._spec)
        image = self._images.find(name)
        tree = None if image is None else self._images.snapshot(image)
        if image is None or tree is None:
            raise NotFound(f"image {name!r} of a validation is not in the store", "build it, or `bennu load` it")
        return ContainerImage(name=name, snapshot=tree.id, config=image.config.config, manifest=image.manifest)


def described(one: Validation) -> str:
    """A validation in a few words: ``GET http://:80/up``, ``command curl -f web``."""
    if one.http is not None:
        return f"{one.http.method} http://:{one.http.port}{one.http.path}"
    kind, words = ("script", one.script) if one.script else ("command", one.command)
    return f"{kind} {' '.join(words)}"


def request(wanted: Expectation, address: str | None, timeout_seconds: float) -> Verdict:
    """Make a request to a replica and compare. Never raises for what the replica does."""
    if address is None:
        return Verdict("cannot be made: the replica has no address")
    import http.client  # with what it brings along it would cost every start a hundredth of a second

    connection = http.client.HTTPConnection(address, wanted.port, timeout=timeout_seconds)
    try:
        body = None if wanted.body is None else wanted.body.encode()
        connection.request(wanted.method, wanted.path, body=body, headers={"Connection": "close", **wanted.headers})
        response = connection.getresponse()
        text = response.read(BODY_BYTES).decode(errors="replace")
    except TimeoutError:
        return Verdict(f"was not answered within {timeout_seconds:g} s")
    except (OSError, http.client.HTTPException) as error:
        return Verdict(f"was not answered: {error or type(error).__name__}")
    finally:
        connection.close()
    answer = f"was answered {response.status} {response.reason}"
    said = f": {_shown(text)}" if text.strip() else ""
    if not _is_wanted(response.status, wanted.status):
        return Verdict(f"{answer}, wanted {' or '.join(wanted.status) or 'below 400'}{said}")
    missing = next((part for part in wanted.contains if part not in text), None)
    return Verdict(None if missing is None else f"{answer} without {missing!r}{said}")


def run_script(
    words: tuple[str, ...], environment: dict[str, str], timeout_seconds: float, cancel: threading.Event
) -> Verdict:
    """Run a program on the host to its end, or end it."""
    deadline = time.monotonic() + timeout_seconds
    try:
        with process.start(words, stderr=subprocess.STDOUT, env={**os.environ, **environment}) as child:
            output = _collected(child, lambda: cancel.is_set() or time.monotonic() > deadline)
            if output is None:
                return Verdict(f"has not ended after {timeout_seconds:g} s")
            tail = tuple(output.decode(errors="replace").rstrip().splitlines()[-TAIL_LINES:])
            status = process.exit_status(child.returncode)
            return Verdict(f"ended with exit status {status}" if status else None, tail)
    except BennuError as error:
        return Verdict(f"could not be started: {error.message}")


def _collected(child: subprocess.Popen[bytes], is_over: Callable[[], bool]) -> bytes | None:
    while not is_over():
        try:
            return child.communicate(timeout=POLL_SECONDS)[0]
        except subprocess.TimeoutExpired:
            continue
    return None


def _is_wanted(status: int, wanted: tuple[str, ...]) -> bool:
    if not wanted:
        return status < 400
    return any(str(status) == one or (one.endswith("xx") and str(status)[0] == one[0]) for one in wanted)


def _shown(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN_CHARACTERS else f"{line[:SHOWN_CHARACTERS]}..."
