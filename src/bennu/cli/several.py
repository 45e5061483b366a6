"""Verbs that take several names: each is tried, each failure told, and the first one gives the exit status."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from bennu.cli.context import Context
from bennu.errors import BennuError, status_of


def each(words: Iterable[str], action: Callable[[str], None], context: Context) -> int:
    """Call ``action`` with each word. A failure does not keep the others from their turn."""
    status = 0
    for word in words:
        try:
            action(word)
        except BennuError as error:
            from bennu.cli.report import render

            context.stderr.write(render(error, coloured=context.is_coloured(context.stderr)))
            context.stderr.flush()
            status = status or status_of(error).exit
    return status
