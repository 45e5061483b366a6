"""``bennu diff``: what differs between two revisions, or between what is active and the fleet file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bennu.cli.command import PROFILE, PROJECT, Arguments, Command, operand, option, switch
from bennu.cli.context import Context
from bennu.cli.fleet import load_project, project_name
from bennu.cli.planning import BUILDING, build_images
from bennu.errors import Conflict, NotFound, Usage

if TYPE_CHECKING:
    from bennu.deploy.release import Release
    from bennu.store.image_changes import ImageChanges
    from bennu.wiring import Fleet

LIMIT = 20

COMMAND = Command(
    "diff",
    "Show what differs between two revisions, or to the Compose file",
    (
        *PROJECT,
        PROFILE,
        operand("A", dest="before", help="A revision, or a release's digest; else what is active", required=False),
        operand("B", dest="after", help="What to compare it with; what is active if A alone is given", required=False),
        switch("--build", help="Build what the Compose file builds first, instead of taking the images that are there"),
        *BUILDING[1:],
        switch("--full", help="Show every package and every path"),
        switch("--detailed-exitcode", help="Exit with 2 if anything differs"),
        option("--format", metavar="FORMAT", help="json, or text", choices=("json", "text"), default="text"),
    ),
    description=(
        "Compares images (packages and files), configuration and volumes, whatever runs. With nothing named it "
        "compares what is active with the Compose file, and takes the images as they were last built."
    ),
    examples=(
        ("bennu diff", "what is active, and the Compose file"),
        ("bennu diff 7", "revision 7, and what is active"),
        ("bennu diff 7 9", "what revision 9 has that 7 has not"),
    ),
)  # fmt: skip


def run(args: Arguments, context: Context) -> int:
    """Find both, compare, print."""
    from bennu.deploy.planning.release_changes import compare, document, render
    from bennu.wiring import Fleet

    with Fleet(context.settings) as fleet:
        names, old, new = _both(fleet, args, context)
        changes = compare(old, new)
        inside = {
            one.service: found
            for one in changes.services
            if one.images[0] and one.images[1] and one.has_other_image
            if (found := _inside(fleet, old, new, one.service)) is not None
        }
    if args.format == "json":
        import json

        head = {"project": new.project, "before": old.digest, "after": new.digest}
        context.print(json.dumps({**head, **document(changes, inside)}, ensure_ascii=False))
    elif changes.is_empty:
        context.print(f"Nothing differs between {names[0]} and {names[1]}.")
    else:
        context.print(f"From {names[0]} to {names[1]}:")
        for line in render(changes, inside, limit=None if args.full else LIMIT):
            context.print(line)
    return 2 if args.detailed_exitcode and not changes.is_empty else 0


def _both(fleet: Fleet, args: Arguments, context: Context) -> tuple[tuple[str, str], Release, Release]:
    """The two with their names."""
    project = project_name(args, context)
    if args.before is None:
        return ("what is active", "the Compose file"), _active(fleet, project), _of_file(fleet, args, context)
    if args.build:
        raise Usage("--build is for the Compose file, and two revisions are compared")
    before, old = _named(fleet, project, args.before)
    if args.after is None:
        return (before, "what is active"), old, _active(fleet, project)
    after, new = _named(fleet, project, args.after)
    return (before, after), old, new


def _active(fleet: Fleet, project: str) -> Release:
    active = fleet.history.active(project)
    if active is None:
        raise NotFound(f"project {project!r} has no active revision", "`bennu history` lists those that there were")
    return fleet.history.release(active.release)


def _of_file(fleet: Fleet, args: Arguments, context: Context) -> Release:
    from bennu.deploy.release import resolve

    args.no_build = not args.build
    project = load_project(args, context)
    images = build_images(fleet, project, args, context)
    return resolve(project, images, fleet.replica_files(project, context.environ))


def _named(fleet: Fleet, project: str, word: str) -> tuple[str, Release]:
    """A revision by its number, or a release by the beginning of its digest. A number is a revision's."""
    revisions = fleet.history.revisions(project)
    if word.isdecimal() and len(word) < 7:
        revision = fleet.history.revision(project, int(word))
        return f"revision {word}", fleet.history.release(revision.release)
    digests = {each.release for each in revisions}
    start = word.removeprefix("sha256:")
    found = sorted(digest for digest in digests if digest.partition(":")[2].startswith(start)) if start else []
    if len(found) > 1:
        raise Conflict(f"{word!r} fits several releases of project {project!r}", "give more of the digest")
    if not found:
        hint = "`bennu history` and `bennu releases` list them"
        raise NotFound(f"{word!r} is neither a revision nor a release of project {project!r}", hint)
    return f"release {word}", fleet.history.release(found[0])


def _inside(fleet: Fleet, old: Release, new: Release, service: str) -> ImageChanges | None:
    from bennu.deploy.planning.details import changes_between

    return changes_between(fleet.images, old.services[service].image, new.services[service].image)
