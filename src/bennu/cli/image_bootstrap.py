"""``bennu image bootstrap``: a base image out of a distribution's own packages, without a registry."""

from __future__ import annotations

from pathlib import Path

from bennu.cli import human
from bennu.cli.command import Arguments, Command, operand, option, switch
from bennu.cli.context import Context

COMMAND = Command(
    "image bootstrap",
    "Make a base image from a distribution's packages",
    (
        operand("DISTRIBUTION:SUITE", dest="what", help="debian:bookworm, debian:bookworm-slim, ubuntu:noble, ..."),
        option("--variant", metavar="NAME", help="mmdebstrap's choice of packages", default="apt"),
        option("--package", metavar="NAME", dest="packages", help="Install this package too", repeatable=True),
        option("-t", "--tag", metavar="NAME", help="Name of the image; DISTRIBUTION:SUITE unless given"),
        option(
            "--mirror", metavar="URL", dest="mirrors", repeatable=True,
            help="Mirror, or a whole line of sources.list; the host's own unless given",
        ),
        option("--keyring", metavar="FILE", help="Keys that the archive is signed by", complete="file"),
        switch("--pull", help="Make it anew with today's packages even if it is there"),
        switch("--force", help="The same as --pull"),
        switch("-q", "--quiet", help="Print the ID only"),
    ),
    description=(
        "Installs the distribution's essential packages and apt with mmdebstrap, about half a minute. The same "
        "packages give the same image: no time of the run, name of the host or log is in it. SOURCE_DATE_EPOCH sets "
        "its time stamps, the newest package's date does otherwise. An image that is there is used again."
    ),
    examples=(
        ("bennu image bootstrap debian:bookworm", "the base of most Dockerfiles"),
        ("bennu image bootstrap debian:bookworm --package ca-certificates -t base", "with a package, under a name"),
    ),
)  # fmt: skip


def run(args: Arguments, context: Context) -> int:
    """Make the image unless it is there; print its ID."""
    import time

    from bennu.build.bootstrap import Bootstrap, parse_recipe
    from bennu.oci.reference import parse_name
    from bennu.wiring import Store

    recipe = parse_recipe(
        args.what,
        variant=args.variant,
        packages=args.packages,
        mirrors=args.mirrors,
        keyring=Path(args.keyring).resolve() if args.keyring else None,
        epoch=_epoch(context.environ.get("SOURCE_DATE_EPOCH")),
    )
    name = parse_name(args.tag) if args.tag else recipe.name
    say = (lambda _text: None) if args.quiet else context.say
    with Store(context.settings) as store:
        bootstrap = Bootstrap(store.settings, store.images, store.operations, context.environ)
        image = None if args.pull or args.force else bootstrap.existing(recipe, name)
        if image is not None:
            say(f"{name.familiar} is there; --pull makes it anew")
        else:
            started = time.monotonic()
            image = bootstrap.make(recipe, name, lambda step: say(f"{name.familiar}: {step}"))
            say(f"{name.familiar}: {human.size(image.size_bytes)} in {human.clock(time.monotonic() - started)}")
    context.print(image.id)
    return 0


def _epoch(text: str | None) -> int | None:
    from bennu.errors import Invalid

    if not text:
        return None
    if not (text.isascii() and text.isdigit()):
        raise Invalid(f"SOURCE_DATE_EPOCH {text!r} is not a number of seconds")
    return int(text)
