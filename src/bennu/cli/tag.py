"""``bennu tag``: one more name for an image."""

from __future__ import annotations

from bennu.cli.command import Arguments, Command, operand
from bennu.cli.context import Context

COMMAND = Command(
    "tag",
    "Give an image a name",
    (
        operand("IMAGE", help="A name or an ID", complete="image"),
        operand("NAME[:TAG]", dest="name", help="The new name; the tag is 'latest' unless given"),
    ),
    description="Another image that had this name loses it. Removing the name again is `bennu rmi NAME`.",
    examples=(("bennu tag debian:bookworm shop/base:1", "name the same image twice"),),
)


def run(args: Arguments, context: Context) -> int:
    """Tag; silent, as Docker is."""
    from bennu.oci.reference import parse_name
    from bennu.wiring import Store

    name = parse_name(args.name)
    with Store(context.settings) as store:
        image = store.images.resolve(args.image)
        store.images.tag(image.manifest, name, index=store.images.find_index(args.image))
    return 0
