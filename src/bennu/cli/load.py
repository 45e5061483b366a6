"""``bennu load``: images out of a file that bennu, Docker, Podman, Buildah or skopeo wrote."""

from __future__ import annotations

import os
from pathlib import Path

from bennu.cli.command import Arguments, Command, option, switch
from bennu.cli.context import Context

COMMAND = Command(
    "load",
    "Load images from a file",
    (
        option("-i", "--input", metavar="FILE", help="The file; standard input unless given", complete="file"),
        option("--platform", metavar="OS/ARCH", help="Take this image where there are several; all unless given"),
        switch("-q", "--quiet", help="Accepted for Docker's sake; there is no progress to leave out"),
    ),
    description=(
        "Images for several platforms that go by one name all come, and this host runs the one that suits. "
        "Takes an OCI layout or a docker-archive as a tar, plain or compressed by gzip, zstd, bzip2 or xz. Every "
        "digest is verified; an archive that is malformed or damaged changes nothing."
    ),
    examples=(("bennu load -i web.tar", "load a file"), ("ssh host docker save web | bennu load", "fetch an image")),
    reads_stdin="the archive, unless -i names a file",
)


def run(args: Arguments, context: Context) -> int:
    """Load each image and say how it is called, in Docker's words."""
    from bennu.errors import Usage
    from bennu.oci.platform import parse_platform, platform_of_machine
    from bennu.wiring import Store

    if args.input is None and context.stdin.isatty():
        raise Usage("standard input is a terminal, not an archive", "give a file with -i, or redirect the input")
    host = platform_of_machine(os.uname().machine)
    only = parse_platform(args.platform, host) if args.platform else None
    source = context.stdin.buffer if args.input is None else Path(args.input)
    with Store(context.settings) as store:
        for image, found in store.loader.load(source, host, only=only):
            for name in found.names:
                context.print(f"Loaded image: {name.familiar}")
            if not found.names:
                context.print(f"Loaded image ID: {image.id}")
    return 0
