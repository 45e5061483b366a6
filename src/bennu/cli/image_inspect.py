"""``bennu image inspect``: everything about images, as ``docker image inspect`` has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bennu.cli.command import FORMAT, Arguments, Command, operand
from bennu.cli.context import Context
from bennu.cli.output import document
from bennu.cli.several import each

if TYPE_CHECKING:
    from bennu.wiring import Store

COMMAND = Command(
    "image inspect",
    "Show everything about images",
    (operand("IMAGE", dest="images", help="Names or IDs", repeatable=True, complete="image"), FORMAT),
    examples=(("bennu image inspect --format '{{.Config.Cmd}}' debian:bookworm", "one field"),),
)


def run(args: Arguments, context: Context) -> int:
    """One JSON list of all that were found; each that was not is an error of its own."""
    from bennu.wiring import Store

    records: list[dict[str, Any]] = []
    with Store(context.settings) as store:
        status = each(args.images, lambda text: records.append(record(store, text)), context)
    context.stdout.write(document(records, args.format))
    return status


def record(store: Store, text: str) -> dict[str, Any]:
    """The document of one image. ``NotFound``."""
    from bennu.cli.image_record import inspected
    from bennu.oci.manifest import parse_manifest

    image = store.images.resolve(text)
    data = store.images.manifest_bytes(image)
    snapshot = store.layers.snapshot_of(image.config.diff_ids) if image.layers else None
    directories = [str(store.settings.snapshots / one / "fs") for one in snapshot.chain] if snapshot else []
    return inspected(image, parse_manifest(data, image.manifest), len(data), directories)
