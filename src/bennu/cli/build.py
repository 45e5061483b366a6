"""``bennu build``: an image from a Dockerfile. The work is ``bennu.build.builder``'s."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bennu.cli.build_flags import FLAGS
from bennu.cli.command import Arguments, Command
from bennu.cli.context import Context

if TYPE_CHECKING:
    from bennu.build.request import BuildRequest

COMMAND = Command(
    "build",
    "Build an image from a Dockerfile, or those of a Compose file",
    FLAGS,
    description=(
        "Runs each instruction in a container of its own and keeps what it leaves as a snapshot; a step that ran "
        "before with the same inputs is reused. SOURCE_DATE_EPOCH bounds every time in the image, so that the same "
        "input gives the same digest anywhere. docs/dockerfile.md says which instructions there are. The output "
        "of every step is kept whole under `builds` in the state directory. Without a CONTEXT the services of the "
        "Compose file are built, all at once; what they share is done once."
    ),
    examples=(
        ("bennu build -t shop/web .", "build the Dockerfile here"),
        ("bennu build -f Dockerfile.test --target test --build-arg V=2 .", "one stage of another one"),
        ("bennu build --check .", "what is likely a mistake in the Dockerfile here"),
        ("bennu build", "every service of the Compose file that has a build section"),
        ("bennu build -f prod.yaml --service web", "one of them, of another file"),
    ),
    reads_stdin="with `-f -`: the Dockerfile",
)


def run(args: Arguments, context: Context) -> int:
    """Build, name, tell."""
    from bennu.cli.build_services import refuse_flags_of_services, run_services

    if args.context is None:
        return run_services(args, context)
    refuse_flags_of_services(args)
    return _run(args, context)


def _run(args: Arguments, context: Context) -> int:
    from bennu.build.outputs import STDOUT
    from bennu.cli.build_outputs import write_about
    from bennu.cli.build_progress import watched
    from bennu.cli.build_request import request
    from bennu.errors import Usage
    from bennu.wiring import Runtime

    started = time.monotonic()
    name, as_json = _method(args)
    wanted = request(args, context)
    if args.push and not wanted.names:
        raise Usage("--push needs the name that the image is sent under", "give it with -t")
    if name != "build":
        from bennu.cli.build_calls import called

        return called(name, wanted, context, as_json=as_json)
    with Runtime(context.settings) as runtime, watched("quiet" if args.quiet else args.progress, context) as listener:
        built = runtime.builder.build(wanted, listener)
    if args.push:
        _push(wanted, args, context)
    write_about(built, args)
    is_taken = any(output.dest == STDOUT for output in wanted.outputs)
    if is_taken and wanted.stdout is not None:
        wanted.stdout.flush()
    if args.quiet:
        if built.exported.id is not None and not is_taken:
            context.print(built.exported.id)
    elif args.progress != "quiet":
        from bennu.cli.build_summary import summary

        summary(built, time.monotonic() - started, context)
        if 0 < built.ran < built.steps - 1 and context.is_coloured(context.stderr):
            context.say("`bennu why` says why they ran" if built.ran > 1 else "`bennu why` says why it ran")
    if wanted.verify:
        from bennu.cli.build_verified import report

        return report(built.verified, context)
    return 0


def _push(wanted: BuildRequest, args: Arguments, context: Context) -> None:
    from bennu.cli.push import push_all
    from bennu.registry.compressing import Compression
    from bennu.wiring import Store

    with Store(context.settings) as store:
        for _ in push_all(store, context, wanted.names, Compression(), quiet=args.quiet):
            pass


def _method(args: Arguments) -> tuple[str, bool]:
    """What is to be done: build, check, outline or targets; and whether it is shown as JSON. ``Usage``."""
    from bennu.errors import Usage

    name, is_json = args.call or ("build", False)
    if args.check:
        if name not in ("build", "check"):
            raise Usage(f"--check and --call={name} cannot both be done", "leave one of them out")
        name = "check"
    if name == "build" and (is_json or args.format is not None):
        raise Usage("--format is about --check and --call, and this is a build", "bennu build --help")
    return name, is_json or args.format == "json"
