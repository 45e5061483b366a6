"""What is told when a deploy gets somewhere: events, which hooks they have, and what each of them is given. Pure.

An *event* is one JSON object; its keys are a promise (docs/hooks.md) and only ever get more. A hook may get the same
event twice, since what a dead process had under way is done again: ``id`` is the same then. ``calls`` runs them.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Final

import msgspec

from bennu.compose.extension import Hook, HookEvent
from bennu.compose.struct import Value

VERSION: Final = 1
FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 30.0
FIRST_LATER_SECONDS: Final = 60.0
LONGEST_LATER_SECONDS: Final = 3600.0
GIVEN_UP_AFTER_SECONDS: Final = 86400.0
"""How long the agent tries to deliver what the deploy could not."""


class CallHooks(Value, frozen=True, kw_only=True, tag=True):
    """A command of the rollout: call the hooks of an event. Done when those that block have ended well."""

    event: HookEvent
    services: tuple[str, ...]


class Event(Value, frozen=True, kw_only=True, omit_defaults=False):
    """What a hook is told. Every key is there, None or empty where it means nothing. ``time`` is RFC 3339 in UTC.

    ``text`` is one sentence for people. ``detail`` is what only this kind of event has.
    """

    version: int = VERSION
    id: str
    event: HookEvent
    time: str
    host: str
    project: str
    text: str
    kind: str | None = None
    revision: int | None = None
    release: str | None = None
    services: tuple[str, ...] = ()
    author: str | None = None
    phase: str | None = None
    reason: str | None = None
    tail: tuple[str, ...] = ()
    directory: str | None = None
    commit: str | None = None
    reference: str | None = None
    repository: str | None = None
    detail: dict[str, str | int | float | bool | list[str] | None] = {}


def encode(event: Event) -> bytes:
    """The JSON object, on one line."""
    return msgspec.json.encode(event)


def event_id(*parts: object) -> str:
    """The name of an event: the same whenever the same thing is told again."""
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:32]


def environment(event: Event) -> dict[str, str]:
    """The variables that a command gets besides the event on its standard input; unset where there is no value."""
    values = {
        "BENNU_EVENT": event.event,
        "BENNU_EVENT_ID": event.id,
        "BENNU_PROJECT": event.project,
        "BENNU_TEXT": event.text,
        "BENNU_KIND": event.kind,
        "BENNU_REVISION": None if event.revision is None else str(event.revision),
        "BENNU_RELEASE": event.release,
        "BENNU_SERVICES": " ".join(event.services) or None,
        "BENNU_AUTHOR": event.author,
        "BENNU_PHASE": event.phase,
        "BENNU_REASON": event.reason,
        "BENNU_COMMIT": event.commit,
        "BENNU_REFERENCE": event.reference,
        "BENNU_REPOSITORY": event.repository,
    }
    return {name: value.replace("\0", "") for name, value in values.items() if value is not None}


def request_headers(event: Event, body: bytes, given: Mapping[str, str], key: bytes | None) -> dict[str, str]:
    """The headers of a web hook's request. ``key``: what its body is signed with, as HMAC-SHA256."""
    headers = {
        "Content-Type": "application/json",
        "X-Bennu-Event": event.event,
        "X-Bennu-Delivery": event.id,
        **given,
    }
    if key is not None:
        headers["X-Bennu-Signature"] = f"sha256={hmac.new(key, body, hashlib.sha256).hexdigest()}"
    return headers


def unblocked(hooks: tuple[Hook, ...]) -> tuple[Hook, ...]:
    """The same hooks, none of which can stop anything."""
    return tuple(msgspec.structs.replace(hook, blocking=False) for hook in hooks)


def described(hook: Hook) -> str:
    """A hook in a few words. Of an address only the host: the rest is often a secret."""
    if hook.url is not None:
        return f"POST {'/'.join(hook.url.split('/')[:3]).rpartition('@')[2] or hook.url}"
    return f"command {' '.join(hook.command)}"


def pause_seconds(failures: int) -> float:
    """How long to wait after the n-th failure in a row before the next try, while somebody waits for it."""
    return min(FIRST_PAUSE_SECONDS * 2.0 ** (failures - 1), LONGEST_PAUSE_SECONDS)


def patience_seconds(hook: Hook) -> float:
    """The longest that a hook with all its retries takes."""
    return hook.timeout_seconds * (hook.retries + 1) + sum(map(pause_seconds, range(1, hook.retries + 1)))


def later_seconds(failures: int) -> float:
    """How long the agent waits after the n-th of its own failures: 1, 2, 4 minutes and so on, an hour at most."""
    return min(FIRST_LATER_SECONDS * 2.0 ** min(failures, 10), LONGEST_LATER_SECONDS)


TEXTS: Final[dict[HookEvent, str]] = {
    "pre_build": "is about to be built",
    "post_validate": "has been validated",
    "pre_switch": "is about to get the traffic",
    "post_switch": "has the traffic",
    "failed": "failed",
    "rolled_back": "is back in service",
    "hold_expiring": "has a hold that ends soon",
    "drift_found": "has drifted",
}


def sentence(
    event: HookEvent, project: str, *, services: tuple[str, ...] = (), revision: int | None = None, reason: str = ""
) -> str:
    """One sentence for people: ``shop: revision 4 (web) has the traffic``."""
    number = "" if revision is None else f"revision {revision} "
    named = f"({', '.join(services)}) " if services else ""
    return f"{project}: {number}{named}{TEXTS[event]}{': ' + reason if reason else ''}"
