"""``bennu gc``: remove what nothing refers to any more."""

from __future__ import annotations

from bennu.cli import human
from bennu.cli.command import Arguments, Command, switch
from bennu.cli.context import Context

COMMAND = Command(
    "gc",
    "Remove what nothing needs any more",
    (switch("--dry-run", help="Only say what would go"),),
    description=(
        "Images without a name that no container and no kept release uses, snapshots and blobs of no image, and what "
        "interrupted commands have left. Safe at any time: what running commands are about to need is spared."
    ),
    examples=(("bennu gc --dry-run", "see what would go"),),
)


def run(args: Arguments, context: Context) -> int:
    """Collect, name what went, and say how much space that gave."""
    from bennu.wiring import Runtime

    with Runtime(context.settings) as store:
        containers = 0 if args.dry_run else store.containers.sweep()
        swept = store.garbage.collect(dry_run=args.dry_run)
    verb = "would remove" if args.dry_run else "removed"
    for kind, names in (("image", swept.images), ("snapshot", swept.snapshots), ("blob", swept.blobs)):
        for name in names:
            context.print(f"{verb} {kind} {name}")
    leftovers = swept.leftovers + containers
    if leftovers:
        context.print(f"{verb} {leftovers} leftover{'s' if leftovers > 1 else ''} of interrupted commands")
    context.print(f"Total reclaimed space: {human.size(swept.size_bytes)}")
    return 0
