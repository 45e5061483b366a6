"""``bennu logs``: what a container wrote, as ``docker logs``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bennu.cli.command import Arguments, Command, operand, option, switch
from bennu.cli.context import Context
from bennu.cli.values import duration_seconds

if TYPE_CHECKING:
    from bennu.runtime.logs import Line


def _tail(word: str) -> int | None:
    if word == "all":
        return None
    if not word.isdigit():
        raise ValueError("is neither a number nor 'all'")
    return int(word)


def _moment(word: str) -> float:
    """A duration before now, Unix seconds, or RFC 3339 (local time without a zone)."""
    from datetime import datetime

    try:
        return datetime.fromisoformat(word).timestamp() if "-" in word[1:] else _relative(word)
    except ValueError:
        raise ValueError("is neither a duration, such as 10m, nor a time, such as 2024-05-01T10:00:00Z") from None


def _relative(word: str) -> float:
    return float(word) if word.replace(".", "", 1).isdigit() else time.time() - duration_seconds(word)


COMMAND = Command(
    "logs",
    "Show what a container wrote",
    (
        switch("-f", "--follow", help="Go on until it ends"),
        option("-n", "--tail", metavar="LINES", help="The last ones only", convert=_tail),
        option("--since", metavar="TIME", help="From then on: 10m, Unix seconds or RFC 3339", convert=_moment),
        option("--until", metavar="TIME", help="Up to then", convert=_moment),
        switch("-t", "--timestamps", help="Show when each line was written"),
        operand("CONTAINER", help="Name or ID", complete="container"),
    ),
)


def run(args: Arguments, context: Context) -> int:
    """Standard output to ours, standard error to ours."""
    from bennu.runtime.logs import read
    from bennu.wiring import Runtime

    with Runtime(context.settings) as runtime:
        containers = runtime.containers
        record = containers.resolve(args.container)
        place = containers.place(record)
        follow = (lambda: containers.status(record).is_alive) if args.follow else None
        for line in read(place, tail=args.tail, since=args.since, until=args.until, follow=follow):
            _write(line, context, timestamps=args.timestamps)
    return 0


def _write(line: Line, context: Context, *, timestamps: bool) -> None:
    stream = context.stderr if line.stream == "stderr" else context.stdout
    stream.buffer.write((f"{line.time} ".encode() if timestamps else b"") + line.data)
    stream.buffer.flush()
