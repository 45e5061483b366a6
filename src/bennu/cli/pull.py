"""``bennu pull``: an image out of a registry."""

from __future__ import annotations

import os

from bennu.cli.command import Arguments, Command, operand, option, switch
from bennu.cli.context import Context

COMMAND = Command(
    "pull",
    "Fetch images from a registry",
    (
        operand("NAME[:TAG|@DIGEST]", dest="names", help="What to fetch", repeatable=True, complete="image"),
        option("--platform", metavar="OS/ARCH", help="The image for this platform, where there are several"),
        switch("--all-platforms", help="The images for all platforms"),
        switch("-a", "--all-tags", help="Every tag of the repository"),
        switch("-q", "--quiet", help="Print the name only"),
    ),
    description=(
        "Layers arrive four at a time and are unpacked while they arrive; a connection that breaks is taken up where "
        "it broke. Every byte is checked. Mirrors, plain HTTP and certificates stand in registries.toml and where "
        "Docker has them; credentials are Docker's."
    ),
    examples=(
        ("bennu pull debian:bookworm", "the image for this machine"),
        ("bennu pull --platform linux/arm64 debian:bookworm", "the one for another"),
        ("bennu pull registry.example/shop/web@sha256:...", "an image by its digest"),
    ),
)


def run(args: Arguments, context: Context) -> int:
    """Fetch each; the full names on standard output, as Docker prints them."""
    from bennu.cli.transfers import Transfers
    from bennu.errors import Usage
    from bennu.oci.platform import parse_platform, platform_of_machine
    from bennu.oci.reference import parse_reference
    from bennu.registry.pull import Puller
    from bennu.registry.registries import Registries
    from bennu.registry.sent import Sent
    from bennu.wiring import Store

    if args.platform and args.all_platforms:
        raise Usage("--platform and --all-platforms contradict each other")
    host = platform_of_machine(os.uname().machine)
    wanted = parse_platform(args.platform, host) if args.platform else None
    references = [parse_reference(name) for name in args.names]
    with (
        Store(context.settings) as store,
        Transfers(context, "Downloading", "Pull complete", "Already exists", quiet=args.quiet) as shown,
        Registries.of(context.settings, shown.say) as registries,
    ):
        puller = Puller(
            registries, store.images, store.blobs, store.operations, sent=Sent(store.database), listener=shown
        )
        if args.all_tags:
            if any(each.tag or each.digest for each in references):
                raise Usage("--all-tags takes a name without a tag")
            references = [each.tagged(tag) for each in references for tag in registries.sources(each)[-1].tags()]
        for reference in references:
            if not args.quiet and not reference.tag and not reference.digest:
                shown.say("Using default tag: latest")
            pulled = puller.pull(reference, host, platform=wanted, every=args.all_platforms)
            if not args.quiet:
                what = "Downloaded newer image for" if pulled.is_new else "Image is up to date for"
                shown.say(f"Digest: {pulled.digest}")
                shown.say(f"Status: {what} {reference.tagged().familiar}")
            context.print(str(reference.tagged()))
    return 0
