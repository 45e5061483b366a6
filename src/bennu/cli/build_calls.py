"""``bennu build --check`` and ``--call``: a Dockerfile looked at instead of built, as text or as JSON.

The text is for people: each warning with its line and a mark under what is meant. The JSON has the members of Docker's
(``docker build --call=METHOD,format=json``), so that tools that read one read the other; ``url`` and the source's
definition are left out. Data goes to standard output; the exit status of a check is 1 where it found anything.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from bennu.cli.build_summary import counted
from bennu.cli.context import Context
from bennu.cli.excerpt import Place, rendered
from bennu.cli.output import printable

if TYPE_CHECKING:
    from bennu.build.calls import Checked
    from bennu.build.request import BuildRequest
    from bennu.dockerfile.instructions import Dockerfile
    from bennu.dockerfile.outline import Outline, Requirement, Target
    from bennu.dockerfile.source import Span
    from bennu.errors import Invalid

_BOLD, _YELLOW, _END = "\x1b[1m", "\x1b[33;1m", "\x1b[0m"


def called(name: str, wanted: BuildRequest, context: Context, *, as_json: bool) -> int:
    """Do what ``--call`` asks for and show it."""
    from bennu.wiring import Runtime

    with Runtime(context.settings) as runtime:
        if name == "check":
            return _check(runtime.builder, wanted, context, as_json=as_json)
        with runtime.builder.reading(wanted) as reading:
            dockerfile = reading.dockerfile
            if name == "targets":
                from bennu.dockerfile.outline import targets

                found = targets(dockerfile)
                context.stdout.write(
                    _json(_targets_record(found, dockerfile)) if as_json else "".join(_targets_text(found))
                )
            else:
                outline = reading.outlined()
                record = _outline_record(outline, dockerfile)
                context.stdout.write(_json(record) if as_json else "".join(_outline_text(outline)))
    return 0


def _check(builder: Any, wanted: BuildRequest, context: Context, *, as_json: bool) -> int:
    from bennu.build.calls import Checked
    from bennu.errors import Invalid

    try:
        with builder.reading(wanted) as reading:
            checked, dockerfile = reading.checked(), reading.dockerfile
    except Invalid as error:
        if not as_json or error.line is None:
            raise
        checked, dockerfile = Checked((), error), None
    if as_json:
        context.stdout.write(_json(_check_record(checked, dockerfile)))
        return 1 if checked.warnings or checked.error else 0
    for line in _check_text(checked, dockerfile.file, context):
        context.print(line)
    if checked.error:
        context.stdout.flush()
        raise checked.error
    return 1 if checked.warnings else 0


def _check_text(checked: Checked, file: str, context: Context) -> Iterator[str]:
    columns = context.size(context.stdout)[0] if context.can_draw(context.stdout) else 120
    paint = _painted if context.is_coloured(context.stdout) else _plain
    for warning in checked.warnings:
        span, at = warning.span, warning.place
        head = f"{span.file}:{span.line}:{span.column if at.line != span.line else at.column}:"
        rule = f"{warning.rule}: " if warning.rule else ""
        yield f"{paint(head, _BOLD)} {paint('warning:', _YELLOW)} {rule}{printable(warning.message)}"
        first = at.text.partition("\n")[0].rstrip("\r")
        yield from rendered(Place(at.excerpt, at.line, at.column, len(first)), paint, columns)
        yield ""
    yield f"{file}: {counted(len(checked.warnings), 'warning') if checked.warnings else 'no warnings'}"


def _check_record(checked: Checked, dockerfile: Dockerfile | None) -> dict[str, Any]:
    from bennu.dockerfile.checks.rules import RULES

    record: dict[str, Any] = {
        "warnings": [
            {
                "ruleName": warning.rule,
                "description": RULES[warning.rule].summary,
                "detail": warning.message,
                "location": _location(warning.span),
            }
            for warning in checked.warnings
        ],
        "sources": [] if dockerfile is None else [{**_source(dockerfile), "language": "Dockerfile"}],
    }
    if checked.error is not None:
        record["buildError"] = _error_record(checked.error)
    return record


def _error_record(error: Invalid) -> dict[str, Any]:
    place = {"line": error.line or 0}
    return {"message": error.message, "location": {"ranges": [{"start": place, "end": place}] if error.line else []}}


def _location(span: Span) -> dict[str, Any]:
    """A range for each line, as BuildKit has it."""
    lines = range(span.line, span.end_line + 1)
    return {"ranges": [{"start": {"line": line}, "end": {"line": line}} for line in lines]}


def _source(dockerfile: Dockerfile) -> dict[str, str]:
    data = dockerfile.source.encode("utf-8", "surrogateescape")
    return {"filename": dockerfile.file, "data": b64encode(data).decode()}


def _outline_record(outline: Outline, dockerfile: Dockerfile) -> dict[str, Any]:
    return _filled(
        {
            "name": outline.name,
            "description": outline.description,
            "args": [
                _filled({"name": each.name, "description": each.description, "value": each.value})
                | {"location": _location(each.span)}
                for each in outline.arguments
            ],
            "secrets": [_requirement(each) for each in outline.secrets],
            "ssh": [_requirement(each) for each in outline.agents],
            "sources": [_source(dockerfile)["data"]],
        }
    )


def _requirement(each: Requirement) -> dict[str, Any]:
    return _filled({"name": each.name, "required": each.required}) | {"location": _location(each.span)}


def _outline_text(outline: Outline) -> Iterator[str]:
    from bennu.cli.output import shown, table

    if outline.name or outline.description:
        yield f"TARGET: {outline.name or '(default)'}\n"
        if outline.description:
            yield f"DESCRIPTION: {shown(outline.description)}\n"
        yield "\n"
    parts = []
    if outline.arguments:
        rows = [[each.name, shown(each.value), shown(each.description)] for each in outline.arguments]
        parts.append(table(["BUILD ARG", "VALUE", "DESCRIPTION"], rows))
    for heading, needs in (("SECRET", outline.secrets), ("SSH", outline.agents)):
        if needs:
            parts.append(table([heading, "REQUIRED"], [[shown(each.name), shown(each.required)] for each in needs]))
    yield "\n".join(parts)


def _targets_record(found: Sequence[Target], dockerfile: Dockerfile) -> dict[str, Any]:
    return {
        "targets": [
            _filled(
                {
                    "name": each.name,
                    "default": each.is_default,
                    "description": each.description,
                    "base": each.base,
                    "platform": each.platform,
                }
            )
            | {"location": _location(each.span)}
            for each in found
        ],
        "sources": [_source(dockerfile)["data"]],
    }


def _targets_text(found: Sequence[Target]) -> Iterator[str]:
    from bennu.cli.output import shown, table

    rows = []
    for each in found:
        name = f"{each.name} (default)".lstrip() if each.is_default else each.name
        rows.append([name, shown(each.description)])
    yield table(["TARGET", "DESCRIPTION"], rows)


def _filled(record: dict[str, Any]) -> dict[str, Any]:
    """The members that say anything, as Docker leaves the others out."""
    return {name: value for name, value in record.items() if value}


def _json(record: dict[str, Any]) -> str:
    return json.dumps(record, indent=2, ensure_ascii=False) + "\n"


def _plain(text: str, _colour: str) -> str:
    return text


def _painted(text: str, colour: str) -> str:
    return f"{colour}{text}{_END}"
