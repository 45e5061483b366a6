"""The verbs, in the order that ``bennu --help`` lists them.

A row is all that help and the search for a verb need; the verb's own file (``bennu.cli.`` and its name, blanks and
dashes as underscores) holds the full ``COMMAND`` and ``run`` and is imported only when that verb is chosen. A test
holds rows and records together. A verb that does not exist has no row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from bennu.cli.command import Arguments, Command
    from bennu.cli.context import Context

    Run = Callable[[Arguments, Context], int]


class Row(NamedTuple):
    """One verb as the listing knows it. ``aliases`` are other names that people bring along (``image ls``)."""

    name: str
    summary: str
    aliases: tuple[str, ...] = ()

    @property
    def module(self) -> str:
        """The module that holds ``COMMAND`` and ``run``."""
        return "bennu.cli." + self.name.replace(" ", "_").replace("-", "_")


GROUPS: dict[str, tuple[Row, ...]] = {
    "Fleet": (
        Row("config", "Check the Compose file and print it resolved"),
    ),
    "Images": (
        Row("images", "List images", ("image ls", "image list")),
        Row("image inspect", "Show everything about images"),
        Row("history", "Show the history of an image", ("image history",)),
        Row("tag", "Give an image a name", ("image tag",)),
        Row("rmi", "Remove images", ("image rm", "image remove")),
        Row("save", "Write images to a file", ("image save",)),
        Row("load", "Load images from a file", ("image load",)),
    ),
    "Host": (
        Row("gc", "Remove what nothing needs any more"),
        Row("system df", "Show what the store takes on the disk"),
        Row("doctor", "Say what this host lacks and the command that installs it"),
        Row("completion", "Print the completion script of a shell"),
        Row("man", "Print the manual page"),
        Row("version", "Show the version"),
    ),
}  # fmt: skip


def rows() -> tuple[Row, ...]:
    """Every row, in the order of the listing."""
    return tuple(row for group in GROUPS.values() for row in group)


def find(words: list[str]) -> tuple[Row, int] | None:
    """The row that the longest leading run of ``words`` names, and how many words that took."""
    names = {name: row for row in rows() for name in (row.name, *row.aliases)}
    for count in (2, 1):
        row = names.get(" ".join(words[:count]))
        if row is not None and len(words) >= count:
            return row, count
    return None


def load(row: Row) -> tuple[Command, Run]:
    """Import the verb's module and give its record, with the group that the table puts it in, and its ``run``."""
    from importlib import import_module

    module = import_module(row.module)
    group = next(name for name, members in GROUPS.items() if row in members)
    command: Command = module.COMMAND
    run: Run = module.run
    return command._replace(group=group), run
