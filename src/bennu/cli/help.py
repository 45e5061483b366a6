"""The text of ``--help``, for ``bennu`` itself, for a family of verbs (``bennu image``) and for one verb. Pure.

Everything comes from the table's rows and the verbs' records; nothing is written twice.
"""

from __future__ import annotations

from bennu.cli.command import GLOBAL, PROJECT, Arg, Command
from bennu.cli.table import GROUPS, Row


def overview() -> str:
    """What ``bennu --help`` prints."""
    lines = [
        "Usage:  bennu [OPTIONS] COMMAND",
        "",
        "Never change what runs: build a new image, prove it, switch to it.",
    ]
    for group, members in GROUPS.items():
        lines += ["", f"{group}:", *_pairs([(row.name, row.summary) for row in members])]
    own = Arg("version", ("-v", "--version"), help="Show the version"), Arg("help", ("--help",), help="Show this text")
    lines += ["", "Options:", *_pairs([(flags_of(each), described(each)) for each in (*PROJECT, *GLOBAL, *own)])]
    lines += ["", "Run 'bennu COMMAND --help' for more about a command."]
    return "\n".join(lines) + "\n"


def family(word: str, members: list[Row]) -> str:
    """What ``bennu image`` prints: the verbs that begin with that word."""
    lines = [f"Usage:  bennu {word} COMMAND", "", "Commands:", *_pairs([(row.name, row.summary) for row in members])]
    lines += ["", f"Run 'bennu {word} COMMAND --help' for more about a command."]
    return "\n".join(lines) + "\n"


def verb(command: Command) -> str:
    """What ``bennu VERB --help`` prints."""
    lines = [f"Usage:  {usage(command)}", "", command.summary]
    if command.description:
        lines += ["", command.description.strip()]
    operands = [(str(each.metavar), described(each)) for each in command.operands if each.help]
    if operands:
        lines += ["", "Arguments:", *_pairs(operands)]
    taken = {each.dest for each in command.options}
    options = [each for each in command.options if not each.hidden]
    if options:
        lines += ["", "Options:", *_pairs([(flags_of(each), described(each)) for each in options])]
    common = [(flags_of(each), described(each)) for each in GLOBAL if each.dest not in taken]
    lines += ["", "Global options:", *_pairs(common)]
    if command.examples:
        lines += ["", "Examples:"]
        for line, meaning in command.examples:
            lines += [f"  # {meaning}", f"  {line}"]
    return "\n".join(lines) + "\n"


def usage(command: Command) -> str:
    """``bennu run [OPTIONS] IMAGE [COMMAND...]``."""
    words = ["bennu", command.name]
    if command.options:
        words.append("[OPTIONS]")
    for each in command.operands:
        word = f"{each.metavar}..." if each.repeatable else str(each.metavar)
        words.append(word if each.required else f"[{word}]")
    return " ".join(words)


def flags_of(argument: Arg) -> str:
    """``-e, --env K=V``, with a blank column where there is no short flag."""
    text = ", ".join(sorted(argument.flags, key=len))
    if not any(len(flag) == 2 for flag in argument.flags):
        text = "    " + text
    return text if argument.metavar is None else f"{text} {argument.metavar}"


def described(argument: Arg) -> str:
    """The help of an argument with what the record adds: choices, default, variable, repetition."""
    notes = []
    if argument.choices:
        notes.append("one of " + ", ".join(argument.choices))
    if argument.default not in (None, False, (), "") and not argument.is_operand:
        notes.append(f"default {str(argument.default).lower() if argument.is_switch else argument.default}")
    if argument.environ:
        notes.append(f"${argument.environ}")
    if argument.repeatable and not argument.is_operand:
        notes.append("repeatable")
    return argument.help + (f" ({'; '.join(notes)})" if notes else "")


def _pairs(pairs: list[tuple[str, str]]) -> list[str]:
    """Two columns; a left side too long for its column gets a line of its own."""
    width = min(max((len(left) for left, _ in pairs), default=0), 30)
    lines = []
    for left, right in pairs:
        if len(left) > width:
            lines += [f"  {left}", f"  {' ' * width}  {right}"]
        else:
            lines.append(f"  {left:<{width}}  {right}".rstrip())
    return lines
