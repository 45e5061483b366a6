"""``bennu rmi``: take names away, and images with their last one."""

from __future__ import annotations

from bennu.cli.command import Arguments, Command, operand, switch
from bennu.cli.context import Context
from bennu.cli.several import each

COMMAND = Command(
    "rmi",
    "Remove images",
    (
        operand("IMAGE", dest="images", help="Names or IDs", repeatable=True, complete="image"),
        switch("-f", "--force", help="Take all names of an ID, and the name of an image in use"),
    ),
    description=(
        "A name goes; with the last name the image goes too, and the bytes that nothing else needs with it. An image "
        "that a container or a kept release uses is refused; with --force it loses its name and stays until that use "
        "ends."
    ),
    examples=(("bennu rmi shop/web:1", "remove this name, and the image if it was the last"),),
)


def run(args: Arguments, context: Context) -> int:
    """Remove each, and say what became of it in Docker's words."""
    from bennu.oci.reference import parse_reference
    from bennu.wiring import Store

    with Store(context.settings) as store:

        def remove(text: str) -> None:
            removed = store.garbage.remove_image(text, force=args.force)
            for name in removed.untagged:
                context.print(f"Untagged: {parse_reference(name).familiar}")
            if removed.deleted:
                context.print(f"Deleted: {removed.deleted}")

        return each(args.images, remove, context)
