"""``bennu image history``: how an image came to be, step by step."""

from __future__ import annotations

import time

from bennu.cli.command import FORMAT, Arguments, Command, operand, switch
from bennu.cli.context import Context
from bennu.cli.output import Column, listing, truncated

IMAGE_HISTORY = (
    switch("-H", "--human", help="Print sizes and dates for people", default=True),
    switch("--no-trunc", help="Print commands in full"),
    switch("-q", "--quiet", help="Print IDs only"),
)

COMMAND = Command(
    "image history",
    "Show how an image came to be",
    (operand("IMAGE", help="A name or an ID", complete="image"), *IMAGE_HISTORY, FORMAT),
    examples=(("bennu image history debian:bookworm", "the steps, the newest first"),),
)

_COLUMNS = (
    Column("IMAGE", "ID"),
    Column("CREATED", "CreatedSince"),
    Column("CREATED BY", "CreatedBy"),
    Column("SIZE", "Size"),
    Column("COMMENT", "Comment"),
)
_LIMIT = 45


def run(args: Arguments, context: Context) -> int:
    """List the steps, the newest first."""
    show(args.image, args, context)
    return 0


def show(name: str, args: Arguments, context: Context) -> None:
    """The history of one image. ``NotFound``."""
    from bennu.cli.image_record import steps
    from bennu.wiring import Store

    with Store(context.settings) as store:
        image = store.images.resolve(name)
    records = steps(image, time.time(), in_full=args.no_trunc, human_form=args.human)
    for record in records:
        record["CreatedBy"] = " ".join(record["CreatedBy"].split())
        if not args.no_trunc:
            record["CreatedBy"] = truncated(record["CreatedBy"], _LIMIT)
    context.stdout.write(listing(records, _COLUMNS, form=args.format, quiet="ID" if args.quiet else None))
