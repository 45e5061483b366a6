"""``bennu gc``: remove what nothing refers to any more, and what the disk budget asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bennu.cli import human
from bennu.cli.command import Arguments, Command, option, switch
from bennu.cli.context import Context

if TYPE_CHECKING:
    from bennu.wiring import Fleet

COMMAND = Command(
    "gc",
    "Remove what nothing needs any more",
    (
        switch("--dry-run", help="Only say what would go"),
        option("--disk-limit", metavar="SIZE", help="What all but the volumes may take", environ="BENNU_DISK_LIMIT"),
    ),
    description=(
        "Images without a name that no container and no kept release uses, snapshots and blobs of no image, and what "
        "interrupted commands have left. Safe at any time: what running commands are about to need is spared. "
        "Where the root takes more than its disk limit (--disk-limit, BENNU_DISK_LIMIT, or disk_limit in settings.toml "
        "of the root: 20GB, 512MiB, 10%), images of releases that nothing comes back to lose their names and go, the "
        "oldest first, then the build cache that was not used for the longest time. Nothing goes that is in use, held, "
        "kept for a rollback or named by a saved plan. The agent does the same after every deploy."
    ),
    examples=(
        ("bennu gc --dry-run", "see what would go"),
        ("bennu gc --disk-limit 20GB --dry-run", "see what would have to go for 20 GB"),
    ),
)


def _sweep_volumes(fleet: Fleet) -> int:
    from bennu.cli.volume_record import running_users

    return fleet.engine.data.snapshots.sweep(lambda name: bool(running_users(fleet.containers, name)))


def run(args: Arguments, context: Context) -> int:
    """Collect, name what went, and say how much space that gave."""
    from bennu.wiring import Fleet

    with Fleet(context.settings) as fleet:
        rests = 0 if args.dry_run else fleet.containers.sweep() + _sweep_volumes(fleet) + fleet.sweep_contents()
        if not args.dry_run:
            fleet.failures.sweep()
        done = fleet.tidying(args.disk_limit).tidy(dry_run=args.dry_run, all_untagged=True)
    verb = "would remove" if args.dry_run else "removed"
    for kind, names in (
        ("name", done.names), ("image", done.images), ("snapshot", done.snapshots), ("blob", done.blobs),
    ):  # fmt: skip
        for name in names:
            context.print(f"{verb} {kind} {name}")
    if done.cache_bytes:
        context.print(f"{verb} {human.size(done.cache_bytes)} of the build cache")
    leftovers = done.leftovers + rests
    if leftovers:
        context.print(f"{verb} {leftovers} leftover{'s' if leftovers > 1 else ''} of interrupted commands")
    context.print(f"Total reclaimed space: {human.size(done.size_bytes)}")
    if done.used_bytes is not None:
        over = f", {human.size(done.over_bytes)} above the limit: the rest is in use" if done.over_bytes else ""
        context.print(f"In use without volumes: {human.size(done.used_bytes)}{over}")
    return 0
