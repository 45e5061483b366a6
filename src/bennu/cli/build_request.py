"""What the flags of ``bennu build`` ask for, as a ``BuildRequest``. The flags are ``build_flags``'s."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bennu.cli.command import Arguments
from bennu.cli.context import Context

if TYPE_CHECKING:
    from pathlib import Path

    from bennu.build.request import BuildRequest


def request(args: Arguments, context: Context) -> BuildRequest:
    """The build that the flags describe. Standard input is read here where it is the Dockerfile."""
    from pathlib import Path

    from bennu.build.request import BuildRequest
    from bennu.errors import NotFound, Unsupported
    from bennu.oci.reference import parse_name

    if "://" in args.context or args.context == "-":
        raise Unsupported(f"context {args.context!r} is no directory", "only directories can be contexts today")
    directory = Path(args.context)
    if not directory.is_dir():
        raise NotFound(f"context {args.context!r} is not a directory")
    text: bytes | None = None
    dockerfile: Path | None = None
    if args.file == "-":
        text = context.stdin.buffer.read()
    elif args.file is not None:
        dockerfile = _dockerfile(Path(args.file), directory)
    return BuildRequest(
        context=directory,
        dockerfile=dockerfile,
        text=text,
        names=tuple(parse_name(tag) for tag in args.tags),
        build_args=_assigned(args.build_args, context),
        labels={name: value or "" for name, value in args.labels},
        target=args.target,
        use_cache=not args.no_cache,
        fresh_stages=tuple(stage for stages in args.fresh_stages for stage in stages),
        epoch=source_date_epoch(context),
        network=args.network,
    )


def _dockerfile(path: Path, context: Path) -> Path:
    # docker build takes it relative to the working directory, and people are used to both
    return context / path if not path.exists() and (context / path).exists() else path


def _assigned(pairs: tuple[tuple[str, str | None], ...], context: Context) -> dict[str, str]:
    """Build arguments; one without ``=`` has the environment's value, and is left out where there is none."""
    found = {name: context.environ.get(name) if value is None else value for name, value in pairs}
    return {name: value for name, value in found.items() if value is not None}


def source_date_epoch(context: Context) -> int | None:
    """``SOURCE_DATE_EPOCH`` as Unix seconds, or None. ``Invalid`` if it is no number."""
    text = context.environ.get("SOURCE_DATE_EPOCH")
    if not text:
        return None
    from bennu.build.request import parse_epoch

    return parse_epoch(text)
