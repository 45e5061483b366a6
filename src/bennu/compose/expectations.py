"""``validate`` and ``quiesce`` of ``x-bennu``: what a test server has to pass, and how a service holds still.

A validation is one of three things: ``http``, a request to the test server and what has to come back; ``command``, run
in a sidekick that shares the test server's network; ``script``, run on the host. A single string is the short form of
``http``. Nothing here is part of what a replica is: a change of it makes no new set. Next: ``tolerances``.
"""

from __future__ import annotations

import re
from typing import Final

from bennu.compose import schema, values
from bennu.compose.extension import Expectation, Quiesce, Validation
from bennu.compose.fields import Field
from bennu.compose.mounts import Base

_URL: Final = re.compile(r"http://:([0-9]{1,5})(/[^\s]*)?")
_STATUS: Final = re.compile(r"[1-5](?:[0-9]{2}|xx)")
_KINDS: Final = ("http", "command", "script")


def read_validations(field: Field | None, base: Base) -> tuple[Validation, ...]:
    """The validations in their order."""
    if field is None:
        return ()
    found = (_validation(item, base) for item in field.items_or_one())
    return tuple(one for one in found if one is not None)


def _validation(field: Field, base: Base) -> Validation | None:
    if not field.is_mapping:
        url = _url(field)
        return None if url is None else Validation(http=Expectation(port=url[0], path=url[1]))
    if not schema.check(field, schema.VALIDATION, "a validation"):
        return None
    given = [kind for kind in _KINDS if field.get(kind) is not None]
    if len(given) != 1:
        both = " and ".join(given) or "none of http, command and script"
        field.fail(f"has {both}", "a validation is one of the three")
        return None
    if given[0] != "http":
        _refuse(field, f"a validation by {given[0]}", "method headers body status contains")
    if given[0] != "command":
        _refuse(field, f"a validation by {given[0]}", "image")
    timeout, retries, image = field.get("timeout"), field.get("retries"), field.get("image")
    seconds = timeout.read(values.duration_seconds) if timeout else None
    return Validation(
        http=_expectation(field) if given[0] == "http" else None,
        command=_words(field, "command"),
        script=_script(_words(field, "script"), base),
        image=image.filled() if image else None,
        timeout_seconds=seconds or 30.0,
        retries=(retries.integer(0) or 0) if retries else 0,
    )


def _refuse(field: Field, what: str, keys: str) -> None:
    for key in keys.split():
        found = field.get(key)
        if found is not None:
            found.fail(f"means nothing for {what}")


def _expectation(field: Field) -> Expectation | None:
    where = field.get("http")
    url = _url(where) if where else None
    if url is None:
        return None
    method, body, headers, contains = (field.get(key) for key in ("method", "body", "headers", "contains"))
    return Expectation(
        port=url[0],
        path=url[1],
        method=(method.filled() or "GET") if method else "GET",
        headers={name: value or "" for name, value, _ in headers.pairs()} if headers else {},
        body=body.text() if body else None,
        status=_statuses(field.get("status")),
        contains=tuple(text for item in contains.items_or_one() if (text := item.filled())) if contains else (),
    )


def _statuses(field: Field | None) -> tuple[str, ...]:
    found = []
    for item in field.items_or_one() if field else ():
        text = item.text()
        if text is not None and not _STATUS.fullmatch(text):
            item.fail(f"{text!r} is no status", "write one such as 200 or 2xx")
        elif text is not None:
            found.append(text)
    return tuple(found)


def _url(field: Field) -> tuple[int, str] | None:
    text = field.filled()
    if text is None:
        return None
    match = _URL.fullmatch(text)
    if match is None or not 1 <= int(match[1]) <= 65535:
        field.fail(f"{text!r} is no address of a replica", "write http://:PORT/PATH")
        return None
    return int(match[1]), match[2] or "/"


def _words(field: Field, key: str) -> tuple[str, ...]:
    found = field.get(key)
    if found is None:
        return ()
    words = found.strings() if found.is_list else found.read(values.words)
    if words == ():
        found.fail("is empty")
    return words or ()


def _script(words: tuple[str, ...], base: Base) -> tuple[str, ...]:
    """A program that is named by a path stands beside the fleet file."""
    return (base.path(words[0]), *words[1:]) if words and "/" in words[0] else words


def read_quiesce(field: Field | None) -> Quiesce | None:
    """What quiets a service: a command alone, or with its counterpart."""
    if field is None:
        return None
    if not field.is_mapping:
        words = field.strings() if field.is_list else field.read(values.words)
        if words == ():
            field.fail("is empty")
        return Quiesce(command=words) if words else None
    if not schema.check(field, schema.QUIESCE, "'quiesce'"):
        return None
    command = _words(field, "command")
    if field.get("command") is None:
        field.fail("has no 'command'", "say what makes the service write nothing until 'resume'")
    timeout = field.get("timeout")
    seconds = timeout.read(values.duration_seconds) if timeout else None
    if not command:
        return None
    return Quiesce(command=command, resume=_words(field, "resume"), timeout_seconds=seconds or 30.0)
