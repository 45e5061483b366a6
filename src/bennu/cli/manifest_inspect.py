"""``bennu manifest inspect``: what a registry has under a name, fetched and not kept."""

from __future__ import annotations

from bennu.cli.command import Arguments, Command, operand, switch
from bennu.cli.context import Context

COMMAND = Command(
    "manifest inspect",
    "Show the manifest that a name means in its registry",
    (
        operand("NAME[:TAG|@DIGEST]", dest="name", help="What to look at"),
        switch("-v", "--verbose", help="Show the descriptor, and of an index every image's manifest, too"),
        switch("--raw", help="The bytes as they are, and nothing else"),
        switch("--referrers", help="Show what refers to it: signatures, bills of materials"),
    ),
    examples=(("bennu manifest inspect debian:bookworm", "which platforms there are"),),
)


def run(args: Arguments, context: Context) -> int:
    """Print JSON."""
    import json

    from bennu.oci import media
    from bennu.oci.document import encode
    from bennu.oci.manifest import parse_index
    from bennu.oci.reference import parse_reference
    from bennu.registry.registries import Registries

    reference = parse_reference(args.name)
    with Registries.of(context.settings, context.say) as registries:
        repository = registries.sources(reference)[-1]
        document = repository.manifest(reference.digest or reference.tagged().tag or "latest")
        if args.raw:
            context.stdout.flush()
            context.stdout.buffer.write(document.data)
            return 0
        shown = json.loads(document.data)
        if args.referrers:
            shown = json.loads(encode(repository.referrers(document.digest)))
        elif args.verbose:
            whole = {"Ref": str(reference.tagged()), "Descriptor": json.loads(encode(document.descriptor))}
            if document.media_type in media.INDEXES:
                members = parse_index(document.data, document.digest).manifests
                manifests = [json.loads(repository.manifest(each.digest).data) for each in members]
                whole["Manifests"] = manifests
            shown = {**whole, "Manifest": shown}
    context.print(json.dumps(shown, indent=3, ensure_ascii=False))
    return 0
