"""``x-bennu.hooks`` at the top of the file: what is called when a deploy gets somewhere, or the agent finds something.

A hook is a command beside the fleet file or a web address that gets a POST. A single string is the short form of
either. Only hooks that run before something can stop it: ``blocking`` is refused for all others.
"""

from __future__ import annotations

import re
from typing import Final

from bennu.compose import schema, values
from bennu.compose.extension import Given, Hook, HookEvent, Hooks
from bennu.compose.fields import Field
from bennu.compose.mounts import Base
from bennu.compose.problems import did_you_mean

EVENTS: Final[tuple[HookEvent, ...]] = (
    "pre_build", "post_validate", "pre_switch", "post_switch", "failed", "rolled_back", "hold_expiring", "drift_found",
)  # fmt: skip
BLOCKING: Final = frozenset({"pre_build", "post_validate", "pre_switch"})
"""The events whose hooks can stop a deploy: those after which nothing has been switched yet."""
_URL: Final = re.compile(r"https?://[^\s/]+(/\S*)?")
_IS_URL: Final = re.compile(r"[a-z]+://")
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def read_hooks(field: Field | None, base: Base) -> Hooks:
    """The hooks of all events."""
    if field is None or not schema.check(field, schema.HOOKS, "'hooks'"):
        return Hooks()
    found: dict[str, tuple[Hook, ...]] = {}
    for event in EVENTS:
        listed = field.get(event)
        items = () if listed is None else (listed,) if listed.is_mapping else listed.items_or_one()
        hooks = tuple(hook for item in items if (hook := _hook(event, item, base)) is not None)
        if hooks:
            found[event] = hooks
    return Hooks(**found)


def _hook(event: HookEvent, field: Field, base: Base) -> Hook | None:
    if field.is_list:
        listed = _command(field, base)
        return Hook(command=listed) if listed else None
    if not field.is_mapping:
        text = field.filled()
        if text is not None and _IS_URL.match(text):
            return Hook(url=_url(field))
        words = field.read(values.words) if text is not None else None
        return Hook(command=_beside(words, base)) if words else None
    if not schema.check(field, schema.HOOK, "a hook"):
        return None
    command, url, blocking = (field.get(key) for key in ("command", "url", "blocking"))
    if (command is None) == (url is None):
        field.fail(f"has {'both' if url else 'neither'} 'command' {'and' if url else 'nor'} 'url'", "a hook has one")
        return None
    blocks = bool(blocking.boolean()) if blocking else False
    if blocking is not None and blocks and event not in BLOCKING:
        blocking.fail(f"a hook of {event!r} cannot block", f"those of {', '.join(sorted(BLOCKING))} can")
    timeout, retries = field.get("timeout"), field.get("retries")
    seconds = timeout.read(values.duration_seconds) if timeout else None
    if timeout is not None and seconds == 0:
        timeout.fail("nothing is done in no time", "say how long it may take: timeout: 30s")
    tries = retries.integer(0) if retries else None
    return Hook(
        command=_command(command, base) if command else (),
        url=_url(url) if url else None,
        headers=_headers(field, url, base),
        sign=_sign(field, url, base),
        timeout_seconds=seconds or Hook().timeout_seconds,
        retries=Hook().retries if tries is None else tries,
        blocking=blocks,
    )


def _command(field: Field, base: Base) -> tuple[str, ...]:
    words = field.strings() if field.is_list else field.read(values.words)
    if words == ():
        field.fail("is empty")
    return _beside(words or (), base)


def _beside(words: tuple[str, ...], base: Base) -> tuple[str, ...]:
    """A program that is named by a path stands beside the fleet file."""
    return (base.path(words[0]), *words[1:]) if words and "/" in words[0] else words


def _url(field: Field) -> str | None:
    text = field.filled()
    if text is not None and not _URL.fullmatch(text):
        field.fail(f"{text!r} is no address of a web hook", "write https://HOST/PATH")
        return None
    return text


def _headers(field: Field, url: Field | None, base: Base) -> dict[str, Given]:
    headers = field.get("headers")
    if headers is None:
        return {}
    if url is None:
        headers.fail("means nothing for a command")
        return {}
    found: dict[str, Given] = {}
    for name, value in headers.entries() if headers.expect_mapping() else ():
        if not _HEADER.fullmatch(name):
            value.fail(f"{name!r} is no name of a header")
        given = _given(value, base)
        if given is not None:
            found[name] = given
    return found


def _sign(field: Field, url: Field | None, base: Base) -> Given | None:
    sign = field.get("sign")
    if sign is None:
        return None
    if url is None:
        sign.fail("means nothing for a command")
        return None
    if not sign.is_mapping:
        sign.fail("the key of a signature does not belong in the file", "name it: sign: {env: NAME} or {file: PATH}")
        return None
    return _given(sign, base)


def _given(field: Field, base: Base) -> Given | None:
    if not field.is_mapping:
        text = field.text()
        if text is not None and not text.isprintable():
            field.fail("has characters that no header can have")
        return None if text is None else Given(text=text)
    names = [name for name, _ in field.entries()]
    if names not in (["env"], ["file"]):
        wrong = next((name for name in names if name not in ("env", "file")), None)
        hint = did_you_mean(wrong, ["env", "file"]) if wrong else None
        field.fail("is neither {env: NAME} nor {file: PATH}", hint or "name one place where its value stands")
        return None
    inner = field.get(names[0])
    text = inner.filled() if inner is not None else None
    if inner is None or text is None:
        return None
    if names[0] == "file":
        return Given(file=base.path(text))
    if not _VARIABLE.fullmatch(text):
        inner.fail(f"{text!r} is no name of a variable")
    return Given(variable=text)
