"""``bennu drift``: what is not as it was made. Looks; with ``--fix`` replaces what it found."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bennu.cli.command import PROJECT, YES, Arguments, Command, option, switch
from bennu.cli.context import Context
from bennu.cli.fleet import WAIT, author, project_name, wake_agent
from bennu.cli.values import duration_seconds
from bennu.errors import Failed, Usage

if TYPE_CHECKING:
    from bennu.deploy.drift.mending import Mending
    from bennu.deploy.drift.records import Look
    from bennu.wiring import Fleet

COMMAND = Command(
    "drift",
    "Show what is not as it was made",
    (
        *PROJECT,
        YES,
        switch("--deep", help="Read the images' files and blobs whole, and compare their digests"),
        switch("--detailed-exitcode", help="Exit with 2 if there is drift"),
        switch("--fix", help="Replace what has drifted, after asking"),
        switch("--accept", help="Take the host and the names of the images as they are now"),
        switch("--watch", help="Look again and again"),
        option(
            "--interval", metavar="TIME", help="With --watch: how long between two looks", default=60.0,
            convert=duration_seconds,
        ),
        WAIT,
        option("--format", metavar="FORMAT", help="json, or text", choices=("json", "text"), default="text"),
    ),
    description=(
        "Compares what should be with what is, and replicas with each other: who runs, their processes, limits, "
        "mounts, files and networks, the images' files, the switch, the host. Changes nothing. Each difference "
        "says what it is, since when if that is known, and the command that mends it. Held replicas are shown by "
        "themselves and do not count. The signs: + is there and should not be; - should be there and is not; ~ is "
        "otherwise than it should be.\n\n"
        "--fix never patches: it makes the replica again from its image, the switch's process and the network's "
        "rules from what is recorded; what cannot be mended from here stays, with the command that can."
    ),
    examples=(
        ("bennu drift", "look"),
        ("bennu drift --deep --detailed-exitcode", "in a nightly job: 0 none, 1 error, 2 drift"),
        ("bennu drift --fix --yes", "replace what has drifted"),
    ),
)  # fmt: skip

_COUNTS = 2


def run(args: Arguments, context: Context) -> int:
    """Look, show, and mend if that was asked for."""
    from bennu.wiring import Fleet

    if args.watch and (args.fix or args.accept):
        raise Usage("--watch only looks", "leave out --watch, or --fix and --accept")
    name = project_name(args, context)
    with Fleet(context.settings) as fleet:
        _refuse_unknown(fleet, name)
        if args.accept:
            fleet.drifts.accept(name)
        if args.watch:
            return _watch(fleet, name, args, context)
        look, _ = fleet.drifts.look(name, deep=args.deep)
        if args.fix:
            look = _fix(fleet, look, args, context)
        _show(look, args, context)
    return _COUNTS if args.detailed_exitcode and look.own else 0


def _refuse_unknown(fleet: Fleet, name: str) -> None:
    from bennu.errors import NotFound

    if name not in fleet.engine.projects():
        raise NotFound(f"project {name!r} does not run here", "`bennu apply` makes it")


def _watch(fleet: Fleet, name: str, args: Arguments, context: Context) -> int:
    """Look until somebody interrupts; what is new or gone is said as it comes."""
    from bennu.deploy.drift.records import identity
    from bennu.deploy.drift.text import about, sentence

    before: dict[str, str] | None = None
    drifted = False
    try:
        while True:
            look, _ = fleet.drifts.look(name, deep=args.deep)
            drifted = bool(look.own)
            now = {identity(one): f"{about(one)}: {sentence(one)}" for one in look.own}
            if before is None or args.format == "json":
                _show(look, args, context)
            else:
                clock = time.strftime("%H:%M:%S")
                for line in [text for one, text in now.items() if one not in before]:
                    context.print(f"{clock} drift  {line}")
                for line in [text for one, text in before.items() if one not in now]:
                    context.print(f"{clock} gone   {line}")
            context.stdout.flush()
            before = now
            time.sleep(args.interval)
    except KeyboardInterrupt:
        return _COUNTS if args.detailed_exitcode and drifted else 0


def _fix(fleet: Fleet, look: Look, args: Arguments, context: Context) -> Look:
    """Mend what can be mended, under the deploy lock; the look afterwards."""
    import threading

    from bennu.cli.rollout_progress import RolloutProgress
    from bennu.deploy.drift import mending

    reporter = RolloutProgress(context)
    deployer = fleet.deployer(look.project, author("drift --fix"))
    with deployer.exclusive(reporter, wait_seconds=args.wait):
        look, _ = fleet.drifts.look(look.project, deep=args.deep)
        chosen = mending.plan(look.project, look.drifts, fleet.engine.observe(look.project).active)
        if chosen.is_empty:
            return look
        _ask(chosen, look, args, context)
        failures = mending.mend(fleet.engine, chosen, context.say, threading.Event())
        if chosen.agent:
            wake_agent(context)
        look, _ = fleet.drifts.look(look.project, deep=args.deep)
    if failures:
        first = failures[0]
        more = f"; and {len(failures) - 1} more" if len(failures) > 1 else ""
        tail = first.tail if isinstance(first, Failed) else ()
        raise Failed(f"drift of {look.project!r} is not mended: {first.message}{more}", first.hint, tail=tail)
    return look


def _ask(chosen: Mending, look: Look, args: Arguments, context: Context) -> None:
    from bennu.deploy.drift.mending import remains
    from bennu.deploy.drift.text import page

    if not args.yes:
        context.stderr.write(page(look.project, look.drifts, look.notes, time.time()) + "\n")
    for words, _ in chosen.steps:
        context.say(f"would {words}" if not args.yes else words)
    if chosen.agent:
        context.say("would start the agent" if not args.yes else "start the agent")
    for line in remains(chosen.left):
        context.say(f"stays: {line}")
    context.confirm(f"Mend the drift of {look.project}?", yes=args.yes)


def _show(look: Look, args: Arguments, context: Context) -> None:
    from bennu.deploy.drift.text import document, page

    if args.format == "json":
        context.print(document(look))
    else:
        context.stdout.write(page(look.project, look.drifts, look.notes, time.time()))
