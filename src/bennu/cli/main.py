"""The process: words in, exit status out.

Finds the verb in ``table``, parses by its record, runs it, and turns whatever it raises into a report and the status
that ``errors.STATUS`` gives. Owns the process's signals until the verb takes them: SIGTERM and SIGHUP unwind the stack
like an exception, so that what a verb acquired is released. Refuses to know any verb by name.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn, TextIO

from bennu import __version__
from bennu.cli.command import GLOBAL, PROJECT, Arguments, Command, operand, switch
from bennu.cli.context import Context
from bennu.cli.parser import Parsed, nearest, parse
from bennu.cli.quick_imports import install
from bennu.cli.table import find, load, rows

_TOP = Command(
    "bennu",
    "Immutable infrastructure with containers",
    arguments=(
        *GLOBAL,
        *PROJECT,
        switch("-v", "--version", help="Show the version"),
        operand("COMMAND", dest="first", help="", required=False),
        operand("WORDS", help="", remainder=True),
    ),
)


def entry() -> NoReturn:
    """What the command ``bennu`` runs: this process's words, environment and streams."""
    install()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _unwind)
    status = main(sys.argv[1:], os.environ)
    sys.stderr.flush()
    os._exit(status)  # everything is let go of by now, and taking the interpreter apart costs more than a short verb


def main(
    words: Sequence[str],
    environ: Mapping[str, str],
    *,
    stdin: TextIO | None = None,
    stdout: TextIO | None = None,
    stderr: TextIO | None = None,
) -> int:
    """Run one command line; never raises for what a user can cause. Streams default to the process's own."""
    context = Context(environ, stdin=stdin, stdout=stdout, stderr=stderr)
    try:
        status = _dispatch(list(words), context)
        context.stdout.flush()
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # The reader has gone; Python's own flush at exit must not meet the broken pipe again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    return status


def _dispatch(words: list[str], context: Context) -> int:
    command = _TOP
    try:
        top = parse(_TOP, words, {})
        if top.help or top.arguments.version:
            return _introduced(top, context)
        rest = [top.arguments.first, *top.arguments.words] if top.arguments.first else []
        found = find(rest)
        if found is None:
            return _listing(rest, context)
        row, count = found
        command, run = load(row)
        parsed = parse(command, rest[count:], context.environ, extra=GLOBAL)
        if parsed.help:
            return _helped("verb", context.stdout, 0, command)
        arguments = _with_leading(command, parsed, top)
        context.root = arguments.root
        context.debug = arguments.debug
        return run(arguments, context)
    except _expected() as error:
        return _reported(error, command, context)
    except Exception:  # noqa: BLE001  whatever is left is a fault of ours, and run and exec keep their own status
        context.debug = True
        _traceback(context)
        context.say("error: this is a fault in bennu; please report the lines above")
        return 1 if command.status_on_error is None else command.status_on_error


def _introduced(top: Parsed, context: Context) -> int:
    """``--help`` or ``--version`` before any verb; the former wins."""
    if top.help:
        return _helped("overview", context.stdout, 0)
    context.print(f"bennu {__version__}")
    return 0


def _with_leading(command: Command, parsed: Parsed, top: Parsed) -> Arguments:
    """The verb's arguments, with the flags given before the verb where it was not given them itself."""
    arguments = parsed.arguments
    for dest in ("root", "debug", "files", "project"):
        if dest not in top.given or dest in parsed.given:
            continue
        if not hasattr(arguments, dest):
            from bennu.errors import Usage

            flag = next(each.label for each in PROJECT if each.dest == dest)
            raise Usage(
                f"{command.name!r} works on no Compose file and takes no {flag}", f"bennu {command.name} --help"
            )
        setattr(arguments, dest, getattr(top.arguments, dest))
    return arguments


def _listing(words: list[str], context: Context) -> int:
    """No verb was named: the overview, the family of a first word, or an error with the nearest verb."""
    if not words:
        return _helped("overview", context.stderr, 64)
    members = [row for row in rows() if row.name.startswith(words[0] + " ")]
    if members and (len(words) == 1 or words[1] == "--help"):
        stream, status = (context.stderr, 64) if len(words) == 1 else (context.stdout, 0)
        return _helped("family", stream, status, words[0], members)
    from bennu.errors import Usage

    name = " ".join(words[:2] if members else words[:1])
    guess = nearest(name, [row.name for row in members or rows()])
    raise Usage(f"bennu has no command {name!r}", f"did you mean 'bennu {guess}'?" if guess else "bennu --help")


def _helped(text: str, stream: TextIO, status: int, *about: object) -> int:
    """Write one of the texts of ``cli.help``, which is imported only for this."""
    from bennu.cli import help as texts

    stream.write(getattr(texts, text)(*about))
    return status


def _expected() -> tuple[type[Exception], ...]:
    """What a user can cause; named in a function so that only a failure pays for importing ``errors``."""
    from bennu.errors import BennuError

    return (BennuError, OSError)


def _reported(error: Exception, command: Command, context: Context) -> int:
    """Write the report and give the exit status: the verb's own, else the category's."""
    if isinstance(error, BrokenPipeError):
        raise error
    from bennu.cli.report import LOG_COLUMNS, complete, render
    from bennu.errors import BennuError, status_of

    if context.debug:
        _traceback(context)
    if not isinstance(error, BennuError):
        where = f"{error.filename}: " if isinstance(error, OSError) and error.filename else ""
        error = BennuError(f"{where}{getattr(error, 'strerror', None) or error}")
    complete(error)
    columns = context.size(context.stderr)[0] if context.can_draw(context.stderr) else LOG_COLUMNS
    context.stderr.write(render(error, coloured=context.is_coloured(context.stderr), columns=columns))
    context.stderr.flush()
    return status_of(error).exit if command.status_on_error is None else command.status_on_error


def _traceback(context: Context) -> None:
    import traceback

    traceback.print_exc(file=context.stderr)


def _unwind(number: int, _frame: object) -> NoReturn:
    """A deadly signal becomes an exception, so that context managers let go of what they hold."""
    raise SystemExit(128 + number)
