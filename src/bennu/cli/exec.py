"""``bennu exec``: another command in a running container, as ``docker exec``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bennu.cli.command import Arguments, Command, operand, option, switch
from bennu.cli.container_flags import environment_of
from bennu.cli.context import Context
from bennu.cli.run import told
from bennu.cli.stdio import DETACH_KEYS, stdio_of
from bennu.cli.values import assignment

if TYPE_CHECKING:
    from bennu.wiring import Runtime

COMMAND = Command(
    "exec",
    "Run a command in a running container",
    (
        switch("-d", "--detach", help="Leave the command running"),
        switch("-i", "--interactive", help="Pass standard input on"),
        switch("-t", "--tty", help="Give the command a terminal"),
        option("-e", "--env", metavar="K=V", help="Set a variable", convert=assignment, repeatable=True),
        option("--env-file", metavar="FILE", help="Set variables from a file", repeatable=True, complete="file"),
        option("-w", "--workdir", metavar="DIR", help="Working directory"),
        option("-u", "--user", metavar="USER[:GROUP]", help="User and group, by name or number"),
        switch("--privileged", help="With all capabilities"),
        DETACH_KEYS,
        operand("CONTAINER", help="Name or ID", complete="container"),
        operand("COMMAND", help="Program and arguments", remainder=True),
    ),
    description=(
        "The exit status is that of the command; 126 where it could not be executed, 127 where it was not found,"
        " 128+n where signal n ended it."
    ),
    examples=(("bennu exec -it web sh", "a shell in the container"),),
    status_on_error=125,
    reads_stdin="with -i",
    needs_terminal="with -t",
)


def run(args: Arguments, context: Context) -> int:
    """Run it; with a terminal, until it ends or the detach keys."""
    from bennu.errors import Conflict, Failed, NotFound, Usage
    from bennu.wiring import Runtime

    if not args.command:
        raise Usage("'exec' needs COMMAND", "bennu exec --help")
    try:
        with Runtime(context.settings) as runtime:
            return _run(args, context, runtime)
    except Failed as error:
        return told(error, context)
    except (Conflict, NotFound) as error:
        return told(Failed(error.message, error.hint, status=1), context)


def _run(args: Arguments, context: Context, runtime: Runtime) -> int:
    from bennu.runtime import exec as execution

    containers = runtime.containers
    record = containers.resolve(args.container)
    wanted = execution.Exec(
        command=args.command,
        env=environment_of(args.env, args.env_file, context.environ),
        working_dir=args.workdir,
        user=args.user,
        terminal=args.tty,
        interactive=args.interactive,
        privileged=args.privileged,
    )
    if args.detach:
        execution.detach(containers, record, wanted)
        return 0
    stdio = stdio_of(context, keys=args.detach_keys, stdin=args.interactive, terminal=args.tty)
    if args.tty:
        return execution.attach(containers, record, wanted, stdio) or 0
    return execution.run_on(containers, record, wanted, stdin=stdio.stdin, stdout=stdio.stdout, stderr=stdio.stderr)
