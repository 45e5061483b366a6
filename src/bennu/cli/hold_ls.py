"""``bennu hold ls``: the holds of a project."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bennu.cli.command import FORMAT, PROJECT, Arguments, Command, switch
from bennu.cli.context import Context
from bennu.cli.fleet import project_name
from bennu.cli.human import ago
from bennu.cli.output import Column, listing

if TYPE_CHECKING:
    from bennu.deploy.hold.lease import Hold, Moment
    from bennu.engine.sets import HoldObservation

COMMAND = Command(
    "hold ls",
    "List the holds of a project",
    (
        *PROJECT,
        FORMAT,
        switch("-q", "--quiet", help="Only the replicas' names"),
        switch("-a", "--all", help="Those that have ended, too"),
    ),
)

COLUMNS = (
    Column("REPLICA", "Replica"),
    Column("LEFT", "Left"),
    Column("TRAFFIC", "Traffic"),
    Column("STATE", "State"),
    Column("SET", "Set"),
    Column("SINCE", "Since"),
    Column("RENEWED", "Renewals"),
    Column("BY", "Author"),
    Column("REASON", "Reason"),
)


def run(args: Arguments, context: Context) -> int:
    """Print them."""
    from bennu.deploy.hold.keeper import this_moment
    from bennu.wiring import Fleet

    project = project_name(args, context)
    with Fleet(context.settings) as fleet:
        holds = fleet.hold_keeper.holds.all(project) if args.all else fleet.hold_keeper.holds.living(project)
        observation = fleet.engine.observe(project)
    now = this_moment()
    records = [record(hold, observation.hold(hold.name) if hold.ended is None else None, now) for hold in holds]
    context.stdout.write(listing(records, COLUMNS, form=args.format, quiet="Replica" if args.quiet else None))
    return 0


def record(hold: Hold, seen: HoldObservation | None, now: Moment) -> dict[str, object]:
    """A hold as a record of the listing."""
    from bennu.deploy.hold.lease import left_seconds, spell

    left = left_seconds(hold, now)
    over = hold.outcome if hold.ended else ("ending" if hold.stage == "ending" or left <= 0 else spell(left))
    return {
        "Project": hold.project,
        "Replica": hold.name,
        "Left": over,
        "LeftSeconds": max(0.0, left) if hold.ended is None else 0.0,
        "Until": now.wall + left if hold.ended is None else hold.ended,
        "Traffic": seen.traffic if seen is not None else "-",
        "State": seen.replica.state if seen is not None else "gone" if hold.ended is None else "-",
        "Set": hold.set,
        "Container": hold.container,
        "Since": ago(hold.began, now.wall),
        "SinceAt": hold.began,
        "Renewals": hold.renewals,
        "Author": hold.author,
        "Reason": hold.reason,
        "EndedAt": hold.ended,
        "Outcome": hold.outcome,
    }
