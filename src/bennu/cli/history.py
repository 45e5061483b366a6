"""``bennu history``: who changed a project when, how long it took and what came of it; one revision in detail."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bennu.cli.command import FORMAT, PROJECT, Arguments, Command, operand
from bennu.cli.context import Context
from bennu.cli.fleet import project_name
from bennu.cli.human import ago, clock
from bennu.cli.image_history import IMAGE_HISTORY, show
from bennu.cli.output import Column, document, listing, printable, truncated
from bennu.digest import short

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bennu.deploy.history import Revision
    from bennu.deploy.planning.plan import Plan

COMMAND = Command(
    "history",
    "Show who changed a project when, and what came of it",
    (
        *PROJECT,
        operand("REVISION", help="A revision's number, for all of it; or an image's name", required=False),
        *IMAGE_HISTORY,
        FORMAT,
    ),
    description=(
        "Every apply, rollback and reprovisioning is a revision, the newest first: who, when, what, from which saved "
        "plan, how long it took and what came of it. A failed revision is bad where its release is to blame, and not "
        "somebody who interrupted it. With an image's name it shows how that image came to be, as `docker history` "
        "does; `bennu image history` is the same."
    ),
    examples=(
        ("bennu history", "the revisions of this project"),
        ("bennu history 7", "how long each phase of revision 7 took, and what it changed"),
        ("bennu history debian:bookworm", "the steps of an image"),
    ),
)  # fmt: skip

COLUMNS = (
    Column("REVISION", "Revision"),
    Column("WHEN", "Started"),
    Column("WHO", "Who"),
    Column("WHAT", "What"),
    Column("STATE", "Verdict"),
    Column("TOOK", "Took"),
    Column("REASON", "Reason"),
)
LEAST_COLUMNS = 20


def run(args: Arguments, context: Context) -> int:
    """A project's history, one revision, or an image's history."""
    from bennu.wiring import Fleet

    wanted: str | None = args.revision
    if wanted is not None and not wanted.isdecimal():
        show(wanted, args, context)
        return 0
    name = project_name(args, context)
    now = time.time()
    with Fleet(context.settings) as fleet:
        if wanted is None:
            records = [record(revision, now) for revision in fleet.history.revisions(name)]
            quiet = "Revision" if args.quiet else None
            if args.format in {None, "table"} and not args.no_trunc:
                _fit(records, context)
            context.stdout.write(listing(records, COLUMNS, form=args.format, quiet=quiet))
            return 0
        revision, plan = fleet.history.revision(name, int(wanted)), fleet.history.plan(name, int(wanted))
    if args.format is not None:
        context.stdout.write(document({**record(revision, now), "Services": _services(plan)}, args.format))
        return 0
    for line in _detail(revision, plan, now):
        context.print(printable(line))
    return 0


def record(revision: Revision, now: float) -> dict[str, object]:
    """A revision's fields."""
    origin = revision.origin_of_release
    return {
        "Project": revision.project,
        "Revision": revision.number,
        "State": revision.state,
        "Bad": revision.bad,
        "Verdict": f"{revision.state}, bad" if revision.bad else revision.state,
        "Kind": revision.kind,
        "What": _what(revision),
        "Origin": revision.origin,
        "Release": revision.release,
        "Started": ago(revision.started, now),
        "StartedAt": revision.started,
        "FinishedAt": revision.finished,
        "Took": "" if revision.seconds is None else clock(revision.seconds),
        "Seconds": revision.seconds,
        "Who": revision.author.partition(",")[0],
        "Author": revision.author,
        "Reason": revision.reason or "",
        "Commit": origin.commit if origin else None,
        "Reference": origin.reference if origin else None,
        "Repository": origin.repository if origin else None,
        "Directory": origin.directory if origin else None,
        "PlanFile": None if revision.source is None else revision.source.file,
        "PlanDigest": None if revision.source is None else revision.source.digest,
        "PlanAuthor": None if revision.source is None else revision.source.author,
        "Phases": revision.phases,
        "Figures": revision.figures,
        "Sets": revision.sets,
    }


def _what(revision: Revision) -> str:
    """``apply``, ``apply release.plan``, ``apply 0123456789`` (a commit), ``rollback to 3``."""
    origin = revision.origin_of_release
    if revision.source is not None:
        return f"{revision.what} {revision.source.file}"
    commit = origin.commit if origin is not None and revision.kind == "apply" else None
    return f"{revision.what} {commit[:10]}" if commit else revision.what


def _fit(records: list[dict[str, object]], context: Context) -> None:
    """Cut reasons to what a line has left; nothing is cut where no terminal has a width."""
    if not context.can_draw(context.stdout):
        return
    columns, _ = context.size(context.stdout)
    taken = sum(
        max([len(column.heading), *(len(str(one[column.field])) for one in records)]) + 3 for column in COLUMNS[:-1]
    )
    for one in records:
        one["Reason"] = truncated(str(one["Reason"]), max(LEAST_COLUMNS, columns - taken))


def _phase(name: str) -> str:
    """A state of the rollout in words, also one that an older version knew."""
    from bennu.deploy.states import State

    known = State.__members__.get(name.upper())
    return name.replace("_", " ") if known is None else known.value


def _services(plan: Plan) -> list[dict[str, object]]:
    return [
        {
            "Service": change.service,
            "Action": change.kind,
            "Old": None if change.old is None else change.old.id,
            "New": None if change.new is None else change.new.id,
            "Reasons": list(change.reasons),
        }
        for change in plan.changes
    ]


def _detail(revision: Revision, plan: Plan, now: float) -> Iterator[str]:
    from bennu.deploy.planning.text import sign

    began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(revision.started))
    yield f"Revision {revision.number} of project {revision.project}"
    yield f"  What:     {_what(revision)}" + (f" ({plan.scope})" if plan.scope else "")
    yield f"  State:    {revision.state}" + (", bad: no rollback picks it" if revision.bad else "")
    if revision.reason:
        yield f"  Reason:   {revision.reason}"
    yield f"  By:       {revision.author}"
    if revision.source is not None:
        yield f"  Plan:     {revision.source.file} ({short(revision.source.digest)}), saved by {revision.source.author}"
    origin = revision.origin_of_release
    if origin is not None:
        commit = f", commit {origin.commit}" if origin.commit else ""
        reference = f" ({origin.reference})" if origin.reference else ""
        yield f"  From:     {origin.repository or origin.directory}{commit}{reference}"
    yield f"  Began:    {began} ({ago(revision.started, now)})"
    yield f"  Took:     {'under way' if revision.seconds is None else clock(revision.seconds)}"
    yield f"  Release:  {revision.release}"
    yield "Changes:"
    for change in plan.changes:
        old, new = (None if one is None else one.id for one in (change.old, change.new))
        sets = str(new or old) if old == new or None in {old, new} else f"{old} -> {new}"
        yield f"  {sign(change):>3} {change.service}: {sets}"
        if change.kind in {"replace", "repair"}:
            yield from (f"        {reason}" for reason in change.reasons)
    if revision.phases:
        yield "Phases:"
        yield from (f"  {clock(seconds):>6}  {_phase(name)}" for name, seconds in revision.phases.items())
    if revision.figures:
        yield "Measured:"
        for subject, figures in sorted(revision.figures.items()):
            words = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in sorted(figures.items()))
            yield f"  {subject}: {words}"
