"""``healthcheck`` of a service, and the probe that ``x-bennu`` may set beside it.

Source: the Compose Specification, 05-services.md, "healthcheck". A test that is a string is a line for the shell; one
that is a list begins with NONE, CMD or CMD-SHELL.
"""

from __future__ import annotations

import re
from typing import Final, Literal, cast

from bennu.compose import schema, values
from bennu.compose.extension import Probe
from bennu.compose.fields import Field
from bennu.compose.model import Healthcheck
from bennu.compose.problems import did_you_mean

_KINDS: Final = ("NONE", "CMD", "CMD-SHELL")
_PROBE: Final = re.compile(r"(http|tcp)://:([0-9]{1,5})(/[^\s]*)?")


def read_healthcheck(field: Field | None) -> Healthcheck | None:
    """The health check, None where the service has none of its own."""
    if field is None or not schema.check(field, schema.HEALTHCHECK, "'healthcheck'"):
        return None
    disable, test, retries = field.get("disable"), field.get("test"), field.get("retries")
    command = _test(test) if test else None
    if disable is not None and disable.boolean():
        if command is not None and command != ("NONE",):
            disable.fail("is true, and there is a 'test' too", "leave one of them out")
        command = ("NONE",)
    return Healthcheck(
        test=command,
        interval_seconds=_duration(field, "interval", positive=True),
        timeout_seconds=_duration(field, "timeout", positive=True),
        retries=retries.integer(1) if retries else None,
        start_period_seconds=_duration(field, "start_period"),
        start_interval_seconds=_duration(field, "start_interval", positive=True),
    )


def _test(field: Field) -> tuple[str, ...] | None:
    if not field.is_list:
        text = field.filled()
        return None if text is None else ("CMD-SHELL", text)
    words = field.strings()
    if not words:
        field.fail("is empty", "turn the image's check off with disable: true")
        return None
    if words[0] not in _KINDS:
        hint = did_you_mean(words[0], _KINDS) or "a list begins with CMD, CMD-SHELL or NONE"
        field.fail(f"begins with {words[0]!r}", hint)
        return None
    wanted = {"NONE": len(words) == 1, "CMD": len(words) > 1, "CMD-SHELL": len(words) == 2}
    if not wanted[words[0]]:
        field.fail(f"{words[0]} takes {_takes(words[0])}, and {len(words) - 1} follow")
        return None
    return words


def _takes(kind: str) -> str:
    return {"NONE": "no words", "CMD": "a program and its arguments", "CMD-SHELL": "one line"}[kind]


def _duration(field: Field, key: str, *, positive: bool = False) -> float | None:
    found = field.get(key)
    seconds = found.read(values.duration_seconds) if found else None
    if found is not None and seconds == 0 and positive:
        return None  # Docker takes 0 for "the default".
    return seconds


def read_probe(field: Field | None) -> Probe | None:
    """``http://:PORT/PATH`` or ``tcp://:PORT``."""
    text = field.filled() if field else None
    if field is None or text is None:
        return None
    match = _PROBE.fullmatch(text)
    if match is None or (match[1] == "tcp" and match[3]) or not 1 <= int(match[2]) <= 65535:
        field.fail(f"{text!r} is no probe", "write http://:PORT/PATH or tcp://:PORT")
        return None
    return Probe(kind=cast("Literal['http', 'tcp']", match[1]), port=int(match[2]), path=match[3] or "/")
