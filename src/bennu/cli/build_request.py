"""What the flags of ``bennu build`` ask for, as a ``BuildRequest``. The flags are ``build_flags``'s."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from bennu.cli.command import Arguments
from bennu.cli.context import Context

if TYPE_CHECKING:
    from pathlib import Path

    from bennu.build.graph import Surroundings
    from bennu.build.origins import NamedOrigin, Origin
    from bennu.build.request import BuildRequest
    from bennu.build.secrets import Grants


def request(args: Arguments, context: Context) -> BuildRequest:
    """The build that the flags describe. Standard input is read here as far as it is the Dockerfile."""
    from pathlib import Path

    import msgspec

    from bennu.build.annotations import parse_annotation
    from bennu.build.origins import Directory
    from bennu.cli.build_outputs import outputs, platforms
    from bennu.oci.reference import parse_name

    file = next(iter(args.files), None)
    origin, text = _context(args, file, context)
    dockerfile: Path | None = None
    if file not in {None, "-"}:
        dockerfile = _dockerfile(Path(file), Path(origin.path)) if isinstance(origin, Directory) else Path(file)
    return msgspec.structs.replace(
        common(args, context),
        context=origin,
        contexts=_named(args),
        dockerfile=dockerfile,
        text=text,
        names=tuple(parse_name(tag) for tag in args.tags),
        target=args.target,
        platforms=platforms(args.platforms),
        outputs=outputs(args, context),
        annotations=tuple(each for word in args.annotations for each in parse_annotation(word)),
        squash=args.squash,
        stdout=getattr(context.stdout, "buffer", None),  # a stream of text alone has none
    )


def _named(args: Arguments) -> dict[str, NamedOrigin]:
    """The named contexts; ``NotFound`` for a directory that is not there, used or not."""
    from pathlib import Path

    from bennu.build.origins import Directory, parse_named
    from bennu.errors import NotFound

    found = dict(parse_named(word) for word in args.build_contexts)
    for name, origin in found.items():
        if isinstance(origin, Directory) and not Path(origin.path).is_dir():
            raise NotFound(f"--build-context {name}={origin.path}: {origin.path!r} is not a directory")
    return found


def common(args: Arguments, context: Context) -> BuildRequest:
    """What the flags say of any image: a build of an empty context, to be given its own."""
    from bennu.build.origins import NoFiles
    from bennu.build.request import BuildRequest

    return BuildRequest(
        context=NoFiles(),
        build_args=_assigned(args.build_args, context),
        labels={name: value or "" for name, value in args.labels},
        use_cache=not args.no_cache,
        pull=args.pull,
        fresh_stages=tuple(stage for stages in args.fresh_stages for stage in stages),
        epoch=source_date_epoch(context),
        network=args.network,
        around=_surroundings(args),
        allowed=args.allowed,
        grants=_grants(args, context),
        verify=args.verify,
    )


def _surroundings(args: Arguments) -> Surroundings:
    from bennu.build.graph import Surroundings
    from bennu.build.surroundings import address, limit

    return Surroundings(
        hosts=tuple((name, address(name, place)) for name, place in args.hosts),
        ulimits=tuple(limit(*each) for each in args.ulimits),
        shm_bytes=args.shm_size or None,
    )


def _grants(args: Arguments, context: Context) -> Grants:
    from bennu.build.secrets import Grants, parse_agent, parse_secret

    secrets = [parse_secret(word, context.environ) for word in args.secrets]
    agents = [parse_agent(word, context.environ) for word in args.agents]
    return Grants({each.id: each for each in secrets}, {each.id: each for each in agents}, context.environ)


def _context(args: Arguments, file: str | None, context: Context) -> tuple[Origin, bytes | None]:
    """Where the context comes from, and the Dockerfile's text where standard input is it."""
    from pathlib import Path

    from bennu.build.contexts import opened_stream
    from bennu.build.origins import Directory, NoFiles, parse_remote
    from bennu.errors import NotFound, Usage

    if args.context == "-":
        if file == "-":
            raise Usage("standard input cannot be both the context and the Dockerfile", "give one of them as a path")
        opened = opened_stream(_typed(context, "the context or the Dockerfile"))
        if not isinstance(opened, bytes):
            return opened, None
        if file is not None:
            raise Usage(
                f"standard input is no tar archive, so it is the Dockerfile, and so is --file {file!r}",
                "leave one of them out",
            )
        return NoFiles(), opened
    text = _typed(context, "the Dockerfile").read() if file == "-" else None
    if Path(args.context).is_dir():
        return Directory(args.context), text
    remote = parse_remote(args.context)
    if remote is None:
        if Path(args.context).exists():
            raise NotFound(
                f"context {args.context!r} is a file, not a directory",
                f"`bennu build - < {args.context}` builds from an archive, `bennu build -f {args.context} .` from a "
                "Dockerfile",
            )
        raise NotFound(
            f"context {args.context!r} is not a directory",
            f"`bennu build --service {args.context}` builds a service of the Compose file",
        )
    return remote, text


def _typed(context: Context, what: str) -> IO[bytes]:
    if context.stdin.isatty():
        from bennu.errors import Usage

        raise Usage(f"standard input is a terminal, not {what}", "redirect it from a file or a pipe")
    return context.stdin.buffer


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
