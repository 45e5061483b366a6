"""``bennu completion bash|zsh|fish``: a script for the shell, generated from the command table."""

from __future__ import annotations

from bennu.cli.command import Arguments, Command, operand
from bennu.cli.context import Context

COMMAND = Command(
    "completion",
    "Print the completion script of a shell",
    arguments=(operand("SHELL", help="The shell", choices=("bash", "zsh", "fish")),),
    examples=(
        ("bennu completion bash > /etc/bash_completion.d/bennu", "For everybody's bash"),
        ("bennu completion zsh > ~/.zfunc/_bennu", "For one's own zsh (with ~/.zfunc in fpath)"),
        ("bennu completion fish > ~/.config/fish/completions/bennu.fish", "For one's own fish"),
    ),
)


def run(args: Arguments, context: Context) -> int:
    """Print the script."""
    from bennu.cli import shells
    from bennu.cli.table import load, rows

    commands = [(row, load(row)[0]) for row in rows()]
    context.stdout.write(getattr(shells, args.shell)([(row.aliases, command) for row, command in commands]))
    return 0
