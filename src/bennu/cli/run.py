"""``bennu run``: a container of an image, in the foreground or detached, as ``docker run``."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from bennu.cli.command import Arguments, Command, operand, option, switch
from bennu.cli.container_flags import FLAGS, options_of
from bennu.cli.context import Context
from bennu.cli.stdio import DETACH_KEYS, SIG_PROXY, stdio_of

if TYPE_CHECKING:
    from bennu.errors import Failed
    from bennu.registry.source import Policy
    from bennu.runtime.options import ContainerImage
    from bennu.runtime.records import Record
    from bennu.wiring import Runtime

COMMAND = Command(
    "run",
    "Run a command in a new container",
    (
        switch("-d", "--detach", help="Print the container's ID and leave it running"),
        switch("--rm", help="Remove the container, and its anonymous volumes, when it has ended"),
        *FLAGS,
        option(
            "--pull",
            metavar="WHEN",
            choices=("missing", "always", "never"),
            default="missing",
            help="When the image is fetched from its registry",
        ),
        option("--platform", metavar="OS/ARCH", help="The image for this platform, where a name has several"),
        DETACH_KEYS,
        SIG_PROXY,
        option("--cidfile", metavar="FILE", help="Write the container's ID to a file", complete="file"),
        operand("IMAGE", help="Name or ID of the image", complete="image"),
        operand("COMMAND", help="Program and arguments, instead of the image's", remainder=True),
    ),
    description=(
        "The exit status is that of the command; 125 where bennu itself failed, 126 where the command could not be"
        " executed, 127 where it was not found, and 128+n where signal n ended it."
    ),
    examples=(
        ("bennu run --rm -it debian:bookworm bash", "a shell that leaves nothing"),
        ("bennu run -d --name db -v data:/var/lib/postgresql postgres", "a server in the background"),
    ),
    status_on_error=125,
    reads_stdin="with -i",
    needs_terminal="with -t",
)


def run(args: Arguments, context: Context) -> int:
    """Create, start and, unless detached, stay with the container."""
    import msgspec

    from bennu.errors import Failed
    from bennu.wiring import Runtime

    options = options_of(args, args.command, context.environ)
    options = msgspec.structs.replace(options, auto_remove=args.rm, attended=not args.detach)
    try:
        stdio = None if args.detach else stdio_of(
            context, keys=args.detach_keys, stdin=args.interactive, terminal=args.tty, pass_signals=args.sig_proxy
        )  # fmt: skip
        with Runtime(context.settings) as runtime:
            record = runtime.containers.create(
                image_of(runtime, args.image, context, args.pull, args.platform), options, args.name
            )
            if args.cidfile:
                with open(args.cidfile, "x", encoding="ascii") as file:
                    file.write(record.id)
            if stdio is None:
                _start(runtime, record)
                context.print(record.id)
                return 0
            return attended(runtime, record, stdio)
    except Failed as error:
        return told(error, context)


def _start(runtime: Runtime, record: Record) -> None:
    try:
        runtime.containers.start(record.id)
    except BaseException:
        if record.options.auto_remove:
            runtime.containers.remove(record.id, force=True)
        raise


def attended(runtime: Runtime, record: Record, stdio: object) -> int:
    """Stay with a container until it ends or is detached from; its exit status."""
    from bennu.runtime.containers import attending
    from bennu.runtime.foreground import Stdio, start_attached

    assert isinstance(stdio, Stdio)
    containers = runtime.containers
    if not record.options.auto_remove:
        return start_attached(containers, record, stdio) or 0
    status: int | None = None
    with attending(containers.place(record)):
        try:
            status = start_attached(containers, record, stdio)
        finally:
            if status is not None or not containers.status(record).is_alive:
                containers.remove(record.id)
            else:
                _leave_to_itself(runtime, record)
    return status or 0


def _leave_to_itself(runtime: Runtime, record: Record) -> None:
    """Somebody else has to remove it once it has ended: a process that waits for that and nothing else."""
    from bennu.host import process

    program = (sys.executable, "-m", "bennu", "--root", str(runtime.settings.root))
    with suppress(OSError):
        process.spawn((*program, "rm", "--volumes", "--after-exit", record.id))


def image_of(
    runtime: Runtime, text: str, context: Context, policy: Policy = "missing", platform: str | None = None
) -> ContainerImage:
    """The image that a container is made from. ``NotFound``; ``Invalid`` for one without layers."""
    from bennu.errors import Invalid, NotFound
    from bennu.oci.platform import fit
    from bennu.runtime.options import ContainerImage

    wanted = None
    if platform is not None:
        from bennu.oci.platform import parse_platform, platform_of_machine

        wanted = parse_platform(platform, platform_of_machine(os.uname().machine))
    image = runtime.images.find(text) if policy == "missing" and wanted is None else None
    if image is None:
        image = runtime.image_source(context.say).resolve(text, policy, wanted)
    if wanted is not None and fit(wanted, image.config.platform) is None:
        raise NotFound(f"image {text!r} is for {image.config.platform}, not for {wanted}")
    snapshot = runtime.images.snapshot(image)
    if snapshot is None:
        raise Invalid(f"image {text!r} has no layers, so there is nothing in it to run")
    return ContainerImage(name=text, manifest=image.manifest, snapshot=snapshot.id, config=image.config.config)


def told(error: Failed, context: Context) -> int:
    """Report a process that could not be started; its own status (126, 127) is the verb's."""
    from bennu.cli.report import render

    context.stderr.write(render(error, coloured=context.is_coloured(context.stderr)))
    return error.status
