"""``bennu hold show``: one hold, and the journal of what drifted in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bennu.cli.command import PROJECT, Arguments, Command, operand, option
from bennu.cli.context import Context
from bennu.cli.fleet import project_name
from bennu.cli.output import printable, table

if TYPE_CHECKING:
    from bennu.deploy.hold.lease import Hold, Moment
    from bennu.deploy.hold.records import Line
    from bennu.engine.sets import HoldObservation

COMMAND = Command(
    "hold show",
    "Show a hold and the journal of what drifted in it",
    (
        *PROJECT,
        operand("REPLICA", help="Such as web.2", complete="service"),
        option("--format", metavar="FORMAT", help="json, or text", choices=("json", "text"), default="text"),
    ),
    description=(
        "Of a replica that is not held any more the last hold is shown. The journal has a line for each file, package "
        "and program: when it was noticed first and last, and how often. Files of a package that was installed are not "
        "listed one by one."
    ),
)


def run(args: Arguments, context: Context) -> int:
    """Take a look, so that the journal is of now; print."""
    import sqlite3
    from contextlib import suppress

    from bennu.cli.hold_names import parse_replica
    from bennu.deploy.hold.keeper import this_moment
    from bennu.errors import BennuError
    from bennu.wiring import Fleet

    service, index = parse_replica(args.replica)
    project = project_name(args, context)
    with Fleet(context.settings) as fleet:
        holds = fleet.hold_keeper.holds
        hold = holds.latest(project, service, index)
        seen = None
        if hold.ended is None:
            with suppress(BennuError, OSError, sqlite3.Error):
                fleet.hold_keeper.look(hold)
            seen = fleet.engine.observe(project).hold(hold.name)
        journal = holds.journal(hold)
    if args.format == "json":
        import msgspec

        context.print(msgspec.json.encode({"hold": hold, "replica": seen, "journal": journal}).decode())
        return 0
    for line in _head(hold, seen, this_moment()):
        context.print(line)
    context.stdout.write("\n" + _journal(journal))
    return 0


def _head(hold: Hold, seen: HoldObservation | None, now: Moment) -> list[str]:
    from bennu.deploy.hold.lease import admonition, countdown, instant

    lines = [f"Replica:   {hold.name} of project {hold.project}, set {hold.set or '-'}"]
    if hold.ended is None:
        lines.append(f"Held:      since {instant(hold.began)}, {countdown(hold, now)}")
    else:
        lines.append(f"Held:      {instant(hold.began)} to {instant(hold.ended)}: {hold.outcome}")
    lines += [f"By:        {hold.author}", f"Reason:    {hold.reason}"]
    if hold.renewals:
        lines.append(f"Renewed:   {hold.renewals} {'time' if hold.renewals == 1 else 'times'}")
    if seen is not None:
        words = {"in": "gets requests", "leaving": "gets requests until its replacement is ready"}
        traffic = words.get(seen.traffic, "out of the traffic")
        status = "" if seen.replica.exit_status is None else f" ({seen.replica.exit_status})"
        lines.append(f"Container: {hold.name}-held, {seen.replica.state}{status}, {traffic}")
    told = admonition(hold) if hold.ended is None else None
    return [*lines, *([told] if told else [])]


def _journal(journal: tuple[Line, ...]) -> str:
    from bennu.deploy.hold.lease import instant

    rows = [
        [
            instant(line.first),
            instant(line.last) if line.count > 1 else "",
            str(line.count) if line.count > 1 else "",
            line.kind,
            printable(line.detail),
            printable(line.what),
        ]
        for line in journal
    ]
    return table(["FIRST", "LAST", "TIMES", "KIND", "BECAME", "WHAT"], rows)
