"""The manual, generated from the verbs' records: ``bennu(1)`` in roff and ``docs/commands.md`` in Markdown. Pure.

Both have the same parts in the same order. No date is in them, so that the same table gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bennu.cli.command import GLOBAL, PROJECT, Arg, Command
from bennu.cli.help import described, flags_of, usage

STATUSES = (
    ("0", "done; for commands with --detailed-exitcode, nothing differs"),
    ("1", "an error, which is on standard error"),
    ("2", "with --detailed-exitcode: something differs"),
    ("64", "the command line is wrong"),
    ("125", "run and exec: bennu itself failed, or the command line is wrong"),
    ("126", "run and exec: the container's command cannot be run"),
    ("127", "run and exec: the container's command does not exist"),
    ("128+n", "ended by signal n (130 for Ctrl-C)"),
)

VARIABLES = (
    ("BENNU_ROOT", "the state directory; /var/lib/bennu for root, an XDG directory otherwise"),
    ("BENNU_RUNTIME", "the OCI runtime, crun or runc; both are probed if it is not set"),
    ("BENNU_BUILD_CACHE_LIMIT", "what the build cache may take: 20GB, 10%, none; see docs/building.md"),
    ("BENNU_DEBUG", "show the traceback of an error"),
    ("COMPOSE_FILE, COMPOSE_PROJECT_NAME", "as for docker compose"),
    ("NO_COLOR", "no colours, whatever its value"),
)


def markdown(commands: Sequence[Command]) -> str:
    """``docs/commands.md``."""
    return "\n".join(_markdown([each for each in commands if not each.hidden])) + "\n"


def _markdown(commands: Sequence[Command]) -> Iterator[str]:
    yield "# Commands"
    yield ""
    yield "Generated from the command table by `make docs`. Options stand before or after the operands; in `run` and"
    yield "`exec` everything after the image or container belongs to the container."
    for group in dict.fromkeys(command.group for command in commands):
        yield f"\n## {group}\n"
        for command in (each for each in commands if each.group == group):
            yield f"- [`bennu {command.name}`](#bennu-{command.name.replace(' ', '-')}): {command.summary}"
    yield "\n## Options before the command\n"
    yield from _markdown_arguments((*GLOBAL, *PROJECT))
    for command in commands:
        yield f"\n## bennu {command.name}\n"
        yield f"{command.summary}.\n"
        yield f"```\n{usage(command)}\n```"
        for paragraph in _paragraphs(command):
            yield f"\n{paragraph}"
        own = [each for each in (*command.operands, *command.options) if not each.hidden and each.help]
        if own:
            yield ""
            yield from _markdown_arguments(own)
        if command.examples:
            yield "\n```sh"
            for line, meaning in command.examples:
                yield f"{line}    # {meaning}"
            yield "```"
    for title, pairs in (("Exit status", STATUSES), ("Environment", VARIABLES)):
        yield f"\n## {title}\n"
        yield "| | |\n| --- | --- |"
        for left, right in pairs:
            yield f"| `{left}` | {right} |"


def _markdown_arguments(arguments: Sequence[Arg]) -> Iterator[str]:
    yield "| | |\n| --- | --- |"
    for each in arguments:
        left = str(each.metavar) if each.is_operand else flags_of(each).strip()
        yield f"| `{_cell(left)}` | {_cell(described(each))} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def roff(commands: Sequence[Command], version: str) -> str:
    """``bennu.1``, for man(7)."""
    return "\n".join(_roff([each for each in commands if not each.hidden], version)) + "\n"


def _roff(commands: Sequence[Command], version: str) -> Iterator[str]:
    yield f'.TH BENNU 1 "" "bennu {_escaped(version)}" "User Commands"'
    yield ".SH NAME\nbennu \\- immutable infrastructure with containers"
    yield ".SH SYNOPSIS\n.B bennu\n[\\fIOPTIONS\\fR] \\fICOMMAND\\fR [\\fIARGUMENTS\\fR]"
    yield ".SH DESCRIPTION"
    yield "Never changes what runs: builds a new image, brings up a new set beside the old one, proves it, moves the"
    yield "traffic and keeps the old set ready to come back."
    yield ".SH OPTIONS"
    for each in (*GLOBAL, *PROJECT):
        yield from _roff_argument(each)
    yield ".SH COMMANDS"
    for command in commands:
        yield f".SS {_escaped(usage(command))}"
        yield f"{_escaped(command.summary)}."
        for paragraph in _paragraphs(command):
            yield f".PP\n{_escaped(paragraph)}"
        for each in (*command.operands, *command.options):
            if each.help and not each.hidden:
                yield from _roff_argument(each)
        for line, meaning in command.examples:
            yield f".PP\n{_escaped(meaning)}:\n.RS\n.EX\n{_escaped(line)}\n.EE\n.RE"
    for title, pairs in (("EXIT STATUS", STATUSES), ("ENVIRONMENT", VARIABLES)):
        yield f".SH {title}"
        for left, right in pairs:
            yield f".TP\n.B {_escaped(left)}\n{_escaped(right)}"


def _roff_argument(argument: Arg) -> Iterator[str]:
    left = str(argument.metavar) if argument.is_operand else flags_of(argument).strip()
    yield f".TP\n.B {_escaped(left)}\n{_escaped(described(argument))}"


def _paragraphs(command: Command) -> Iterator[str]:
    yield from (part for part in command.description.strip().split("\n\n") if part)
    if command.reads_stdin:
        yield f"Standard input: {command.reads_stdin}."
    if command.needs_terminal:
        yield f"Terminal: {command.needs_terminal}."


def _escaped(text: str) -> str:
    """Text for roff: backslashes and dashes as themselves, no line that reads as a request."""
    plain = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join("\\&" + line if line.startswith((".", "'")) else line for line in plain.split("\n"))
