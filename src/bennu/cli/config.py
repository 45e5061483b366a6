"""``bennu config``: the fleet file as bennu understands it, merged and resolved, or what is wrong with it.

Needs no root, no store and no network. The reading is in ``bennu.compose.load``, the writing in
``bennu.compose.render``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from bennu.cli.command import PROFILE, PROJECT, Arguments, Command, option, switch
from bennu.cli.context import Context

if TYPE_CHECKING:
    from bennu.compose.model import Project

COMMAND = Command(
    "config",
    "Check the Compose file and print it resolved",
    (
        *PROJECT,
        PROFILE,
        switch("-q", "--quiet", help="Only check the file"),
        option("--format", metavar="FORMAT", help="yaml or json", choices=("yaml", "json"), default="yaml"),
        switch("--services", help="Print the names of the services"),
        switch("--volumes", help="Print the names of the volumes"),
        switch("--images", help="Print the images that the services run"),
        option(
            "--hash", metavar="SERVICE", help="Print the digest of a service's configuration; * for all",
            complete="service",
        ),
    ),
    description=(
        "Reads the Compose file, its overrides, .env and env_files, and prints one file with everything spelled out: "
        "variables replaced, short forms in their long form, paths absolute. All that is wrong is reported at once, "
        "each with file, line and column."
    ),
    examples=(
        ("bennu config -q", "check the file, say nothing if it is right"),
        ("bennu config --hash '*'", "see which services a change of the file touches"),
    ),
)  # fmt: skip


def run(args: Arguments, context: Context) -> int:
    """Load, tell what there is to notice, print the part that was asked for."""
    from bennu.compose.load import load

    project = load(args.files, environ=context.environ, name=args.project, profiles=args.profiles)
    for notice in project.notices:
        context.say(f"warning: {notice}")
    if not args.quiet:
        context.stdout.write(_text(project, args))
    return 0


def _text(project: Project, args: Arguments) -> str:
    if args.services:
        return _lines(project.services)
    if args.volumes:
        return _lines(project.volumes)
    if args.images:
        return _lines(dict.fromkeys(map(project.image_name, project.services)))
    if args.hash is not None:
        return _hashes(project, args.hash)
    from bennu.compose.render import compose_document, yaml_text

    document = compose_document(project)
    if args.format == "json":
        import json

        return json.dumps(document, ensure_ascii=False, indent=2) + "\n"
    return yaml_text(document)


def _lines(names: Iterable[str]) -> str:
    return "".join(f"{name}\n" for name in names)


def _hashes(project: Project, wanted: str) -> str:
    from bennu.compose.canonical import service_digest
    from bennu.compose.reader import unknown_service
    from bennu.digest import encoded

    names = list(project.services) if wanted == "*" else wanted.split(",")
    for name in names:
        if name not in project.services:
            raise unknown_service(project, name)
    return "".join(f"{name} {encoded(service_digest(project.services[name]))}\n" for name in names)
