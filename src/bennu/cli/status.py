"""``bennu status``: one screen on a project: sets and their traffic, replicas, what is held and what comes next."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bennu.cli.command import PROJECT, Arguments, Command, option, switch
from bennu.cli.context import Context
from bennu.cli.fleet import project_name
from bennu.cli.values import duration_seconds

if TYPE_CHECKING:
    from bennu.deploy.overview import Overview
    from bennu.wiring import Fleet

COMMAND = Command(
    "status",
    "Show a project: sets, replicas, traffic, revision",
    (
        *PROJECT,
        switch("--watch", help="Look again and again, until Ctrl-C"),
        option("--interval", metavar="TIME", help="How long between two looks", default=2.0, convert=duration_seconds),
        switch("--full", help="One line for each replica"),
        option("--format", metavar="FORMAT", help="json, or text", choices=("json", "text"), default="text"),
    ),
    description=(
        "Requests a second and failures are the switch's own counts: of the last second, and of all since the set got "
        "its place there. Exits with 1 if a replica of an active set is not ready. With --watch it redraws in place "
        "on a terminal, and elsewhere prints one block after the other."
    ),
    examples=(("bennu status --watch", "look every two seconds, until Ctrl-C"),),
)  # fmt: skip

LOG_COLUMNS = 200
HOME, CLEAR_LINE, CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"
OPEN, CLOSE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
"""The terminal's other screen, without a cursor; back again."""


def run(args: Arguments, context: Context) -> int:
    """Look once, or again and again."""
    from bennu.wiring import Fleet

    name = project_name(args, context)
    with Fleet(context.settings) as fleet:
        if args.watch:
            return _watch(fleet, name, args, context)
        seen = look(fleet, name, context)
        context.stdout.write("".join(f"{line}\n" for line in _lines(seen, args, context)))
    return 0 if seen.is_well else 1


def look(fleet: Fleet, project: str, context: Context) -> Overview:
    """All that there is to see of a project now."""
    from bennu.deploy.agent import running
    from bennu.deploy.hold import lease as hold
    from bennu.deploy.hold.keeper import this_moment
    from bennu.deploy.overview import Overview
    from bennu.deploy.upkeep import outlook

    now, moment = time.time(), this_moment()
    observation = fleet.engine.observe(project)
    rolling = fleet.history.rolling(project)
    return Overview(
        observation=observation,
        now=now,
        revision=fleet.history.active(project),
        rolling=None if rolling is None else rolling[0],
        agent=running(context.settings),
        outlook=outlook(fleet.history, fleet.drills, observation, now),
        drift=fleet.drifts.records.last(project),
        unheard=sum(call.problem is not None for call in fleet.outbox.calls(project)),
        leases=tuple(hold.seen(one, moment) for one in fleet.hold_keeper.holds.living(project)),
    )


def _lines(seen: Overview, args: Arguments, context: Context) -> list[str]:
    if args.format == "json":
        import json

        from bennu.deploy.overview import document

        return [json.dumps(document(seen), ensure_ascii=False)]
    from bennu.cli.status_text import render

    columns = context.size(context.stdout)[0] if context.can_draw(context.stdout) else LOG_COLUMNS
    return render(seen, columns, full=args.full)


def _watch(fleet: Fleet, project: str, args: Arguments, context: Context) -> int:
    """Look until Ctrl-C, which is the way out and no failure. What was seen last stays on the terminal."""
    draws = context.can_draw(context.stdout) and args.format == "text"
    lines: list[str] = []
    try:
        if draws:
            context.stdout.write(OPEN)
        while True:
            lines = _lines(look(fleet, project, context), args, context)
            _put(lines, context, draws=draws)
            time.sleep(max(0.1, args.interval))
    except KeyboardInterrupt:
        return 0
    finally:
        if draws:
            context.stdout.write(CLOSE + "".join(f"{line}\n" for line in lines))
            context.stdout.flush()


def _put(lines: list[str], context: Context, *, draws: bool) -> None:
    if draws:
        rows = context.size(context.stdout)[1]
        shown = lines if len(lines) < rows else [*lines[: rows - 2], f"... {len(lines) - rows + 2} more lines"]
        context.stdout.write(HOME + "".join(f"{line}{CLEAR_LINE}\r\n" for line in shown) + CLEAR_BELOW)
    else:
        context.stdout.write("".join(f"{line}\n" for line in lines) + ("" if len(lines) == 1 else "\n"))
    context.stdout.flush()
