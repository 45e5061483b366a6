"""Where the flags of ``bennu build`` send its result, and what is written about it: ``--output`` and its company.

Flags of Docker's that would need what bennu has not are refused here by their names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bennu.cli.command import Arguments
from bennu.cli.context import Context

if TYPE_CHECKING:
    from bennu.build.outputs import Output
    from bennu.build.request import Built
    from bennu.oci.platform import Platform

_OFF = frozenset({"0", "f", "false", "disabled=true"})


def outputs(args: Arguments, context: Context) -> tuple[Output, ...]:
    """The outputs; without any, an image of the store. ``Usage``, ``Unsupported``."""
    from bennu.build.outputs import IMAGE, STDOUT, check_together, parse_output
    from bennu.errors import Usage

    refuse(args)
    found = tuple(parse_output(word) for word in args.outputs)
    if not found or (args.load and not any(output.is_image for output in found)):
        found = (*found, IMAGE)
    check_together(found)
    if any(output.dest == STDOUT for output in found) and context.stdout.isatty():
        raise Usage("an archive is nothing for a terminal", "give the output a dest, or redirect standard output")
    if args.iidfile and not all(output.has_image for output in found):
        raise Usage(
            "--iidfile needs outputs that are images", "leave it out, or leave out outputs of type local and tar"
        )
    return found


def refuse(args: Arguments) -> None:
    """``Unsupported`` for what there is not: attestations, caches elsewhere, builders to choose from."""
    from bennu.errors import Unsupported

    for flag, value in (("--provenance", args.provenance), ("--sbom", args.sbom)):
        if value is not None and value.lower() not in _OFF:
            raise Unsupported(f"{flag}={value}: no attestations are made", f"leave it out, or write {flag}=false")
    for value in args.attest:
        if not value.lower().endswith(",disabled=true"):
            raise Unsupported(f"--attest {value!r}: no attestations are made", "leave it out")
    for flag, values in (("--cache-from", args.cache_from), ("--cache-to", args.cache_to)):
        if values:
            raise Unsupported(
                f"{flag} {values[0]!r}: the cache is the store's own, and neither comes from elsewhere nor goes there",
                "leave it out; --no-cache builds without it",
            )
    if args.builder is not None:
        raise Unsupported(f"--builder {args.builder!r}: there is one builder, this one", "leave it out")


def platforms(words: tuple[str, ...]) -> tuple[Platform, ...]:
    """The platforms that are asked for, each once. ``Invalid``."""
    import os

    from bennu.oci.platform import parse_platform, platform_of_machine

    host = platform_of_machine(os.uname().machine)
    every = [part for word in words for part in word.split(",") if part]
    return tuple(dict.fromkeys(host if part == "local" else parse_platform(part, host) for part in every))


def write_about(built: Built, args: Arguments) -> None:
    """The files that tell of the result: its ID, its metadata."""
    from pathlib import Path

    from bennu.host import files

    if args.iidfile and built.exported.id is not None:
        files.write_atomic(Path(args.iidfile), built.exported.id.encode(), durable=False)
    if args.metadata_file:
        import json

        text = json.dumps(metadata(built), indent=2, sort_keys=True)
        files.write_atomic(Path(args.metadata_file), text.encode(), durable=False)


def metadata(built: Built) -> dict[str, Any]:
    """What ``--metadata-file`` has, with buildx's keys."""
    import msgspec

    exported = built.exported
    if exported.descriptor is None:
        return {}
    found: dict[str, Any] = {
        "containerimage.descriptor": msgspec.to_builtins(exported.descriptor),
        "containerimage.digest": exported.descriptor.digest,
    }
    if exported.descriptor.digest == exported.images[0].manifest:
        found["containerimage.config.digest"] = exported.images[0].id
    if exported.names:
        found["image.name"] = ",".join(exported.names)
    return found
