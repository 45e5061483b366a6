"""``bennu save``: images as one file that Docker, Podman, skopeo and bennu load."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from bennu.cli.command import Arguments, Command, operand, option
from bennu.cli.context import Context

if TYPE_CHECKING:
    from bennu.digest import Digest
    from bennu.store.archive_writer import Group, Selection
    from bennu.wiring import Store

COMMAND = Command(
    "save",
    "Write images to a file",
    (
        operand("IMAGE", dest="images", help="Names or IDs", repeatable=True, complete="image"),
        option("-o", "--output", metavar="FILE", help="The file; standard output unless given", complete="file"),
    ),
    description=(
        "Writes one tar archive that is an OCI layout and a docker-archive at once. The same images give the same "
        "bytes. A name that means images for several platforms gives all of them. A file appears under its name only "
        "when it is whole."
    ),
    examples=(
        ("bennu save -o web.tar shop/web:1", "write a file"),
        ("bennu save shop/web:1 | ssh host docker load", "send an image to another host"),
    ),
)


def run(args: Arguments, context: Context) -> int:
    """Look every image up first, then write."""
    from bennu.errors import Usage
    from bennu.host import files
    from bennu.store.archive_writer import write_archive
    from bennu.wiring import Store

    if args.output is None and context.stdout.isatty():
        raise Usage("an archive is nothing for a terminal", "give a file with -o, or redirect the output")
    with Store(context.settings) as store:
        selections = [_selection(store, text) for text in dict.fromkeys(args.images)]
        if args.output is None:
            context.stdout.flush()
            write_archive(store.images, selections, context.stdout.buffer)
            context.stdout.buffer.flush()
        else:
            with files.replacing(Path(args.output)) as sink:
                write_archive(store.images, selections, sink)
    return 0


def _selection(store: Store, text: str) -> Selection:
    """The image, with the name that it was asked for by, if it was by one."""
    from bennu.errors import Invalid
    from bennu.oci.reference import parse_reference
    from bennu.store.archive_writer import Selection

    image = store.images.resolve(text)
    with suppress(Invalid):
        reference = parse_reference(text).tagged()
        if reference.name in image.names:
            return Selection(image, (reference,), _group(store, image.indexed.get(reference.name)))
    return Selection(image, (), _group(store, store.images.find_index(text)))


def _group(store: Store, index: Digest | None) -> Group | None:
    return None if index is None else store.images.indexes.group(index)
