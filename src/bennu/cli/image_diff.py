"""``bennu image diff``: what is different inside two images: packages, files, what a container starts with."""

from __future__ import annotations

from bennu.cli.command import Arguments, Command, operand, option, switch
from bennu.cli.context import Context

FULL = switch("--full", help="Show every path")
TEXT_FORMAT = option(
    "--format", metavar="FORMAT", help="json, or text", choices=("json", "text"), default="text"
)  # fmt: skip

COMMAND = Command(
    "image diff",
    "Show what is different inside two images",
    (
        operand("IMAGE", dest="before", help="A name or an ID", complete="image"),
        operand("OTHER", dest="after", help="A name or an ID", complete="image"),
        FULL,
        TEXT_FORMAT,
    ),
    description=(
        "Packages come from the records of dpkg, apk or rpm. Files of packages that changed are counted and not "
        "listed; what is left is what a build changed by itself. Times do not count, values of variables are not "
        "shown, and layers that both images stand on are not looked at."
    ),
    examples=(("bennu image diff shop-web:1 shop-web:2", "what the second has that the first has not"),),
)


def run(args: Arguments, context: Context) -> int:
    """Compare and print."""
    from bennu.store.image_changes import compare
    from bennu.wiring import Store

    with Store(context.settings) as store:
        before, after = (store.images.resolve(name) for name in (args.before, args.after))
        changes = compare(store.images, before, after)
    if args.format == "json":
        import msgspec

        document = {"before": before.manifest, "after": after.manifest, **msgspec.to_builtins(changes)}
        context.print(msgspec.json.encode(document).decode())
        return 0
    from bennu.deploy.planning.image_text import lines

    if changes.is_empty:
        context.print("nothing is different inside")
    for line in lines(changes, limit=None if args.full else 20):
        context.print(line)
    return 0
