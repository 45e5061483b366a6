"""``bennu why``: for each step that a build ran, the field of its key that differed. ``bennu.build.why`` compares."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from bennu.cli.command import Arguments, Command, operand, option, switch
from bennu.cli.context import Context
from bennu.cli.human import ago, clock

if TYPE_CHECKING:
    from bennu.build.records import BuildRecord, BuildRecords
    from bennu.build.why import Explanation, Reason

COMMAND = Command(
    "why",
    "Say why the steps of a build ran again",
    (
        operand("IMAGE", help="A name or an ID; the last build if it is left out", required=False, complete="image"),
        switch("--last", help="The last build, whatever came of it"),
        switch("-a", "--all", help="Show the steps that came from the cache too"),
        option("--format", metavar="FORMAT", help="text or json", choices=("text", "json"), default="text"),
    ),
    description=(
        "Each step that ran is laid beside the same one of the nearest earlier build: which file, argument, variable, "
        "option or base image differed, or which step before it ran again. Files are named as long as they are "
        "remembered; builds are remembered for a while. docs/cache.md says what counts and what does not."
    ),
    examples=(
        ("bennu why", "the last build"),
        ("bennu why shop/web", "the build that the image comes from"),
        ("bennu why --format json", "every difference, for programs"),
    ),
)

FILES_SHOWN = 10
VALUE_WIDTH = 60


def run(args: Arguments, context: Context) -> int:
    """Find the build, compare, print."""
    from bennu.build.why import explain
    from bennu.wiring import Store

    with Store(context.settings) as store:
        from bennu.build.records import BuildRecords

        records = BuildRecords(store.database)
        if args.image is not None and not args.last:
            image = store.images.resolve(args.image)
            build = records.of_image(image.manifest)
            name = image.shown
        else:
            build, name = records.last(), ""
        build = _found(build, name, records)
        steps = explain(build, records.before(build), records.listing)
    if args.format == "json":
        context.print(_document(build, steps))
        return 0
    for line in _lines(build, steps, name, everything=args.all):
        context.print(line)
    return 0


def _found(build: BuildRecord | None, name: str, records: BuildRecords) -> BuildRecord:
    from bennu.errors import NotFound

    if build is not None:
        return build
    if not name or records.last() is None:
        raise NotFound("no build is remembered", "`bennu build` builds an image")
    raise NotFound(
        f"no build of image {name!r} is remembered",
        "it was loaded, or built long ago; build it again, then `bennu why --last`",
    )


def _document(build: BuildRecord, steps: list[Explanation]) -> str:
    import msgspec

    document = {
        "build": build.id,
        "image": build.manifest,
        "file": build.file,
        "started": build.started,
        "steps": msgspec.to_builtins(steps),
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode()


def _lines(build: BuildRecord, steps: list[Explanation], name: str, *, everything: bool) -> Iterator[str]:
    ran = [step for step in steps if step.outcome != "cached"]
    came = "failed" if build.manifest is None else name or build.manifest[:19]
    place = build.scope.partition("\n")[0]
    when = ago(build.started, time.time())
    yield f"Build of {place} ({build.file}), {when[0].lower()}{when[1:]}: {came}"
    if not ran:
        yield f"Nothing ran: all {len(steps)} steps came from the cache."
    else:
        yield f"{len(ran)} of {len(steps)} steps ran."
    labels = {step.number: step.label for step in steps}
    for step in steps:
        if step.outcome != "cached":
            yield from ("", *_step(step, build, labels))
        elif everything:
            yield from ("", f"{_one_line(step.label)}  (from the cache)")


def _step(step: Explanation, build: BuildRecord, labels: dict[int, str]) -> Iterator[str]:
    place = f"  {build.file}:{step.line}" if step.line else ""
    word = "failed" if step.outcome == "failed" else clock(step.seconds)
    yield f"{_one_line(step.label)}  {word}{place}"
    files = [reason for reason in step.reasons if reason.kind == "file"]
    for reason in step.reasons:
        if reason.kind != "file":
            yield f"    {_said(reason, labels)}"
    for reason in files[:FILES_SHOWN]:
        yield f"    {_said(reason, labels)}"
    if len(files) > FILES_SHOWN:
        yield f"    and {len(files) - FILES_SHOWN} more files"


_FIXED = {
    "no-cache": "the cache was not to be used (--no-cache)",
    "new": "no earlier build has such a step",
    "failed": "it failed last time; what fails is not kept",
    "gone": "it ran before with the same inputs, but its result is not kept any more",
    "content": "the content of what it takes; the files of one of the builds are not remembered",
}
_NAMED = {"command": "command", "shell": "SHELL", "order": "order of the variables"}
_WORDS = {"argument": "ARG ", "variable": "ENV "}


def _said(reason: Reason, labels: dict[int, str]) -> str:
    """One reason as a line."""
    kind = reason.kind
    if kind in _FIXED:
        return _FIXED[kind]
    step = _short(labels.get(reason.step, reason.subject))
    if kind == "below":
        return f"stands on {step}, which ran again"
    if kind == "source":
        return f"takes files from {step}, which {'is another step than before' if reason.how else 'ran again'}"
    if kind == "place":
        before = f", stood on {_short(reason.before)}" if reason.before else ""
        return f"stands on {_short(reason.subject)} now{before}"
    if kind == "file":
        return f"{_one_line(reason.subject)} {_became(reason)}"
    shown = _digest if kind == "base" else _value
    name = "base image " + reason.subject if kind == "base" else _NAMED.get(kind, _WORDS.get(kind, "") + reason.subject)
    return f"{name}: {shown(reason.before)} -> {shown(reason.after)}"


def _became(reason: Reason) -> str:
    if reason.how in {"added", "removed", "changed"}:
        return reason.how
    word = {"type": "is another thing", "target": "leads elsewhere"}.get(reason.how, f"has another {reason.how}")
    return word if reason.before is None else f"{word}: {reason.before} -> {reason.after}"


def _value(text: str | None) -> str:
    if text is None:
        return "(none)"
    shown = _one_line(text)
    return f'"{shown}"' if len(shown) <= VALUE_WIDTH else f'"{shown[: VALUE_WIDTH - 3]}..."'


def _digest(text: str | None) -> str:
    return "(none)" if text is None else text[:19]


def _short(label: str) -> str:
    """A step's label in so many words as a line has room for."""
    shown = _one_line(label)
    return shown if len(shown) <= VALUE_WIDTH else f"{shown[: VALUE_WIDTH - 3]}..."


def _one_line(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)
