"""``bennu save``: images as one file that Docker, Podman, skopeo and bennu load."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from bennu.cli.command import Arguments, Command, operand, option
from bennu.cli.context import Context

if TYPE_CHECKING:
    from bennu.store.archive_writer import Selection
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
            with _written(Path(args.output)) as sink:
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
            return Selection(image, (reference,), image.indexed.get(reference.name))
    return Selection(image, (), store.images.find_index(text))


@contextmanager
def _written(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes its name when the block ends well; a pipe or device is written to directly."""
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        with path.open("wb") as sink:
            yield sink
        return
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        with open(temporary, "xb") as sink:
            yield sink
        os.rename(temporary, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
