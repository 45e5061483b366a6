"""Hooks called: commands run, requests sent, failures tried again; those that block waited for, all others beside.

``Calls`` belongs to one deploy. What runs beside is written down first (``outbox``), waited for at the end of the
deploy for as long as its own time allows, and left to the agent if it did not go through. ``hooks`` says what is told.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import bennu
from bennu.compose.extension import Given, Hook
from bennu.deploy.telling import hooks as telling
from bennu.deploy.telling.hooks import Event
from bennu.deploy.telling.outbox import Call, Outbox
from bennu.errors import BennuError, Failed, Invalid, NotFound
from bennu.host.command import OUT_OF_TIME, run_bounded

MARGIN_SECONDS: Final = 5.0
ANSWER_BYTES: Final = 2048
DEAF_SECONDS: Final = 2.0
"""How long a cancelled call may take to notice."""
LOOK_SECONDS: Final = 0.05
UNWRITTEN: Final = (BennuError, OSError, sqlite3.Error)


class Calls:
    """The calls of one deploy. ``environ``: what commands get and where secrets are; ``say``: one line for people."""

    def __init__(self, outbox: Outbox, environ: Mapping[str, str], say: Callable[[str], None]) -> None:
        self._outbox = outbox
        self._environ = environ
        self._say = say
        self._lock = threading.Lock()
        self._beside: list[threading.Thread] = []
        self._until = 0.0
        self._stop = threading.Event()
        self._problems: list[str] = []

    def call(self, hooks: tuple[Hook, ...], event: Event, directory: str, cancel: threading.Event) -> str:
        """Call all hooks of an event; what was done, in a few words. ``Failed`` if one that blocks does not end well.

        Returns when those that block have ended, one after the other; all others have only been begun.
        """
        blocking = [hook for hook in hooks if hook.blocking]
        for hook in hooks:
            if not hook.blocking:
                self._begin(hook, event, directory)
        for hook in blocking:
            self._insist(hook, event, directory, cancel)
        beside = len(hooks) - len(blocking)
        parts = [f"{len(blocking)} passed"] if blocking else []
        return ", ".join([*parts, *([f"{beside} called"] if beside else [])]) or "nothing to call"

    def finish(self) -> tuple[str, ...]:
        """Wait for what runs beside, at most as long as it may take; what did not go through, one line each."""
        for thread in self._beside:
            thread.join(max(0.0, self._until - time.monotonic()))
        self._stop.set()
        for thread in self._beside:
            thread.join(DEAF_SECONDS)
        self._beside.clear()
        with self._lock:
            found, self._problems = tuple(self._problems), []
        return found

    def _insist(self, hook: Hook, event: Event, directory: str, cancel: threading.Event) -> None:
        for failure in range(1, hook.retries + 2):
            try:
                attempt(hook, event, directory, self._environ, cancel)
            except BennuError as error:
                if failure > hook.retries or cancel.is_set():
                    raise _stopped(hook, event, error) from error
                self._say(f"hook {event.event}: {error.message}; trying again")
                cancel.wait(telling.pause_seconds(failure))
            else:
                return

    def _begin(self, hook: Hook, event: Event, directory: str) -> None:
        patience = telling.patience_seconds(hook) + MARGIN_SECONDS
        now = time.time()
        number: int | None = None
        with suppress(*UNWRITTEN):  # a full disk: it is called all the same, and owed to nobody if that fails
            number = self._outbox.put(event, hook, directory, now=now, due=now + patience + MARGIN_SECONDS)
        thread = threading.Thread(
            target=self._deliver, args=(number, hook, event, directory), name="bennu-hook", daemon=True
        )
        self._until = max(self._until, time.monotonic() + patience)
        self._beside.append(thread)
        thread.start()

    def _deliver(self, number: int | None, hook: Hook, event: Event, directory: str) -> None:
        problem = "its time was up"
        for failure in range(1, hook.retries + 2):
            try:
                attempt(hook, event, directory, self._environ, self._stop)
            except BennuError as error:
                problem = error.message
                if failure > hook.retries or self._stop.wait(telling.pause_seconds(failure)):
                    break
            else:
                with suppress(*UNWRITTEN):  # then it is told twice
                    if number is not None:
                        self._outbox.done(number)
                return
        with suppress(*UNWRITTEN):
            if number is not None:
                self._outbox.failed(number, problem, due=time.time() + telling.FIRST_LATER_SECONDS)
        later = "the agent will try again" if number is not None else "and nothing could be written down for the agent"
        with self._lock:
            self._problems.append(f"hook {event.event}: {problem}; {later}")


def deliver_due(
    outbox: Outbox, environ: Mapping[str, str], say: Callable[[str], None], cancel: threading.Event, now: float
) -> None:
    """Try once whatever is due. For the agent: the next try comes later and later, the last a day after the event."""
    for call in outbox.due(now):
        if cancel.is_set():
            return
        if outbox.claim(call.number, now=now, due=now + call.hook.timeout_seconds + 2 * MARGIN_SECONDS):
            _deliver_late(outbox, call, environ, say, cancel)


def _deliver_late(
    outbox: Outbox, call: Call, environ: Mapping[str, str], say: Callable[[str], None], cancel: threading.Event
) -> None:
    try:
        attempt(call.hook, call.event, call.directory, environ, cancel)
    except BennuError as error:
        now = time.time()
        over = now - call.created > telling.GIVEN_UP_AFTER_SECONDS
        due = None if over else now + telling.later_seconds(call.failures + 1)
        outbox.failed(call.number, error.message, due=due, failures=call.failures + 1)
        if over:
            say(f"{call.event.project}: hook {call.event.event}: {error.message}; given up after a day")
    else:
        outbox.done(call.number)


def attempt(hook: Hook, event: Event, directory: str, environ: Mapping[str, str], cancel: threading.Event) -> None:
    """Call a hook once. Any ``BennuError`` says why it did not go through; a command's comes with its last lines."""
    if hook.url is not None:
        _post(hook, hook.url, event, environ, cancel)
        return
    ended = run_bounded(
        hook.command,
        stdin=telling.encode(event) + b"\n",
        env={**environ, **telling.environment(event)},
        cwd=Path(directory),
        timeout_seconds=hook.timeout_seconds,
        cancel=cancel,
    )
    if ended.status:
        late = ended.status == OUT_OF_TIME
        how = f"has not ended after {hook.timeout_seconds:g} s" if late else f"ended with exit status {ended.status}"
        raise Failed(f"{telling.described(hook)} {how}", command=hook.command, status=ended.status, tail=ended.tail)


def _post(hook: Hook, url: str, event: Event, environ: Mapping[str, str], cancel: threading.Event) -> None:
    body = telling.encode(event)
    given = {name: _value(found, f"header {name!r}", environ) for name, found in hook.headers.items()}
    key = None if hook.sign is None else _value(hook.sign, "the signature's key", environ).encode()
    headers = telling.request_headers(event, body, {"User-Agent": f"bennu/{bennu.__version__}", **given}, key)
    outcome: list[str | None] = []
    # in a thread of its own, since a socket that waits cannot be woken, and a slow one has no time of its own
    sender = threading.Thread(
        target=lambda: outcome.append(_send(url, body, headers, hook.timeout_seconds)), daemon=True
    )
    sender.start()
    deadline = time.monotonic() + hook.timeout_seconds
    while sender.is_alive() and not cancel.is_set() and time.monotonic() < deadline:
        sender.join(LOOK_SECONDS)
    problem = outcome[0] if outcome else f"was not answered within {hook.timeout_seconds:g} s"
    if problem is not None:
        raise Failed(f"{telling.described(hook)} {problem}")


def _send(url: str, body: bytes, headers: dict[str, str], timeout_seconds: float) -> str | None:
    """None, or why it did not go through. Nobody is followed elsewhere: what is sent may be secret."""
    import http.client  # with what it brings along it would cost every start a hundredth of a second

    parts = urlsplit(url)
    secure = parts.scheme == "https"
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection = kind(parts.hostname or "", parts.port, timeout=timeout_seconds)
        try:
            connection.request("POST", path, body=body, headers=headers)
            answer = connection.getresponse()
            text = answer.read(ANSWER_BYTES).decode(errors="replace")
        finally:
            connection.close()
    except TimeoutError:
        return f"was not answered within {timeout_seconds:g} s"
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
        return f"was not answered: {reason}"
    if 200 <= answer.status < 300:
        return None
    said = " ".join(text.split())[:200]
    return f"was answered {answer.status} {answer.reason}{': ' + said if said else ''}"


def _value(given: Given, what: str, environ: Mapping[str, str]) -> str:
    """A text that the file only names. ``NotFound`` where it is not there; ``Invalid`` for what no header can have."""
    text = given.text or ""
    if given.variable is not None:
        if given.variable not in environ:
            hint = "set it where bennu and its agent run, or name a file: {file: PATH}"
            raise NotFound(f"{what}: variable {given.variable!r} is not set", hint)
        text = environ[given.variable]
    elif given.file is not None:
        try:
            text = Path(given.file).read_text()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise NotFound(f"{what}: file {given.file!r} cannot be read: {reason}") from error
    text = text.strip("\r\n")
    if not all(character.isprintable() or character == "\t" for character in text):
        raise Invalid(f"{what}: its value has characters that no header can have")
    return text


def _stopped(hook: Hook, event: Event, error: BennuError) -> Failed:
    tail = error.tail if isinstance(error, Failed) else ()
    status = error.status if isinstance(error, Failed) else 1
    message = f"hook {event.event}: {error.message}"
    return Failed(
        message, error.hint or "--no-hooks lets no hook stop a deploy", command=hook.command, status=status, tail=tail
    )
