"""``bennu push``: an image into a registry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from bennu.cli.command import Arguments, Command, operand, option, switch
from bennu.cli.context import Context

if TYPE_CHECKING:
    from bennu.oci.reference import Reference
    from bennu.registry.compressing import Compression
    from bennu.wiring import Store

COMMAND = Command(
    "push",
    "Send images to a registry",
    (
        operand("NAME[:TAG]", dest="names", help="What to send, and where to", repeatable=True, complete="image"),
        switch("-a", "--all-tags", help="Every tag of the repository that is here"),
        option(
            "--compression", metavar="KIND", choices=("gzip", "zstd"), default="gzip",
            help="How layers that were made here are compressed",
        ),
        option("--compression-level", metavar="N", convert=int, help="0 to 3 of gzip (1), 1 to 19 of zstd (3)"),
        switch("-q", "--quiet", help="Print the digest only"),
    ),
    description=(
        "What the registry has is not sent, what another repository of it has is taken from there. A layer that came "
        "from a registry goes back byte for byte; one that was made here is compressed on its way. A name that means "
        "images for several platforms sends all of them."
    ),
    examples=(
        ("bennu push registry.example/shop/web:1", "send an image"),
        ("bennu push --compression zstd registry.example/shop/web:1", "the same, smaller"),
    ),
)  # fmt: skip


def run(args: Arguments, context: Context) -> int:
    """Send each; the digests on standard output."""
    from bennu.errors import NotFound, Usage
    from bennu.oci.reference import parse_name, parse_reference
    from bennu.registry.compressing import Compression
    from bennu.wiring import Store

    compression = Compression(args.compression, args.compression_level)
    with Store(context.settings) as store:
        names = [parse_name(name) for name in args.names]
        if args.all_tags:
            if any(parse_reference(name).tag for name in args.names):
                raise Usage("--all-tags takes a name without a tag")
            wanted = {each.repository for each in names}
            kept = [parse_name(name) for image in store.images.walk() for name in image.names]
            names = sorted(each for each in kept if each.repository in wanted)
            if not names:
                raise NotFound(f"image {args.names[0]!r} has no tag in the store", "`bennu images` lists what is")
        for pushed in push_all(store, context, names, compression, quiet=args.quiet):
            context.print(pushed)
    return 0


def push_all(
    store: Store, context: Context, names: Iterable[Reference], compression: Compression, *, quiet: bool
) -> Iterator[str]:
    """Send images under their names; each as ``REPOSITORY@DIGEST`` when it is there."""
    from bennu.cli.transfers import Transfers
    from bennu.registry.push import Pusher
    from bennu.registry.registries import Registries
    from bennu.registry.sent import Sent

    with (
        Transfers(context, "Pushing", "Pushed", "Layer already exists", quiet=quiet) as shown,
        Registries.of(context.settings, shown.say) as registries,
    ):
        pusher = Pusher(
            registries, store.images, store.operations, Sent(store.database), shown, compression=compression
        )
        for name in names:
            image = store.images.resolve(name.name)
            if not quiet:
                shown.say(f"The push refers to repository [{name.repository}]")
            pushed = pusher.push(image, name, index=store.images.find_index(name.name))
            if not quiet:
                several = f" ({pushed.images} images)" if pushed.images > 1 else ""
                shown.say(f"{name.tag}: digest: {pushed.digest} size: {pushed.size_bytes}{several}")
            yield f"{name.repository}@{pushed.digest}"
