"""``bennu shell``: a shell in an image, or where a step of a build failed; what is changed there is thrown away."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from bennu.cli.command import Arguments, Command, operand, option, switch
from bennu.cli.context import Context

if TYPE_CHECKING:
    from bennu.build.failures import FailedStep
    from bennu.wiring import Runtime

COMMAND = Command(
    "shell",
    "Open a shell in an image, or where a build failed",
    (
        switch("--failed", help="Where the last step of a build failed, or the one whose ID is given"),
        option("-c", "--command", metavar="COMMAND", help="Run this command and no shell"),
        option("-u", "--user", metavar="USER[:GROUP]", help="User and group, by name or number"),
        operand("IMAGE", dest="what", help="Name or ID of the image; with --failed the ID of a step", required=False,
                complete="image"),
    ),
    description=(
        "In an image it is a container that is removed when the shell ends, as `bennu run --rm -it` makes one. With "
        "--failed it is what a failed RUN had done, with the step's mounts, secrets, variables, user, directory and "
        "network. The last 3 steps that failed are kept, for a day; `bennu builder du` lists them. A secret that came "
        "from a variable is taken from this command's. Without a terminal and without -c the shell reads commands from "
        "standard input. The exit status is the shell's."
    ),
    examples=(
        ("bennu shell --failed", "look at what the step that has just failed left"),
        ("bennu shell --failed -c 'cat config.log'", "one command there"),
        ("bennu shell debian:bookworm", "a throwaway container"),
    ),
    status_on_error=125,
    reads_stdin="where it is no terminal, without -c: commands",
)  # fmt: skip


def run(args: Arguments, context: Context) -> int:
    """Find what is meant, and stay until the shell ends."""
    from bennu.cli.run import told
    from bennu.errors import Failed, Usage
    from bennu.wiring import Runtime

    if args.what is None and not args.failed:
        raise Usage("'shell' needs IMAGE, or --failed", "bennu shell --help")
    if args.failed and args.user is not None:
        raise Usage("--user does not go with --failed, where the user is the step's", "leave one of them out")
    try:
        with Runtime(context.settings) as runtime:
            return _in_failed(args, context, runtime) if args.failed else _in_image(args, context, runtime)
    except Failed as error:
        return told(error, context)


def _in_image(args: Arguments, context: Context, runtime: Runtime) -> int:
    from bennu.build.shell import shell_in
    from bennu.cli.run import attended, image_of
    from bennu.cli.stdio import stdio_of
    from bennu.errors import NotFound
    from bennu.runtime.options import ContainerOptions

    image = image_of(runtime, args.what, context)
    tree = runtime.snapshots.stat(image.snapshot)
    if tree is None:
        raise NotFound(f"image {args.what!r} has lost its layers", "load or build it again")
    terminal = _has_terminal(context)
    options = ContainerOptions(
        entrypoint=(shell_in(context.settings, runtime.snapshots, tree),),
        command=() if args.command is None else ("-c", args.command),
        user=args.user,
        terminal=terminal,
        interactive=terminal or args.command is None,
        auto_remove=True,
        attended=True,
    )
    stdio = stdio_of(context, keys=None, stdin=options.interactive, terminal=terminal)
    return attended(runtime, runtime.containers.create(image, options, None), stdio)


def _in_failed(args: Arguments, context: Context, runtime: Runtime) -> int:
    from bennu.host.terminal import deferred

    failed = runtime.failures.get(args.what)
    terminal = _has_terminal(context)
    if terminal and args.command is None:
        _introduce(failed, context)
    script = b"" if terminal or args.command is not None else context.stdin.buffer.read()
    cancel = threading.Event()
    with deferred(cancel.set):
        return runtime.failed_shell.run(
            failed,
            args.command,
            environ=context.environ,
            terminal=terminal,
            output=lambda stream, data: _write(context, stream, data),
            cancel=cancel,
            input=script,
        )


def _introduce(failed: FailedStep, context: Context) -> None:
    """Say where one is, since it looks like any other shell."""
    where = f" ({failed.where})" if failed.where else ""
    label = " ".join(failed.label.split())
    context.say(f"{label}{where} ended with exit status {failed.status}.")
    context.say("This is what it had done until then; what you change is thrown away. The command was:")
    context.say("  " + " ".join(failed.step.arguments).replace("\n", "\n  "))


def _write(context: Context, stream: str, data: bytes) -> None:
    target = context.stderr if stream == "stderr" else context.stdout
    target.flush()
    target.buffer.write(data)
    target.buffer.flush()


def _has_terminal(context: Context) -> bool:
    return context.stdin.isatty() and context.stdout.isatty()
