"""``bennu hold``: one replica may drift, for a time. Also its renewal, its end, and the harvest of what it drifted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bennu.cli.command import PROJECT, YES, Arguments, Command, operand, option, switch
from bennu.cli.context import Context
from bennu.cli.fleet import WAIT, author, project_name, wake_agent
from bennu.cli.values import duration_seconds

if TYPE_CHECKING:
    from bennu.cli.hold_names import Named
    from bennu.wiring import Fleet

COMMAND = Command(
    "hold",
    "Let one replica drift, for a time",
    (
        *PROJECT,
        operand("REPLICA", help="Such as web.2", complete="service"),
        option("--for", metavar="TIME", dest="seconds", help="How long, 30d at most", convert=duration_seconds),
        option("--reason", metavar="TEXT", help="Why, for whoever finds it"),
        switch("--in-traffic", help="It goes on getting requests"),
        switch("--renew", help="Give a hold a new length, from now on"),
        switch("--release", help="End a hold now: destroy the replica"),
        switch("--harvest", help="Print what has drifted as a Dockerfile"),
        option(
            "-o", "--output", metavar="DIR", help="Where the harvest's files go, with the Dockerfile",
            complete="directory",
        ),
        switch("--files-only", help="Harvest packages as files, not as lines for apt-get"),
        YES,
        WAIT,
        option(
            "--timeout", metavar="TIME", help="How long its replacement may take until it is ready", default=300.0,
            convert=duration_seconds,
        ),
    ),
    description=(
        "The replica leaves its set and the traffic; a fresh one takes its place. Its root becomes writable, for "
        "itself alone, and what drifts is journalled. apply, rollback and reprovision leave it alone. A day and an "
        "hour before its time is up people are warned (hooks on hold_expiring, the log, `bennu status`); then it is "
        "destroyed with all that it wrote, however long the host or the agent was down.\n\n"
        "`bennu exec web.2-held sh` opens a shell in it; web.2 is the fresh one. `bennu hold ls` lists holds, "
        "`bennu hold show web.2` prints a journal."
    ),
    examples=(
        ("bennu hold web.2 --for 7d --reason 'leaks memory since Tuesday'", "set web.2 aside for a week"),
        ("bennu hold --renew web.2 --for 2d", "two days from now instead"),
        ("bennu hold --harvest web.2 -o found/", "turn what was found into a Dockerfile and its files"),
        ("bennu hold --release web.2", "destroy it now"),
    ),
)  # fmt: skip


def run(args: Arguments, context: Context) -> int:
    """Do the one thing that was asked for."""
    from bennu.cli.hold_names import Named, parse_replica
    from bennu.errors import Usage
    from bennu.wiring import Fleet

    asked = [flag for flag in ("renew", "release", "harvest") if getattr(args, flag)]
    if len(asked) > 1:
        raise Usage(f"--{asked[0]} and --{asked[1]} are two things", "bennu hold --help")
    service, index = parse_replica(args.replica)
    _refuse_odd_flags(args, asked[0] if asked else "hold")
    replica = Named(project_name(args, context), service, index)
    with Fleet(context.settings) as fleet:
        if args.harvest:
            return _harvest(args, context, fleet, replica)
        if args.renew:
            return _renew(args, context, fleet, replica)
        if args.release:
            return _release(args, context, fleet, replica)
        return _hold(args, context, fleet, replica)


def _refuse_odd_flags(args: Arguments, what: str) -> None:
    from bennu.errors import Usage

    takes = {
        "hold": {"seconds", "reason", "in_traffic"}, "renew": {"seconds"}, "release": set[str](),
        "harvest": {"output", "files_only"},
    }[what]  # fmt: skip
    flags = {
        "seconds": "--for", "reason": "--reason", "in_traffic": "--in-traffic", "output": "--output",
        "files_only": "--files-only",
    }  # fmt: skip
    for field, flag in flags.items():
        if getattr(args, field) and field not in takes:
            raise Usage(f"{flag} means nothing with {'a new hold' if what == 'hold' else f'--{what}'}")
    if "seconds" in takes and args.seconds is None:
        raise Usage("a hold has an end: --for TIME is missing", "--for 7d; 30d is the longest")
    if what == "hold" and not (args.reason or "").strip():
        raise Usage("a hold needs a reason: --reason TEXT is missing", "whoever finds it wants to know why")


def _hold(args: Arguments, context: Context, fleet: Fleet, replica: Named) -> int:
    from bennu.cli.rollout_progress import RolloutProgress
    from bennu.deploy.hold.keeper import this_moment
    from bennu.deploy.hold.lease import sentence

    reporter = RolloutProgress(context)
    try:
        hold = fleet.hold_keeper.begin(
            fleet.deployer(replica.project, author("hold")), replica.service, replica.number, reporter,
            seconds=args.seconds, reason=args.reason, in_traffic=args.in_traffic,
            ready_seconds=args.timeout, wait_seconds=args.wait,
        )  # fmt: skip
    finally:
        wake_agent(context)
    context.say(f"{sentence(hold, this_moment())}.")
    context.say(f"`bennu exec {hold.name}-held sh` opens a shell in it.")
    return 0


def _renew(args: Arguments, context: Context, fleet: Fleet, replica: Named) -> int:
    from bennu.deploy.hold.keeper import this_moment
    from bennu.deploy.hold.lease import admonition, sentence

    hold = fleet.hold_keeper.renew(*replica, args.seconds)
    wake_agent(context)
    context.say(f"{sentence(hold, this_moment())}.")
    told = admonition(hold)
    if told is not None:
        context.say(told)
    return 0


def _release(args: Arguments, context: Context, fleet: Fleet, replica: Named) -> int:
    hold = fleet.hold_keeper.holds.find(*replica)
    context.confirm(f"Destroy {hold.name} of project {replica.project} with all that it wrote?", yes=args.yes)
    try:
        fleet.hold_keeper.release(*replica, context.say)
    finally:
        wake_agent(context)
    return 0


def _harvest(args: Arguments, context: Context, fleet: Fleet, replica: Named) -> int:
    from pathlib import Path

    from bennu.deploy.hold.harvest import dockerfile
    from bennu.deploy.hold.harvesting import write
    from bennu.deploy.hold.lease import instant

    hold = fleet.hold_keeper.holds.find(*replica)
    files = fleet.engine.held_files(*replica)
    title = (
        f"what drifted in {hold.name} of project {replica.project},"
        f" held since {instant(hold.began)} by {hold.author}:\n{hold.reason}"
    )
    output = None if args.output is None else Path(args.output)
    harvest = write(files, title, output, with_packages=not args.files_only)
    context.stdout.write(dockerfile(harvest))
    context.stdout.flush()
    count = len(harvest.archived) + len(harvest.copied)
    if output is not None:
        context.say(f"{count} files and this Dockerfile are in {output}: `bennu build {output}` makes the image.")
    elif count:
        context.say(f"-o DIR writes the {count} files that these lines need.")
    if harvest.left_out:
        context.say(f"{len(harvest.left_out)} files of caches and logs are left out.")
    for one in harvest.unsaid:
        context.say(f"warning: not harvested: {one}")
    return 0
