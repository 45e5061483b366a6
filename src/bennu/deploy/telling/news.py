"""What a deploy tells its hooks: events made of what the driver knows, and their calls.

``News`` belongs to one process that deploys one project. Which hooks there are stands in the policy of the plan; what
has no rollout (a build, a hold, a drift) is told under the policy that is at hand. ``notify`` is for the agent: it only
writes down what is owed, and delivers it on its own time.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Protocol

from bennu.compose.extension import HookEvent, Hooks
from bennu.deploy.history import History, Revision
from bennu.deploy.planning.plan import Plan
from bennu.deploy.policy import NO_POLICY, Policy
from bennu.deploy.telling import hooks as telling
from bennu.deploy.telling.calls import Calls
from bennu.deploy.telling.hooks import CallHooks, Event
from bennu.deploy.telling.outbox import Outbox
from bennu.engine.actions import Receipt
from bennu.errors import BennuError, Failed

Say = Callable[[str], None]
Detail = Mapping[str, str | int | float | bool | list[str] | None]


class NotifyHooks(Protocol):
    """``notify`` of one root, for what the agent finds."""

    def __call__(
        self, project: str, event: HookEvent, *, reason: str, key: object, services: tuple[str, ...] = (),
        detail: Detail | None = None,
    ) -> int:  # fmt: skip
        """How many hooks there are for it."""


class News:
    """Tells hooks. ``asks`` off: none of them can block, for a person who knows better."""

    def __init__(
        self,
        outbox: Outbox,
        environ: Mapping[str, str],
        *,
        project: str,
        author: str,
        asks: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._outbox = outbox
        self._environ = environ
        self._project = project
        self._author = author
        self._asks = asks
        self._clock = clock
        self._calls: Calls | None = None

    @contextmanager
    def building(self, policy: Policy, services: tuple[str, ...], say: Say, *, kind: str = "apply") -> Iterator[None]:
        """Around a build: ``pre_build`` before it, and ``failed`` if it fails."""
        began = self._clock()
        try:
            event = self._event("pre_build", policy, services=services, kind=kind, key=began)
            self._call(policy.hooks, event, policy, threading.Event(), say)
            yield
        except BennuError as error:
            self._fail(policy, error, services, say, phase="building", key=began, kind=kind)
            raise

    def step(self, command: CallHooks, plan: Plan, revision: Revision, cancel: threading.Event, say: Say) -> Receipt:
        """A command of the rollout."""
        policy = plan.policy or NO_POLICY
        event = self._event(command.event, policy, revision=revision, services=command.services)
        return Receipt(summary=self._call(policy.hooks, event, policy, cancel, say))

    def ended(
        self, revision: Revision, plan: Plan, error: BennuError | None, say: Say, *, phase: str, back: bool
    ) -> None:
        """The rollout has ended: with ``error``, or well. ``back``: an earlier release has the traffic again."""
        policy = plan.policy or NO_POLICY
        services = tuple(change.service for change in plan.changes if change.kind != "keep")
        if error is not None:
            self._fail(policy, error, services, say, revision=revision, phase=phase)
        if back:
            reason = _cause(error.message, revision) if error else f"revision {revision.origin} serves again"
            event = self._event("rolled_back", policy, revision=revision, services=services, reason=reason)
            self._call(policy.hooks, event, policy, threading.Event(), say)

    def finish(self) -> tuple[str, ...]:
        """Wait for calls that run beside; what did not go through."""
        return self._calls.finish() if self._calls is not None else ()

    def _fail(
        self,
        policy: Policy,
        error: BennuError,
        services: tuple[str, ...],
        say: Say,
        *,
        phase: str,
        revision: Revision | None = None,
        key: object = None,
        kind: str | None = None,
    ) -> None:
        event = self._event(
            "failed", policy, revision=revision, services=services, kind=kind, key=key, phase=phase,
            reason=_cause(error.message, revision), tail=error.tail if isinstance(error, Failed) else (),
        )  # fmt: skip
        self._call(policy.hooks, event, policy, threading.Event(), say)
        if revision is None:
            for line in self.finish():
                say(f"warning: {line}")

    def _call(self, hooks: Hooks, event: Event, policy: Policy, cancel: threading.Event, say: Say) -> str:
        found = hooks.of(event.event)
        if not found:
            return "nothing to call"
        if not self._asks:
            found = telling.unblocked(found)
        if self._calls is None:
            self._calls = Calls(self._outbox, self._environ, say)
        return self._calls.call(found, event, policy.directory, cancel)

    def _event(
        self,
        event: HookEvent,
        policy: Policy,
        *,
        services: tuple[str, ...],
        revision: Revision | None = None,
        kind: str | None = None,
        phase: str | None = None,
        reason: str | None = None,
        tail: tuple[str, ...] = (),
        key: object = None,
    ) -> Event:
        number = revision.number if revision else None
        return _made(
            event, self._project, policy, self._clock(), key=(number if number is not None else key, *services),
            services=services, revision=number, kind=revision.kind if revision else kind,
            release=revision.release if revision else None, author=self._author, phase=phase, reason=reason, tail=tail,
        )  # fmt: skip


def _cause(message: str, revision: Revision | None) -> str:
    """A message without what the event says already."""
    return message if revision is None else message.removeprefix(f"revision {revision.number} failed: ")


def notify(
    history: History,
    outbox: Outbox,
    project: str,
    event: HookEvent,
    *,
    reason: str,
    key: object,
    services: tuple[str, ...] = (),
    detail: Detail | None = None,
    now: float,
) -> int:
    """Owe an event to the hooks that the project's policy has for it; how many. The agent delivers them.

    ``key`` names the occasion: what is told twice by the same key has the same ``id``. ``detail`` goes into the event.
    """
    policy = history.policy(project) or NO_POLICY
    found = policy.hooks.of(event)
    active = history.active(project) if found else None
    for hook in found:
        made = _made(
            event, project, policy, now, key=(key,), services=services, reason=reason,
            revision=active.number if active else None, release=active.release if active else None, detail=detail,
        )  # fmt: skip
        outbox.put(made, hook, policy.directory, now=now, due=now)
    return len(found)


def sample(project: str, event: HookEvent, policy: Policy, now: float) -> Event:
    """An event for a test: its detail says that it is one."""
    return _made(
        event, project, policy, now, key=("test", now), services=(), revision=None, reason="this is a test",
        detail={"test": True},
    )  # fmt: skip


def _made(
    event: HookEvent,
    project: str,
    policy: Policy,
    now: float,
    *,
    key: tuple[object, ...],
    services: tuple[str, ...],
    revision: int | None,
    release: str | None = None,
    kind: str | None = None,
    author: str | None = None,
    phase: str | None = None,
    reason: str | None = None,
    tail: tuple[str, ...] = (),
    detail: Detail | None = None,
) -> Event:
    origin = policy.origin
    return Event(
        id=telling.event_id(project, event, *key),
        event=event,
        time=datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        host=socket.gethostname(),
        project=project,
        text=telling.sentence(event, project, services=services, revision=revision, reason=reason or ""),
        kind=kind,
        revision=revision,
        release=release,
        services=services,
        author=author,
        phase=phase,
        reason=reason,
        tail=tail,
        directory=origin.directory if origin else None,
        commit=origin.commit if origin else None,
        reference=origin.reference if origin else None,
        repository=origin.repository if origin else None,
        detail=dict(detail or {}),
    )
