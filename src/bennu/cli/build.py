"""``bennu build``: an image from a Dockerfile. The work is ``bennu.build.builder``'s."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bennu.cli.command import Arguments, Command, operand, option, switch
from bennu.cli.context import Context
from bennu.cli.human import clock, size
from bennu.cli.values import assignment

if TYPE_CHECKING:
    from pathlib import Path

    from bennu.build.builder import BuildRequest, Built

COMMAND = Command(
    "build",
    "Build an image from a Dockerfile",
    (
        operand("CONTEXT", help="Directory with the files that COPY and ADD may take", complete="directory"),
        option("-f", "--file", metavar="FILE", help="The Dockerfile; - for standard input", complete="file"),
        option("-t", "--tag", metavar="NAME", dest="tags", help="Name the image", repeatable=True, complete="image"),
        option(
            "--build-arg", metavar="K=V", dest="build_args", help="Give an ARG its value", repeatable=True,
            convert=assignment,
        ),
        option("--label", metavar="K=V", dest="labels", help="Add a label", repeatable=True, convert=assignment),
        option("--target", metavar="STAGE", help="Build this stage, by name or number"),
        option(
            "--network", metavar="NETWORK", help="What a RUN can reach: default, none, host",
            choices=("default", "none", "host"), default="default",
        ),
        switch("--no-cache", help="Run every step again"),
        switch("-q", "--quiet", help="Say nothing but the image's ID"),
        option(
            "--progress", metavar="KIND", help="How it is shown: auto, plain, tty, quiet, rawjson",
            choices=("auto", "plain", "tty", "quiet", "rawjson"), default="auto", environ="BUILDKIT_PROGRESS",
        ),
        option("--iidfile", metavar="FILE", help="Write the image's ID to a file", complete="file"),
    ),
    description=(
        "Runs each instruction in a container of its own and keeps what it leaves as a snapshot; a step that ran "
        "before with the same inputs is reused. SOURCE_DATE_EPOCH bounds every time in the image, so that the same "
        "input gives the same digest anywhere. docs/dockerfile.md says which instructions there are. The whole output "
        "of every step is kept under `builds` in the state directory."
    ),
    examples=(
        ("bennu build -t shop/web .", "build the Dockerfile here"),
        ("bennu build -f Dockerfile.test --target test --build-arg V=2 .", "one stage of another one"),
    ),
    reads_stdin="with `-f -`: the Dockerfile",
)  # fmt: skip


def run(args: Arguments, context: Context) -> int:
    """Build, name, tell."""
    from bennu.build.logs import BuildLogs
    from bennu.build.progress import together
    from bennu.cli.build_progress import renderer
    from bennu.errors import Failed
    from bennu.wiring import Runtime

    started = time.monotonic()
    request = _request(args, context)
    shown = renderer("quiet" if args.quiet else args.progress, context)
    with Runtime(context.settings) as runtime, BuildLogs(context.settings) as logs:
        try:
            built = runtime.builder.build(request, together(logs, shown))
        except Failed as error:
            if logs.broken is not None and logs.path(logs.broken).exists():
                error.hint = f"its whole output is in {logs.path(logs.broken)}"
            raise
        finally:
            shown.close()
    if args.iidfile:
        with open(args.iidfile, "w", encoding="utf-8") as file:
            file.write(built.image.id)
    if args.quiet:
        context.print(built.image.id)
    elif args.progress != "quiet":
        _summary(built, time.monotonic() - started, context)
    return 0


def _summary(built: Built, seconds: float, context: Context) -> None:
    for warning in built.warnings:
        context.say(f"{warning.span.file}:{warning.span.line}:{warning.span.column}: warning: {warning.message}")
    image = built.image
    layers = len(image.layers)
    name = f"{image.shown} {image.id[:19]}" if image.names else image.id[:19]
    reused = built.steps - built.ran
    context.say(
        f"{name}: {layers} {'layer' if layers == 1 else 'layers'}, {size(image.size_bytes)}; "
        f"{built.steps} {'step' if built.steps == 1 else 'steps'}, {reused} from the cache, in {clock(seconds)}"
    )


def _request(args: Arguments, context: Context) -> BuildRequest:
    from pathlib import Path

    from bennu.build.builder import BuildRequest
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
    from bennu.build.builder import parse_epoch

    return parse_epoch(text)
