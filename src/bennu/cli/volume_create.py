"""``bennu volume create``: a volume before anything wants it."""

from __future__ import annotations

from bennu.cli.command import Arguments, Command, operand, option
from bennu.cli.context import Context
from bennu.cli.values import assignment

COMMAND = Command(
    "volume create",
    "Create a volume",
    (
        option("-d", "--driver", metavar="NAME", help="local, the only one", choices=("local",), default="local"),
        option("--label", metavar="KEY=VALUE", dest="labels", help="A label", convert=assignment, repeatable=True),
        option(
            "-o", "--opt", metavar="KEY=VALUE", dest="options", convert=assignment, repeatable=True,
            help="What is mounted: type, device, o, as mount(8) has them",
        ),
        operand("NAME", help="Its name; a random one makes it anonymous", required=False),
    ),
    description=(
        "Without options a volume is a directory of the store, which begins with what the first container's image has "
        "at the place. With options it is a block device, an NFS export or a directory of the host, mounted for each "
        "container that wants it and for no one else. One that is there already with the same options is left as it is."
    ),
    examples=(
        ("bennu volume create --label team=web data", "a named volume"),
        ("bennu volume create -o type=nfs -o device=files:/export -o o=ro,vers=4 docs", "an NFS export"),
        ("bennu volume create -o type=ext4 -o device=/dev/vdb big", "a block device"),
    ),
)  # fmt: skip


def run(args: Arguments, context: Context) -> int:
    """Create, and print the name."""
    from bennu.wiring import Runtime

    labels = {key: value or "" for key, value in args.labels}
    options = {key: value or "" for key, value in args.options}
    with Runtime(context.settings) as runtime:
        volumes = runtime.containers.volumes
        if args.name is None:
            made = volumes.create(None, labels, options)
        else:
            made = volumes.ensure(args.name, labels, options)
    context.print(made.name)
    return 0
