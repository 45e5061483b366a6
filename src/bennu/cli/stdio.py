"""The descriptors of this process for a container in the foreground, as ``run``, ``exec`` and ``attach`` want them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bennu.cli.command import Arg, option, switch
from bennu.cli.context import Context

if TYPE_CHECKING:
    from bennu.runtime.foreground import Stdio

DETACH_KEYS: Arg = option("--detach-keys", metavar="KEYS", help="Keys that detach, such as ctrl-p,ctrl-q")
SIG_PROXY: Arg = switch("--sig-proxy", help="Pass signals on to the process", default=True)


def stdio_of(context: Context, *, keys: str | None, stdin: bool, terminal: bool, pass_signals: bool = True) -> Stdio:
    """The descriptors. ``Failed`` with status 1 where a terminal is wanted and standard input is none."""
    from bennu.errors import Failed
    from bennu.runtime.detach_keys import DEFAULT, parse_detach_keys
    from bennu.runtime.foreground import Stdio

    if stdin and terminal and not context.stdin.isatty():
        raise Failed("the standard input is not a terminal", "leave out -t, or call it from a terminal", status=1)
    context.stdout.flush()
    return Stdio(
        stdin=context.stdin.fileno() if stdin else None,
        stdout=context.stdout.fileno(),
        stderr=context.stderr.fileno(),
        keys=DEFAULT if keys is None else parse_detach_keys(keys),
        pass_signals=pass_signals and not (stdin and terminal),
    )
