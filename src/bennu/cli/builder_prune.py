"""``bennu builder prune``: make the build cache smaller."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from bennu.cli import human
from bennu.cli.command import YES, Arguments, Command, option, switch
from bennu.cli.context import Context
from bennu.cli.values import assignment, duration_seconds, storage_bytes

if TYPE_CHECKING:
    from bennu.build.storage import Kind

KINDS: dict[str, tuple[Kind, ...]] = {
    "regular": ("step", "superseded"),
    "exec.cachemount": ("cache-mount",),
    "step": ("step",),
    "superseded": ("superseded",),
    "failed": ("failed",),
    "cache-mount": ("cache-mount",),
}
"""What ``--filter type=`` means."""

COMMAND = Command(
    "builder prune",
    "Remove the build cache",
    (
        switch("-a", "--all", help="Forget the steps that images stand on too"),
        option(
            "--filter", metavar="NAME=VALUE", dest="filters",
            help="Only some: until=24h (not used since), type=regular|exec.cachemount|failed",
            repeatable=True, convert=assignment,
        ),
        option(
            "--keep-storage", "--max-used-space", metavar="SIZE", dest="keep_bytes",
            help="Leave so much, what was used last", default=0, convert=storage_bytes,
        ),
        switch("--dry-run", help="Only say what would go"),
        YES,
    ),
    description=(
        "Removes the trees of steps that nothing but the cache needs; the next build that asks for such a step runs it "
        "again. With --all the steps that images stand on are forgotten as well, which frees nothing as long as the "
        "images are there. Never touched is what a running build uses. `bennu builder du` lists what there is."
    ),
    examples=(
        ("bennu builder prune --filter until=24h --yes", "what was not used for a day"),
        ("bennu builder prune --filter type=exec.cachemount --yes", "the cache mounts"),
        ("bennu builder prune --keep-storage 5GB", "all but the 5 GB that were used last"),
    ),
)  # fmt: skip


def run(args: Arguments, context: Context) -> int:
    """Ask, prune, and say how much space that gave."""
    from bennu.wiring import Runtime

    idle_seconds = _idle_seconds(args.filters)
    kinds = _kinds(args.filters)
    if not args.dry_run:
        what = "the whole build cache" if args.all else "what the build cache alone needs"
        context.confirm(f"Remove {what}?", yes=args.yes)
    with Runtime(context.settings) as store:
        pruned = store.build_storage.prune(
            keep_bytes=args.keep_bytes,
            unused_since=None if idle_seconds is None else time.time() - idle_seconds,
            kinds=kinds,
            shared=args.all,
            dry_run=args.dry_run,
        )
    would = "would " if args.dry_run else ""
    for verb, entries in (("remove", pruned.entries), ("forget", pruned.forgotten)):
        for entry in entries:
            word = f"{would}{verb}" if would else {"remove": "removed", "forget": "forgot"}[verb]
            context.print(f"{word} {entry.id} {human.size(entry.size_bytes)} {' '.join(entry.label.split())}")
    context.print(f"Total reclaimed space: {human.size(pruned.size_bytes)}")
    return 0


def _idle_seconds(filters: Iterable[tuple[str, str | None]]) -> float | None:
    """What ``until`` says, the longest if it is given several times. ``Usage`` for another filter."""
    from bennu.errors import Usage

    found: list[float] = []
    for name, value in filters:
        if name == "type":
            continue
        if name != "until":
            raise Usage(f"--filter {name!r} is none that there is", "until=24h and type=regular are")
        try:
            found.append(duration_seconds(value or ""))
        except ValueError as error:
            raise Usage(f"--filter until={value or ''!r}: it {error}") from error
    return max(found, default=None)


def _kinds(filters: Iterable[tuple[str, str | None]]) -> tuple[Kind, ...]:
    """The kinds that ``type`` names, BuildKit's words or bennu's own; none: all. ``Usage`` for another word."""
    from bennu.errors import Usage

    found: list[Kind] = []
    for name, value in filters:
        if name == "type":
            if value not in KINDS:
                raise Usage(f"--filter type={value or ''} is no kind of entry", f"there are {', '.join(KINDS)}")
            found += KINDS[value]
    return tuple(found)
