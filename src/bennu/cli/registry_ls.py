"""``bennu registry ls``: the tags of a repository."""

from __future__ import annotations

from bennu.cli.command import Arguments, Command, operand, option
from bennu.cli.context import Context

COMMAND = Command(
    "registry ls",
    "List the tags of a repository in its registry",
    (
        operand("NAME", help="The repository"),
        option("--format", metavar="FORMAT", choices=("text", "json"), default="text", help="text or json"),
    ),
    examples=(("bennu registry ls debian", "which there are"),),
)


def run(args: Arguments, context: Context) -> int:
    """Print a tag a line, in the registry's order."""
    import json

    from bennu.oci.reference import parse_reference
    from bennu.registry.registries import Registries

    reference = parse_reference(args.name)
    with Registries.of(context.settings, context.say) as registries:
        tags = registries.sources(reference)[-1].tags()
        if args.format == "json":
            context.print(json.dumps({"repository": reference.repository, "tags": list(tags)}))
            return 0
        for tag in tags:
            context.print(tag)
    return 0
