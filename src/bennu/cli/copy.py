"""``bennu copy``: an image from one registry to another."""

from __future__ import annotations

import os

from bennu.cli.command import Arguments, Command, operand, option, switch
from bennu.cli.context import Context

COMMAND = Command(
    "copy",
    "Copy an image from one registry to another",
    (
        operand("SOURCE", help="NAME[:TAG|@DIGEST]"),
        operand("TARGET", help="NAME[:TAG]"),
        option("--platform", metavar="OS/ARCH", help="This platform's image only; all unless given"),
        switch("-q", "--quiet", help="Print the digest only"),
    ),
    description=(
        "Nothing is kept here, nothing is changed on the way: the digest stays. What the target has is not sent; "
        "within one registry nothing is sent at all."
    ),
    examples=(("bennu copy debian:bookworm registry.example/base/debian:bookworm", "mirror a base image"),),
)


def run(args: Arguments, context: Context) -> int:
    """Copy, and print the target with its digest."""
    from bennu.cli.transfers import Transfers
    from bennu.oci.platform import parse_platform, platform_of_machine
    from bennu.oci.reference import parse_reference
    from bennu.registry.copying import Copier
    from bennu.registry.registries import Registries

    source, target = parse_reference(args.source), parse_reference(args.target)
    host = platform_of_machine(os.uname().machine)
    platform = parse_platform(args.platform, host) if args.platform else None
    with (
        Transfers(context, "Copying", "Copied", "Already exists", quiet=args.quiet) as shown,
        Registries.of(context.settings, shown.say) as registries,
    ):
        copied = Copier(registries, context.settings.temporary, shown).copy(source, target, platform=platform)
    if not args.quiet:
        context.say(f"{copied.sent} blobs sent, {copied.there} were there")
    context.print(f"{target.repository}@{copied.digest}")
    return 0
